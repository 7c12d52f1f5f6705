"""pymta-config: show and check the configuration.                                       pymta-config(8)

    pymta-config [--etc DIR] show [--json] [NAME...]     each setting, its value, and where that came from
    pymta-config [--etc DIR] check                       every file of ETC: file:line: reason; remedy
    pymta-config example                                 a pymta.conf with every setting, commented
    pymta-config [--etc DIR] places [--json]             every file and directory: mode, owner, writer, readers

Reads only.  Exit status: 0; 64 usage; 78 check found a fault (warnings alone do not count).
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap

from pymta import check, layout, log, settings

EX_USAGE, EX_NOINPUT, EX_CONFIG = 64, 66, 78


def main(argv: list[str] | None = None) -> int:
    log.start("pymta-config")
    given = _arguments().parse_args(argv)
    try:
        return given.run(given)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)     # head(1) had enough
        return 0
    except OSError as error:
        sys.stderr.write(f"pymta-config: {error.filename or given.etc}: {error.strerror or error}\n")
        return EX_NOINPUT


def _arguments() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="pymta-config", description="show and check the configuration")
    top.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    commands = top.add_subparsers(required=True, metavar="show | check | example | places")
    part = commands.add_parser("show", help="each setting, its value, and where that came from")
    part.add_argument("--json", action="store_true", help="an object {name: {value, source}}")
    part.add_argument("names", nargs="*", metavar="NAME", help="a setting, or the first part of some: queue")
    part.set_defaults(run=_show)
    commands.add_parser("check", help="look for faults in every file of ETC").set_defaults(run=_check)
    commands.add_parser("example", help="a pymta.conf with every setting, commented").set_defaults(run=_example)
    part = commands.add_parser("places", help="every file and directory: mode, owner, writer, readers")
    part.add_argument("--json", action="store_true", help="a list of objects")
    part.set_defaults(run=_places)
    return top


# ---- show -------------------------------------------------------------------------------------------------------------
def _show(given: argparse.Namespace) -> int:
    current = settings.read(given.etc)
    rows = []
    for name in given.names or [""]:
        chosen = [row.name for row in settings.SETTINGS if not name or row.name == name or row.name.startswith(name.rstrip(".") + ".")]
        if not chosen:
            sys.stderr.write(f"pymta-config: {name}: no such setting; {settings.nearest(name)}\n")
            return EX_USAGE
        rows += chosen
    if given.json:
        print(json.dumps({name: {"value": current.texts[name], "source": current.sources[name]} for name in rows}, indent=1))
        return 0
    lines = [f"{name} = {current.texts[name]}" for name in rows]
    width = min(60, max(map(len, lines)))
    for name, line in zip(rows, lines):
        print(f"{line:{width}}  # {current.sources[name]}")
    return 0


# ---- check ------------------------------------------------------------------------------------------------------------
def _check(given: argparse.Namespace) -> int:
    found = check.everything(settings.read(given.etc))
    for one in found:
        print(one)
    faults = sum(not one.warning for one in found)
    print(f"{given.etc}: {_count(faults, 'fault')}, {_count(len(found) - faults, 'warning')}")
    return EX_CONFIG if faults else 0


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


# ---- example ----------------------------------------------------------------------------------------------------------
def _example(given: argparse.Namespace) -> int:
    sys.stdout.write(example())
    return 0


def example() -> str:
    """A pymta.conf in which every setting stands, commented out, at its default."""
    out = ["# pymta.conf: settings of pymta.  See pymta.conf(5); `pymta-config check` after a change; programs read it when they start.\n"]
    section = ""
    for row in settings.SETTINGS:
        here = row.name.partition(".")[0]
        if here != section:
            out.append(f"\n# ---- {here} {'-' * (100 - len(here))}\n")
            section = here
        out += [f"# {line}\n" for line in textwrap.wrap(row.doc, 118, break_on_hyphens=False)]
        out.append(f"#{row.name} = {row.default}".rstrip() + "\n\n")
    return "".join(out).rstrip("\n") + "\n"


# ---- places -----------------------------------------------------------------------------------------------------------
def _places(given: argparse.Namespace) -> int:
    current = settings.read(given.etc)
    rows = [{"path": layout.where(place, current), "mode": f"{place.mode:04o}", "owner": place.owner, "group": place.group,
             "writer": place.writer, "readers": list(place.readers), "page": place.page, "doc": place.doc} for place in layout.PLACES]
    if given.json:
        print(json.dumps(rows, indent=1))
        return 0
    shown = [(row["path"], row["mode"], f"{row['owner']}:{row['group']}", row["writer"] or "-", ", ".join(row["readers"]) or "-", row["doc"])
             for row in rows]
    shown.insert(0, ("PLACE", "MODE", "OWNER", "WRITER", "READERS", "WHAT LIES THERE"))
    widths = [max(len(str(row[column])) for row in shown) for column in range(5)]
    for row in shown:
        print("  ".join([*(f"{cell!s:{width}}" for cell, width in zip(row, widths)), str(row[5])]).rstrip())
    return 0
