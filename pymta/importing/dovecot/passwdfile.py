"""passwdfile: the passwd-file of Dovecot, its variables (%u, %{user | domain}), its hashes and its quota rules, in our words.

    line = user ":" password ":" uid ":" gid ":" gecos ":" home ":" shell ":" extra fields parted by blanks
"""
from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pymta.importing.source import Source, text


@dataclass(frozen=True, slots=True)
class Line:
    """extra: name -> value, those that begin with userdb_ without that; where: file:line."""

    user: str
    password: str
    uid: str
    gid: str
    home: str
    where: str
    extra: dict[str, str] = field(default_factory=dict)


def files(source: Source, path: str) -> Iterator[tuple[str, str]]:
    """(path, domain) of each file that a path with %d may mean; domain is empty without one."""
    parts = re.split(r"%d|%Ld|%\{domain\}|%\{user *\| *domain\}", path, maxsplit=1)
    if len(parts) == 1:
        yield path, ""
        return
    directory, _, begin = parts[0].rpartition("/")
    end, _, below = parts[1].partition("/")
    for name in source.names(directory or "/"):
        if name.startswith(begin) and name.endswith(end) and len(name) > len(begin) + len(end):
            domain = name[len(begin):len(name) - len(end)]
            yield f"{directory}/{name}" + (f"/{below}" if below else ""), domain


def lines(source: Source, path: str) -> Iterator[Line]:
    """The users of one file."""
    for number, line in enumerate(text(source.read(path)).split("\n"), 1):
        if not line.strip() or line.startswith(("#", ":")):
            continue
        fields = line.rstrip("\r").split(":", 7) + [""] * 7
        extra = {}
        for word in fields[7].split():
            name, equals, value = word.partition("=")
            extra[name.removeprefix("userdb_")] = value if equals else "yes"
        yield Line(fields[0].strip(), fields[1], fields[2], fields[3], fields[5], f"{path}:{number}", extra)


def expand(template: str, user: str, home: str = "") -> str | None:
    """A path with its variables put in; None where one of them is beyond us."""
    local, _, domain = user.partition("@")
    values = {"u": user, "n": local, "d": domain, "h": home, "user": user, "username": local, "domain": domain, "home": home}
    unknown = False

    def one(match: re.Match[str]) -> str:
        nonlocal unknown
        if match[0] == "%%":
            return "%"
        words = [word.strip() for word in match[1].split("|")] if match[1] else [match[3]]
        value = values.get(words[0])
        for word in words[1:]:
            value = {"username": local, "domain": domain, "lower": (value or "").lower()}.get(word)
        if value is None or match[2] and match[2] != "L":
            unknown = True
            return ""
        return value.lower() if match[2] else value
    out = re.sub(r"%\{([^{}]*)\}|%([A-Z0-9.]*)([a-z])|%%", one, template)
    if home and (out == "~" or out.startswith("~/")):
        out = home + out[1:]
    return None if unknown else out


def hash_of(password: str, default_scheme: str) -> str:
    """A password field as we write it."""
    match = re.match(r"\{([A-Za-z0-9.-]+)\}", password)
    scheme, value = (match[1].upper(), password[match.end():]) if match else (default_scheme.upper(), password)
    if not value or value[0] in "!*":
        return value or "!"
    kind, _, coding = scheme.partition(".")
    if coding == "HEX" or coding == "" and kind in _HEX and re.fullmatch(r"[0-9a-fA-F]+", value) and len(value) == _HEX[kind]:
        try:
            value = base64.b64encode(bytes.fromhex(value)).decode("ascii")
        except ValueError:
            pass
    if kind in ("MD5", "CRYPT") or kind == "" or kind.endswith("-CRYPT"):
        return ("{CRYPT}" if not value.startswith("$") else "") + value
    return value if value.startswith("$argon2") else f"{{{kind}}}{value}"


# Dovecot takes a digest of this many digits for hexadecimal even where the scheme does not say so
_HEX = {"SHA": 40, "SHA1": 40, "SHA256": 64, "SHA512": 128}
_UNITS = {"": 1024, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def quota(rule: str, *, plain_unit: int = 1024) -> str | None:
    """The size in a quota rule ("*:storage=1G", "*:bytes=5000", "1G"), as we write it; None where it says something else."""
    body = rule.partition(":")[2] if ":" in rule else rule
    if ":" in rule and rule.partition(":")[0] not in ("*", ""):
        return None
    name, equals, value = body.partition("=") if "=" in body else ("storage", "=", body)
    match = re.fullmatch(r"(\d{1,12})\s*([kKMGTB]?)i?B?", value.strip(), re.ASCII)
    if not match or name not in ("storage", "bytes"):
        return None
    unit = match[2].upper()
    octets = int(match[1]) * (1 if name == "bytes" and not unit else plain_unit if not unit else _UNITS[unit])
    for letter, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if octets and octets % size == 0:
            return f"{octets // size}{letter}"
    return str(octets)
