"""rights: who may do what with a mailbox, from its dovecot-acl.                                   RFC 4314, pymta-maildir(5)

Of the entries that fit somebody, the most particular kind counts: user before authenticated before anyone; then what is taken away by the most
particular of the negative ones, which is found by itself, as Dovecot does.  Groups are Dovecot's: there are none here, and their entries
fit nobody.  The owner of a mailbox may do everything, whatever stands in the file: to Dovecot an entry of the owner may say less.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pymta import durable, log
from pymta.formats import acl
from pymta.formats.acl import Entry
from pymta.locks import held

ALL = frozenset(acl.RIGHTS)
NONE: frozenset[str] = frozenset()
_KNOWN_MAX = 10_000
_known: dict[bytes, tuple[tuple[int, int, int], Sequence[Entry]]] = {}         # path -> (what changes with the file, what it says)


class NoRight(Exception):
    """Somebody knows that the mailbox is there, and may not do that.  IMAP: NO [NOPERM]."""


def of(entries: Sequence[Entry], address: str) -> frozenset[str]:
    """What a user who is not the owner may do."""
    granted = taken = NONE
    for identifier in ("anyone", "authenticated", f"user={address}"):
        for entry in entries:
            if entry.identifier == identifier and entry.negative:
                taken = frozenset(entry.rights)
            elif entry.identifier == identifier:
                granted = frozenset(entry.rights)
    return granted - taken


def read(directory: bytes) -> Sequence[Entry] | None:
    """What stands in the file of a mailbox; None where there is none.  One that cannot be understood says that nobody may anything."""
    path = os.path.join(directory, acl.NAME)
    try:
        status = os.stat(path)
        stamp = status.st_ino, status.st_mtime_ns, status.st_size
        known = _known.get(path)
        if known is None or known[0] != stamp:
            with open(path, "rb") as file:
                known = stamp, tuple(acl.decode(file.read()))
    except (FileNotFoundError, NotADirectoryError):
        _known.pop(path, None)
        return None
    except (OSError, ValueError) as error:
        log.event("trouble", file=path, why=str(error), remedy="until then nobody but the owner has rights")
        known = (stamp, ()) if isinstance(error, ValueError) else ((0, 0, 0), ())
    if len(_known) >= _KNOWN_MAX:
        _known.clear()
    _known[path] = known
    return known[1]


def change(directory: bytes, changed: Callable[[bytes], bytes]) -> None:
    """Put another text in the place of what stands in the file, under its lock.  Raises ValueError (a file that cannot be understood),
    FileNotFoundError (no such mailbox), TimeoutError, OSError."""
    path = os.path.join(directory, acl.NAME)
    with held(path):
        data = b""
        if os.path.exists(path):
            with open(path, "rb") as file:
                data = file.read()
        durable.replace(path, changed(data), 0o600)


def inherit(parent: bytes, directory: bytes) -> None:
    """A new mailbox has the entries of the one above it, as Dovecot does."""
    try:
        with open(os.path.join(parent, acl.NAME), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return
    durable.replace(os.path.join(directory, acl.NAME), data, 0o600)
