"""uidvalidity: the counter from which new mailboxes of a Maildir take their UIDVALIDITY.      pymta-maildir(5)

    dovecot-uidvalidity             8HEXDIG, the number given last; a hint
    dovecot-uidvalidity.8HEXDIG     an empty file whose name is the number given last; bumped by a rename, so two who bump at once
                                    cannot both win

Writers: pymta and Dovecot, without a lock.
If lost: counting goes on from the clock, which is ahead of any number given before.
"""
from __future__ import annotations

import os
import re
import threading

from pymta import clock, durable

NAME = b"dovecot-uidvalidity"
_NUMBERED = re.compile(re.escape(NAME) + rb"\.([0-9a-f]{8})")
_threads = threading.Lock()


def next_uidvalidity(root: bytes) -> int:
    """A number that this Maildir has not given before, on disk on return.  OSError."""
    with _threads:                                      # durable.replace wants one thread a path
        return _next(root)


def _next(root: bytes) -> int:
    while True:
        numbers = sorted(int(found[1], 16) for name in os.listdir(root) if (found := _NUMBERED.fullmatch(name)))
        last = max(numbers, default=0)
        number = last + 1 if last else max(_hint(root) + 1, int(clock.now()))
        if not 0 < number < 1 << 32:
            number = 1
        try:
            if last:
                durable.rename(_numbered(root, last), _numbered(root, number))
            else:
                durable.create(_numbered(root, number), b"", 0o444, sync=False)
        except (FileNotFoundError, FileExistsError):
            continue                                    # somebody else was quicker
        for old in numbers[:-1]:
            durable.unlink_if_there(_numbered(root, old))
        durable.replace(os.path.join(root, NAME), b"%08x" % number, 0o600)
        return number


def last(root: bytes) -> int:
    """The number given last; 0 where nothing says one."""
    numbers = [int(found[1], 16) for name in os.listdir(root) if (found := _NUMBERED.fullmatch(name))]
    return max(numbers, default=0) or _hint(root)


def raise_to(root: bytes, number: int) -> None:
    """The next numbers are above this one; durable on return.  OSError."""
    with _threads:
        old = [int(found[1], 16) for name in os.listdir(root) if (found := _NUMBERED.fullmatch(name))]
        if max(old, default=0) >= number:
            return
        try:
            if old:
                durable.rename(_numbered(root, max(old)), _numbered(root, number))
            else:
                durable.create(_numbered(root, number), b"", 0o444, sync=False)
        except (FileNotFoundError, FileExistsError):
            return                                      # somebody was quicker, and takes its own number from the clock or above
        durable.replace(os.path.join(root, NAME), b"%08x" % number, 0o600)


def _numbered(root: bytes, number: int) -> bytes:
    return os.path.join(root, b"%s.%08x" % (NAME, number))


def _hint(root: bytes) -> int:
    try:
        with open(os.path.join(root, NAME), "rb") as file:
            return int(file.read(8), 16)
    except (OSError, ValueError):
        return 0
