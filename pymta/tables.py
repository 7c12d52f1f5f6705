"""tables: the parts of man pages, units and examples that are made from the tables of the code.

`make man` (python -m pymta.tables) fills them in; a test checks that they are current.  In a man page a part stands between

    .\\" table: NAME [WORD]
    .\\" table end

NAME is settings, events, places, spool, capabilities, or files with the program's name.  Text around it is written by hand.
"""
from __future__ import annotations

import os
import sys
from typing import Callable

from pymta import durable, layout, log, outcome, settings
from pymta.proto.imap import capability

_BEGIN, _END = '.\\" table: ', '.\\" table end'
_PRIORITIES = {2: "crit", 3: "err", 4: "warning", 5: "notice", 6: "info"}
_PRIVILEGED_RUN = "/run/pymta"


# ---- mdoc(7) ----------------------------------------------------------------------------------------------------------
def mdoc(text: str) -> str:
    """Plain text as mdoc lines: one sentence a line, nothing in it taken for a macro."""
    lines = text.replace("\\", "\\e").replace("§", "\\(sc").replace(".  ", ".\n").split("\n")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in lines)


def settings_section() -> str:
    out = []
    section = ""
    for row in settings.SETTINGS:
        if row.name.partition(".")[0] != section:
            if section:
                out.append(".El")
            section = row.name.partition(".")[0]
            out.append(f".Ss {section}\n.Bl -tag -width Ds")
        default = f"\\&{mdoc(row.default)}" if row.default else "empty"
        out.append(f".It Sy {row.name}\n{mdoc(row.doc)}\n.br\nDefault: {default}.\nRead by {_programs(row.used_by)}.")
    out.append(".El")
    return "\n".join(out)


def _programs(names: tuple[str, ...]) -> str:
    return ", ".join(names)


def events_section() -> str:
    rows = [f".It Sy {word} Pq {_PRIORITIES[priority]}\n{mdoc(meaning[0].upper() + meaning[1:])}."
            for word, (priority, meaning) in log.EVENTS.items()]
    return "\n".join([".Bl -tag -width auth-failed", *rows, ".El"])


def places_section(places: tuple[layout.Place, ...] = layout.SPOOL) -> str:
    out = [".Bl -tag -width Ds"]
    for place in places:
        path = _plain(place.path)
        writer = f"  Written by {place.writer}." if place.writer else ""
        readers = f"  Read by {', '.join(place.readers)}." if place.readers else ""
        out.append(f".It Pa {path} Pq {place.owner}:{place.group} {place.mode:o}\n{mdoc(place.doc[0].upper() + place.doc[1:] + '.' + writer + readers)}")
    out.append(".El")
    return "\n".join(out)


def files_section(program: str) -> str:
    """FILES of one program: what it reads and what it writes."""
    rows = [place for place in layout.PLACES if program in (place.writer, *place.readers) or "every program" in place.readers]
    return places_section(tuple(rows))


def outcomes_section() -> str:
    rows = [f".It {row.reply} Ta {row.status} Ta {row.exit} Ta {mdoc(row.text)}"
            for row in vars(outcome).values() if isinstance(row, outcome.Outcome)]
    return "\n".join([".Bl -column 999 9.99.99 99 text", ".It Sy SMTP Ta Sy status Ta Sy exit Ta Sy text", *dict.fromkeys(rows), ".El"])


def capabilities_section() -> str:
    """What pymta-imapd announces after the login, and what goes with it where it is switched off."""
    out = [".Bl -tag -width Ds -compact"]
    for row in capability.CAPABILITIES:
        needs = f".  Needs {', '.join(row.needs)}" if row.needs else ""
        out.append(f".It Li {row.name}\n{mdoc(row.rfc + needs)}.")
    return "\n".join([*out, ".El"])


def _plain(path: str) -> str:
    """A place's path as the man pages write it."""
    if path.startswith("{etc}"):
        return path.replace("{etc}", settings.DEFAULT_ETC)
    if path.startswith("{run}"):
        return path.replace("{run}", _PRIVILEGED_RUN)
    return os.path.join("/var/spool/pymta", path).rstrip("/")


SECTIONS: dict[str, Callable[..., str]] = {"settings": settings_section, "events": events_section, "places": lambda: places_section(layout.PLACES),
            "spool": places_section, "files": files_section, "capabilities": capabilities_section, "outcomes": outcomes_section}


def fill(page: str) -> str:
    """page with every table in it made anew.  Raises KeyError for a table nobody knows."""
    out = []
    rest = page
    while _BEGIN in rest:
        before, _, rest = rest.partition(_BEGIN)
        name, _, rest = rest.partition("\n")
        _, end, rest = rest.partition(_END)
        if not end:
            raise KeyError(f"table {name} has no end")
        word, *arguments = name.split()
        out.append(f"{before}{_BEGIN}{name}\n{SECTIONS[word](*arguments)}\n{_END}")
    return "".join(out) + rest


# ---- what systemd reads -----------------------------------------------------------------------------------------------
def sysusers() -> str:
    out = ["# made from pymta/layout.py by `make man`: see sysusers.d(5)"]
    out += [f'u {name} - "pymta, {doc}" {"/var/mail/pymta" if name == "pymta-vmail" else "-"}' for name, doc in layout.ACCOUNTS.items()]
    return "\n".join(out) + "\n"


def tmpfiles() -> str:
    out = ["# made from pymta/layout.py by `make man`: see tmpfiles.d(5)"]
    for place in (*layout.SPOOL, *layout.ELSEWHERE):
        path = _plain(place.path)
        if not place.mode & 0o100:
            continue                                    # a file
        names = ["", *(f"/{name}" for name in layout.SHARDS if place.spread)]
        out += [f"d {path}{name} {place.mode:04o} {place.owner} {place.group} -" for name in names]
    out.append(f"f /var/spool/pymta/{layout.FORMAT_FILE} 0644 root root - {layout.FORMAT}")
    out.append("d /var/mail/pymta 0711 pymta-vmail pymta-vmail -")
    return "\n".join(out) + "\n"


MADE = {"systemd/pymta.sysusers": sysusers, "systemd/pymta.tmpfiles": tmpfiles}


def described(unit: str, page: str) -> str:
    """unit with the sentence of its program's man page as Description=."""
    sentence = page.partition("\n.Nd ")[2].partition("\n")[0]
    return "".join(f"Description={sentence}\n" if line.startswith("Description=") else line for line in unit.splitlines(True))


def made(root: str) -> dict[str, str]:
    """path -> text as it should be, for everything below root that is made or holds a table."""
    out = {os.path.join(root, path): make() for path, make in MADE.items()}
    for name in sorted(os.listdir(os.path.join(root, "man"))):
        path = os.path.join(root, "man", name)
        with open(path, encoding="utf-8") as file:
            page = file.read()
        if _BEGIN in page:
            out[path] = fill(page)
        unit = os.path.join(root, "systemd", name.rpartition(".")[0] + ".service")
        if os.path.exists(unit):
            with open(unit, encoding="utf-8") as file:
                out[unit] = described(file.read(), page)
    return out


def main() -> int:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path, text in made(root).items():
        try:
            with open(path, encoding="utf-8") as file:
                old = file.read()
        except FileNotFoundError:
            old = ""
        if old != text:
            durable.replace(path, text.encode(), 0o644)
            print(os.path.relpath(path, root))
    return 0


if __name__ == "__main__":
    sys.exit(main())
