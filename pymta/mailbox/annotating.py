"""annotating: reading and changing what is written down about a mailbox, and which role it has.     RFC 5464, RFC 6154

A role stands in the entry /private/specialuse of its mailbox: several attributes with blanks between, or nothing, which says that it
has none.  Where no client has said anything, mailboxes called Drafts, Sent, Junk, Trash and Archive have the role of their name,
but for roles that another mailbox was given.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from pymta import durable
from pymta.formats import metadata
from pymta.locks import held

ENTRIES_MAX = 100                                       # of one mailbox
VALUE_MAX_OCTETS = 1 << 16
ROLE = "/private/specialuse"
BY_NAME = {"Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash", "Archive": "\\Archive"}
_ROLES = {role.lower(): role for role in BY_NAME.values()}
_roles_known: dict[bytes, tuple[tuple[int, int, int], bytes | None]] = {}       # path -> (what changes with the file, what it says)
_KNOWN_MAX = 10_000


class TooMany(ValueError):
    """There would be more entries than there may be.  IMAP: NO [METADATA TOOMANY]."""


class TooBig(ValueError):
    """A value is longer than it may be.  IMAP: NO [METADATA MAXSIZE n]."""


class NoSuchUse(ValueError):
    """A role that no mailbox can have here.  IMAP: NO [USEATTR]."""


def roles_of(text: bytes) -> str:
    """Attributes with blanks between, each once, in their usual form.  Raises NoSuchUse."""
    out: dict[str, None] = {}
    for word in text.decode("ascii", "replace").split():
        if word.lower() not in _ROLES:
            raise NoSuchUse(f"{word!r}: no mailbox here can be that")
        out[_ROLES[word.lower()]] = None
    return " ".join(out)


def read(path: bytes) -> dict[str, bytes]:
    """What is written down; nothing where there is no such file.  Raises OSError."""
    try:
        with open(path, "rb") as file:
            return metadata.decode(file.read())
    except FileNotFoundError:
        return {}


def role(path: bytes) -> bytes | None:
    """What /private/specialuse says, None for nothing.  Each LIST asks it of all mailboxes, so it is remembered.  Raises OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        _roles_known.pop(path, None)
        return None
    stamp = status.st_ino, status.st_mtime_ns, status.st_size
    known = _roles_known.get(path)
    if known is None or known[0] != stamp:
        if len(_roles_known) >= _KNOWN_MAX:
            _roles_known.clear()
        known = _roles_known[path] = stamp, read(path).get(ROLE)
    return known[1]


def change(path: bytes, changes: Mapping[str, bytes | None]) -> None:
    """Set entries, remove those whose value is None: all or nothing.  Raises TooMany, TooBig, TimeoutError, OSError."""
    if any(value is not None and len(value) > VALUE_MAX_OCTETS for value in changes.values()):
        raise TooBig
    with held(path):
        entries = changed(read(path), changes)
        durable.replace(path, metadata.encode(entries), 0o600)


def changed(entries: dict[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Raises TooMany."""
    out = {name: value for name, value in entries.items() if name not in changes}
    out.update((name, value) for name, value in changes.items() if value is not None)
    if len(out) > max(ENTRIES_MAX, len(entries)):
        raise TooMany
    return out


def uses(given: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The roles of mailboxes.  given: (name, what /private/specialuse says, None for nothing) of all of them."""
    out: dict[str, str] = {}
    unsaid = []
    for name, value in given:
        if value is None:
            unsaid.append(name)
        elif role := value.decode("ascii", "replace"):
            out[name] = role
    taken = {role for roles in out.values() for role in roles.split()}
    for name in unsaid:
        if name in BY_NAME and BY_NAME[name] not in taken:
            out[name] = BY_NAME[name]
    return out
