"""check: everything in a Maildir that is not as it should be, each with its reason, its remedy and, where it can be put right without
losing anything, the repair.  Reads only; takes no lock, so what changes meanwhile may be told as it was."""
from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator

from lockfile import LockTimeout

from pymta import clock, durable, locks
from pymta.formats import maildir, maildirsize, metadata, subscriptions, uidlist, uidvalidity
from pymta.mailbox import making
from pymta.mailbox.tidying import heal
from pymta.upkeep import check_lists, check_mail
from pymta.upkeep.finding import FAULT, NOTE, WARNING, Finding, printable
from pymta.upkeep.looked import Looked, look, mailboxes

_SECONDS = 120.0


def everything(root: bytes, *, messages: bool = True) -> Iterator[Finding]:
    """Findings of a whole Maildir.  messages=False: their files are not read.  Raises OSError where it cannot be read at all."""
    os.listdir(root)
    boxes = mailboxes(root)
    yield from _rights(root)
    for name, directory in boxes:
        if name != "INBOX" and (why := maildir.refuse(name)):
            yield Finding(directory, f"a mailbox could not be made under this name: {why}", "rename the directory", WARNING)
        yield from _directories(directory, name)
        yield from _metadata(os.path.join(directory, metadata.NAME))
        looked = look(root, directory, name)
        yield from _locks(looked)
        yield from check_lists.everything(looked)
        yield from check_mail.everything(looked, read=messages)
    yield from _counter(root, boxes)
    yield from _subscriptions(root, boxes)
    yield from _metadata(os.path.join(root, metadata.SERVER_NAME))
    yield from _quota(root)
    yield from _aside(root)


def _rights(root: bytes) -> Iterator[Finding]:
    status = os.stat(root)
    if status.st_mode & 0o007:
        yield Finding(root, f"open to everybody (mode {stat.S_IMODE(status.st_mode):04o})", "chmod 700", WARNING,
                      mend=lambda: os.chmod(root, stat.S_IMODE(status.st_mode) & ~0o007))
    for top, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = os.path.join(top, name)
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue
            wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o400
            if found.st_uid != status.st_uid:
                yield Finding(path, f"belongs to uid {found.st_uid}, the Maildir to {status.st_uid}", f"chown {status.st_uid}")
            elif not stat.S_ISLNK(found.st_mode) and found.st_mode & wanted != wanted:
                yield Finding(path, f"its owner cannot {'use' if wanted == 0o700 else 'read'} it (mode {stat.S_IMODE(found.st_mode):04o})",
                              f"chmod u+{'rwx' if wanted == 0o700 else 'r'}", mend=_chmod(path, stat.S_IMODE(found.st_mode) | wanted))


def _chmod(path: bytes, mode: int) -> Callable[[], None]:
    return lambda: os.chmod(path, mode)


def _directories(directory: bytes, name: str) -> Iterator[Finding]:
    def make() -> None:
        heal(directory)

    for sub in maildir.SUBDIRS:
        path = os.path.join(directory, sub)
        if not os.path.isdir(path):
            there = os.path.lexists(path)
            yield Finding(path, "not a directory" if there else "missing", "move it away" if there else "it is made at the next use",
                          FAULT if there else WARNING, mend=None if there else make)
    if name != "INBOX" and not os.path.lexists(marker := os.path.join(directory, b"maildirfolder")):
        yield Finding(marker, "missing: who delivers here does not find the Maildir above", "make it, empty", WARNING,
                      mend=lambda: durable.create(marker, b"", 0o600))


def _locks(looked: Looked) -> Iterator[Finding]:
    for name in (uidlist.NAME, subscriptions.NAME):
        path = looked.path(name)
        lock = path + b".lock"
        try:
            age_s = clock.now() - os.lstat(lock).st_mtime
        except FileNotFoundError:
            continue
        holder = locks.DotLock(os.fsdecode(path))
        if age_s > _SECONDS or holder.is_abandoned():
            yield Finding(lock, f"left behind by {printable(holder.holder())}, {age_s:.0f} s ago", "who wants it next breaks it", NOTE,
                          mend=_take(holder))


def _take(lock: locks.DotLock) -> Callable[[], None]:
    def take() -> None:
        try:
            lock.acquire(5)
        except LockTimeout as error:
            raise TimeoutError(str(error)) from None
        lock.release()
    return take


def _counter(root: bytes, boxes: list[tuple[str, bytes]]) -> Iterator[Finding]:
    """dovecot-uidvalidity must be above every UIDVALIDITY that was given."""
    given = 0
    for _, directory in boxes:
        try:
            with open(os.path.join(directory, uidlist.NAME), "rb") as file:
                given = max(given, uidlist.decode(file.readline(1 << 16)).uidvalidity)
        except (OSError, uidlist.Damaged):
            continue
    last = uidvalidity.last(root)
    if last and given > last:
        yield Finding(os.path.join(root, uidvalidity.NAME), f"says {last}, but a mailbox has UIDVALIDITY {given}: a new mailbox could get "
                      "one that has been given", "raise it", WARNING, mend=lambda: uidvalidity.raise_to(root, given))


def _subscriptions(root: bytes, boxes: list[tuple[str, bytes]]) -> Iterator[Finding]:
    path = os.path.join(root, subscriptions.NAME)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        if len(boxes) > 1:
            yield Finding(path, "missing: clients that show subscribed mailboxes show none", "subscribe in a client", NOTE)
        return
    if data and not data.endswith(b"\n"):
        yield Finding(path, "its last line has no end", "see whether the name is whole", WARNING)
    known = {name for name, _ in boxes}
    for name in subscriptions.decode(data):
        if why := maildir.refuse(name):
            yield Finding(path, f"{printable(name)!r}: {why}", "unsubscribe it in a client; it is kept as it stands", WARNING)
        elif name not in known and not any(other.startswith(name + ".") for other in known):
            yield Finding(path, f"{printable(name)}: subscribed, but there is no such mailbox", "", NOTE)


def _metadata(path: bytes) -> Iterator[Finding]:
    try:
        with open(path, "rb") as file:
            _, bad = metadata.read(file.read())
    except FileNotFoundError:
        return
    for number in bad:
        yield Finding(path, f"line {number} cannot be read", "mend it, or it is gone when a client next changes an entry", WARNING)


def _quota(root: bytes) -> Iterator[Finding]:
    path = os.path.join(root, maildirsize.NAME.encode())
    try:
        with open(path, "rb") as file:
            data = file.read()
        held = maildirsize.decode(data)
    except FileNotFoundError:
        return
    except ValueError as error:
        yield Finding(path, str(error), "it is counted anew", WARNING, mend=lambda: maildirsize.forget(root))
        return
    quota = re.match(rb"\d+", held.quota)
    now = maildirsize.count(os.fsdecode(root), int(quota[0]) if quota else 0)
    if (now.octets, now.count) != (held.octets, held.count):
        yield Finding(path, f"says {held.octets} octets in {held.count} messages; there are {now.octets} in {now.count}",
                      "it is counted anew when it has grown, or says that the mailbox is full", WARNING, mend=lambda: maildirsize.forget(root))


def _aside(root: bytes) -> Iterator[Finding]:
    with os.scandir(root) as entries:
        left = [entry.path for entry in entries if making.was_left(entry)]
    for path in left:
        yield Finding(path, "left when a mailbox was being made or removed", "it goes with the next LIST", NOTE, mend=_remove(path))


def _remove(path: bytes) -> Callable[[], None]:
    return lambda: making.remove_tree(path)
