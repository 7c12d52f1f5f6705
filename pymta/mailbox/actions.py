"""actions: what sessions do to the messages of a folder: copy, move, expunge.  New messages: see storing; flags: see flags.

Each takes the folder's mutex and Dovecot's lock, looks at the disk, acts, makes durable what must be, and tells the listeners.
When something fails in the middle of a copy, what was made is taken away again; no UID of it was told.  What has gone when something
fails in the middle of an expunge or a move has gone, and that is told.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pymta import durable
from pymta.formats import maildir, maildirsize, uidlist
from pymta.mailbox.acting import chosen, each, locked, many, path_of, rename
from pymta.mailbox.flags import letters_for, overflow_value
from pymta.mailbox.looking import settle_locked
from pymta.mailbox.message import LIMBO, Changes, Gone, Message
from pymta.mailbox.scanner import Place
from pymta.mailbox.storing import place_for, publish, undo, with_room, write
from pymta.mailbox.tidying import compress_uidlist

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder


# ---- copying -----------------------------------------------------------------------------------------------------------
def copy(folder: Folder, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
    numbers = list(uids)
    return with_room(lambda: _copy(folder, numbers, target, by), folder, target)


def _copy(folder: Folder, uids: list[int], target: Folder, by: object) -> list[tuple[int, int]]:
    with locked(folder, target):
        messages = chosen(folder, uids)
        if not messages:
            return []
        with many(target, len(messages)):
            made, keys = _link_all(folder, messages, target)
        new = publish(target, made, keys, Changes(by=by))
        if maildirsize.is_kept(target.root):
            maildirsize.add(target.root, sum(message.size for message in messages), len(messages))
        return list(zip((message.uid for message in messages), new))


def _link_all(folder: Folder, messages: list[Message], target: Folder) \
        -> tuple[list[tuple[bytes, Place]], dict[bytes, bytes]]:
    """A second name in target for each message, by link where possible: (bases and places, keys).

    Within one folder they come out of tmp/ together: a link that has to be tried again looks at the folder, and that look must not
    take half of the copies for new mail."""
    made: list[tuple[bytes, Place]] = []
    keys: dict[bytes, bytes] = {}
    letters_of = _translated(folder, messages, target)
    try:
        for message in messages:
            base, place, words = _named(message, letters_of(message))
            if words:
                keys[base] = words
            _link(folder, message, path_of(target, base, place) if target is not folder else _tmp(target, base))
            made.append((base, place))
        if target is folder:
            for base, place in made:
                durable.rename(_tmp(target, base), path_of(target, base, place))
    except BaseException:
        undo(path for base, place in made for path in (path_of(target, base, place), _tmp(target, base)))
        raise
    return made, keys


def _tmp(folder: Folder, base: bytes) -> bytes:
    return b"%s/tmp/%s" % (folder.directory, base)


def _named(message: Message, flags: tuple[set[int], list[str]]) -> tuple[bytes, Place, bytes]:
    """(base, place, keys) a copy of message gets."""
    letters, overflow = flags
    base = maildir.new_base(message.size, message.known_vsize, message.emailid)
    return base, place_for(letters), uidlist.with_key(b"", b"K", overflow_value(overflow))


def _translated(folder: Folder, messages: list[Message], target: Folder) -> Callable[[Message], tuple[set[int], list[str]]]:
    """Flags of a message as target writes them; letters mean other keywords there."""
    for flags in dict.fromkeys(message.flags for message in messages):
        letters_for(target, flags, make=True)
    cache: dict[frozenset[str], tuple[set[int], list[str]]] = {}

    def translated(message: Message) -> tuple[set[int], list[str]]:
        flags = message.flags
        if flags not in cache:
            cache[flags] = letters_for(target, flags, make=True)
        return cache[flags]

    return translated


def _link(folder: Folder, message: Message, path: bytes) -> None:
    """Raises Gone if somebody has just removed the message."""
    for _ in range(10):
        try:
            durable.link(message.path, path)
            return
        except FileNotFoundError:
            folder.sync_locked()
            if message.expunged:
                raise Gone(f"{folder.name}: message {message.uid} is gone") from None
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                raise
            data = folder.read(message.uid)
            temporary = os.path.join(os.path.dirname(os.path.dirname(path)), b"tmp", os.path.basename(path))
            write(temporary, data, message.internaldate)
            durable.rename(temporary, path)
            return
    raise Gone(f"{folder.name}: message {message.uid} is renamed faster than it can be found")


# ---- going away -------------------------------------------------------------------------------------------------------
def _limbo(folder: Folder) -> bytes:
    path = os.path.join(folder.directory, LIMBO)
    durable.mkdir(path, 0o700)
    return path


def expunge(folder: Folder, uids: Iterable[int], by: object = None) -> list[int]:
    with locked(folder):
        messages = chosen(folder, uids)
        if not messages:
            return []
        limbo, changes = _limbo(folder), Changes(by=by)
        sizes = {message: message.size for message in messages} if maildirsize.is_kept(folder.root) else {}
        done: list[Message] = []
        try:
            with many(folder, len(messages)):
                each(folder, messages, lambda message: rename(folder, message, None, b"%s/%s" % (limbo, message.name)), done)
        finally:
            try:
                durable.sync_dirs([limbo, *folder.scanner.paths.values()])
                if sizes:
                    maildirsize.add(folder.root, -sum(sizes[message] for message in done), -len(done))
            finally:
                folder.contents.drop(done, changes)
                folder.finish(changes)
        compress_uidlist(folder)
        return sorted(message.uid for message in done)


def move(folder: Folder, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
    if target is folder:
        with locked(folder):
            pairs = copy(folder, uids, folder, by)
            expunge(folder, [uid for uid, _ in pairs], by)
            return pairs
    with locked(folder, target):
        messages = chosen(folder, uids)
        if not messages:
            return []
        letters_of = _translated(folder, messages, target)
        limbo, changes = _limbo(folder), Changes(by=by)
        counted = {root: sign for root, sign in ((folder.root, -1), (target.root, 1)) if maildirsize.is_kept(root)} if folder.root != target.root else {}
        sizes = {message: message.size for message in messages} if counted else {}
        made: dict[int, tuple[bytes, Place]] = {}
        keys: dict[bytes, bytes] = {}

        def shift(message: Message) -> bool:
            base, place, words = _named(message, letters_of(message))
            try:                                        # for sessions that have not heard of it yet
                durable.link(message.path, b"%s/%s" % (limbo, message.name))
            except OSError:
                pass
            try:
                if not rename(folder, message, None, path_of(target, base, place)):
                    return False
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _link(folder, message, path_of(target, base, place))
                durable.unlink_if_there(message.path)
                folder.scanner.renamed(message.base, message.place, None)
            if words:
                keys[base] = words
            made[message.uid] = (base, place)
            return True

        done: list[Message] = []
        try:
            with many(folder, len(messages)), many(target, len(messages)):
                each(folder, messages, shift, done)
        finally:
            done.sort(key=lambda message: message.uid)
            try:
                new = _moved(folder, target, [made[message.uid] for message in done], keys, Changes(by=by))
                for root, sign in counted.items():      # of two owners
                    maildirsize.add(root, sign * sum(sizes[message] for message in done), sign * len(done))
            finally:
                folder.contents.drop(done, changes)
                folder.finish(changes)
        compress_uidlist(folder)
        return list(zip((message.uid for message in done), new))


def _moved(folder: Folder, target: Folder, made: list[tuple[bytes, Place]], keys: dict[bytes, bytes],
           changes: Changes) -> list[int]:
    """Names and UIDs of moved files durable: first where they are now, then where they were.  An error undoes nothing: the mail
    is in target, as if another program had put it there, and gets its UIDs from the next look."""
    if not made:
        return []
    bases = {base for base, _ in made}
    try:
        for base, place in made:
            target.scanner.added(base, place)
        settle_locked(target, changes, [base for base, _ in made], keys)
        target.uidlist.sync()
        durable.sync_dirs([*target.scanner.paths.values(), *folder.scanner.paths.values()])
    except BaseException:
        target.contents.drop([message for message in changes.arrived if message.base in bases], Changes())
        target.contents.unknown.update(bases)
        raise
    target.finish(changes)
    uids = {message.base: message.uid for message in changes.arrived}
    return [uids[base] for base, _ in made]
