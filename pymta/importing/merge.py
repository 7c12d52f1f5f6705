"""merge: what an import made, and what stands in ETC already, put together without taking anything away.

What stands in a file stays as it is and holds; what is missing is added at the end.  One line alone is replaced: that of a user of whom
nothing but the name was known, by one that also says where the mail lies.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pymta.formats import aliases, conf, passwords, relay_recipients, senders, transports, users
from pymta.importing.report import Import

NAMES = ("pymta.conf", "users", "passwords", "aliases", "transports", "senders", "relay_recipients")


@dataclass(frozen=True, slots=True)
class Merged:
    """files: name -> octets, of those that change; added: name -> lines that are new; kept: (file, what stands there, what the import says)."""

    files: dict[str, bytes]
    added: dict[str, list[str]]
    kept: list[tuple[str, str, str]]


def merge(made: Import, there: Mapping[str, bytes], title: str) -> Merged:
    """there: name -> octets, of the files that ETC has.  title: the line of comment before what is added."""
    out = Merged({}, {}, [])
    for name, lines, known, completed in (_settings(made, there), _users(made, there), _passwords(made, there), _aliases(made, there),
                                          _transports(made, there), _senders(made, there), _relay(made, there)):
        data = there.get(name, b"")
        new = []
        for key, line in lines.items():
            stands = known.get(key)
            if stands is None:
                new.append(line)
            elif stands.split() != line.split():
                out.kept.append((name, stands, line))
        if completed:
            rows = data.split(b"\n")
            for number, line in completed.items():
                before = _text(rows[number - 1])
                rows[number - 1] = before.replace(conf.without_comment(before).strip(), line, 1).encode("utf-8", "surrogateescape")
            data = b"\n".join(rows)
        if new or completed:
            parts = [data, b"\n" if data and not data.endswith(b"\n") else b""]
            if new:
                parts.append(f"# {title}\n".encode() + "".join(f"{line}\n" for line in new).encode("utf-8", "surrogateescape"))
            out.files[name] = b"".join(parts)
            out.added[name] = [*completed.values(), *new]
    return out


# name of the file; key -> line that is wanted; key -> line that is there; number of a line -> what takes its place
_Part = tuple[str, dict[str, str], dict[str, str], dict[int, str]]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _settings(made: Import, there: Mapping[str, bytes]) -> _Part:
    rows, _ = conf.parse(_text(there.get("pymta.conf", b"")))
    return ("pymta.conf", {name: f"{name} = {value}".rstrip() for name, value in made.settings.items()},
            {name: f"{name} = {value}".rstrip() for _, name, value in rows}, {})


def _users(made: Import, there: Mapping[str, bytes]) -> _Part:
    known: dict[str, str] = {}
    completed: dict[int, str] = {}
    lines = dict(made.users)
    for name, user in users.decode(there.get("users", b"")).by_name.items():
        line = _text(users.encode(user)).strip()
        if line == name and lines.get(name, name) != name:
            completed[user.number] = lines.pop(name)
        elif lines.get(name) == name:
            del lines[name]                                 # it says no more than what stands there
        known[name] = line
    return "users", lines, known, completed


def _passwords(made: Import, there: Mapping[str, bytes]) -> _Part:
    known, _ = passwords.decode(there.get("passwords", b""))
    return ("passwords", {name: f"{name}:{hash}" for name, hash in made.passwords.items()},
            {name: f"{name}:{entry.hash}" for name, entry in known.items()}, {})


def _aliases(made: Import, there: Mapping[str, bytes]) -> _Part:
    data = there.get("aliases", b"")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    known = {}
    for name, alias in aliases.decode(data).by_name.items():
        ours = aliases.decode(f"{name}: {', '.join(made.aliases[name])}".encode("utf-8", "surrogateescape")).by_name.get(name) \
            if name in made.aliases else None
        alike = ours and [(one.kind, one.value) for one in ours.targets] == [(one.kind, one.value) for one in alias.targets]
        known[name] = f"{name}: {', '.join(made.aliases[name])}" if alike else lines[alias.number - 1].strip()
    return "aliases", {name: f"{name}: {', '.join(targets)}" for name, targets in made.aliases.items()}, known, {}


def _transports(made: Import, there: Mapping[str, bytes]) -> _Part:
    data = there.get("transports", b"")
    lines = _text(data).split("\n")
    return "transports", dict(made.transports), {name: lines[number - 1].strip() for name, (number, _)
                                                 in transports.decode(data).by_pattern.items()}, {}


def _senders(made: Import, there: Mapping[str, bytes]) -> _Part:
    """Lines for one login add up, so only what is missing is added, and nothing contradicts."""
    known = senders.decode(there.get("senders", b"")).by_login
    missing = {login: [one for one in addresses if one not in known.get(login, frozenset())] for login, addresses in made.senders.items()}
    return "senders", {f"+{login}": f"{login}: {', '.join(addresses)}" for login, addresses in missing.items() if addresses}, {}, {}


def _relay(made: Import, there: Mapping[str, bytes]) -> _Part:
    known = relay_recipients.decode(there.get("relay_recipients", b"")).by_name
    return "relay_recipients", dict(made.relay_recipients), {name: made.relay_recipients.get(name, name) for name in known}, {}
