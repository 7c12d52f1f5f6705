"""passwords: the password hash of each login name.                                        pymta-users(5)

    file    = *(line LF)
    line    = [entry / "#" comment]
    entry   = name ":" hash *(":" other)      ; as in Dovecot's passwd-file; other is kept and not read
    name    = address / user                  ; the full address, or a user of this system by bare name; case does not count
    hash    = ["{" scheme "}"] value          ; login/hashes.py lists what can be checked; a value that begins with ! or * is locked

    # made by pymta-passwd
    alice@example.test:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$d29yZHdvcmQ...

Writers: pymta-passwd and the admin's editor; replaced whole.  Readers: the password children of the daemons (login/auth.py), which
look at the file's date at each login, so an edit is in force at once.  A line that cannot be read is reported with its
number and counts for nothing; of two lines with one name the first holds.
If lost: nobody can log in until the passwords are set again.  No mail is lost.
"""
from __future__ import annotations

from dataclasses import dataclass

from pymta.login import hashes

NAME_MAX_CHARS = 320


@dataclass(frozen=True, slots=True)
class Entry:
    """name: lower case; hash: as in the file; line: its number there, from 1."""

    name: str
    hash: str
    line: int = 0


def decode(data: bytes) -> tuple[dict[str, Entry], list[tuple[int, str]]]:
    """({name: entry}, [(line number, complaint)]) of a file's octets.  Raises nothing, whatever they are."""
    entries: dict[str, Entry] = {}
    complaints: list[tuple[int, str]] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip() or line.lstrip().startswith(b"#"):
            continue
        try:
            entry = _entry(line, number)
            if entry.name in entries:
                raise ValueError(f"{entry.name} stands already in line {entries[entry.name].line}, which holds; remove one")
        except ValueError as error:
            complaints.append((number, str(error)))
        else:
            entries[entry.name] = entry
    return entries, complaints


def _entry(line: bytes, number: int) -> Entry:
    try:
        text = line.rstrip(b"\r").decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    name, colon, rest = text.partition(":")
    name = fold(name)
    if not colon:
        raise ValueError("no colon; write name:hash, or set the password with pymta-passwd")
    check_name(name)
    hash = rest.partition(":")[0].strip()
    if not hash:
        raise ValueError(f"{name} has no hash; set the password with pymta-passwd, or write ! to lock the login")
    hashes.check_form(hash)
    return Entry(name, hash, number)


def fold(name: str) -> str:
    """A login name as it is compared: without blanks around it, lower case."""
    return name.strip().lower()


def check_name(name: str) -> None:
    """Raise ValueError if name cannot stand in the file."""
    if not name or len(name) > NAME_MAX_CHARS or not name.isprintable() or any(c in name for c in ": #") or name[0] in "@{$":
        raise ValueError(f"{name[:60]!r} is not a login name; write user@domain or a user of this system")


def with_entry(data: bytes, name: str, hash: str) -> bytes:
    """data with name's hash set: its line changed in its place (the fields after it kept), or a new line at the end."""
    name = fold(name)
    check_name(name)
    lines = data.split(b"\n")
    for index, line in enumerate(lines):
        if _name_of(line) == name:
            other = line.rstrip(b"\r").split(b":", 2)[2:]
            lines[index] = b":".join([f"{name}:{hash}".encode(), *other])
            return b"\n".join(lines)
    if data and not data.endswith(b"\n"):
        data += b"\n"
    return data + f"{name}:{hash}\n".encode()


def without(data: bytes, name: str) -> bytes:
    """data without any line for name."""
    name = fold(name)
    return b"\n".join(line for line in data.split(b"\n") if _name_of(line) != name)


def _name_of(line: bytes) -> str | None:
    if line.lstrip().startswith(b"#") or b":" not in line:
        return None
    return fold(line.partition(b":")[0].decode("utf-8", "replace"))
