"""actions: what sessions do to the messages of a folder: store, copy, move, expunge, set flags.

Each takes the folder's mutex and Dovecot's lock, looks at the disk, acts, makes durable what must be, and tells the listeners.
When something fails in the middle of append or copy, what was made is taken away again; no UID of it was told.
"""
from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from pymta import durable, log
from pymta.formats import maildir, maildirsize, uidlist
from pymta.mailbox.message import LIMBO, Changes, Gone, Message, overflow_of
from pymta.mailbox.scanner import CUR, NEW, Vanished

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

T = TypeVar("T")
BULK = 5000                                             # renames at once that would only flood our own event queue


@contextmanager
def _locked(*folders: Folder) -> Iterator[None]:
    """Hold mutexes and locks of folders, always in the same order, everything looked at."""
    with ExitStack() as stack:
        ordered = sorted({id(folder): folder for folder in folders}.values(), key=lambda folder: folder.directory)
        for folder in ordered:
            stack.enter_context(folder.mutex)
        for folder in ordered:
            _enter(stack, folder)
        for folder in ordered:
            folder.sync_locked()
        yield


def _enter(stack: ExitStack, folder: Folder) -> None:
    try:
        stack.enter_context(folder.lock)
    except FileNotFoundError:
        folder.sync()                                   # says that it has vanished, if that is why
        if folder.vanished:
            raise Vanished(folder.name) from None
        raise


@contextmanager
def _many(folder: Folder, count: int) -> Iterator[None]:
    """Around count renames of our own in a folder."""
    if count < BULK or not folder.scanner.watched:
        yield
        return
    folder.scanner.pause()
    try:
        yield
    finally:
        folder.scanner.start_watching()


def _messages(folder: Folder, uids: Iterable[int]) -> list[Message]:
    found = (folder.get(uid) for uid in uids)
    return sorted((message for message in found if message is not None), key=lambda message: message.uid)


def _rename(folder: Folder, message: Message, where: tuple[bool, bytes] | None, path: bytes) -> bool:
    """Rename the message's file to path, which is where in this folder, or (None) outside of it.  False if it is not there."""
    try:
        durable.rename(message.path, path)
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise
        return False
    folder.scanner.renamed(message.base, message.where, where)
    return True


def _path(folder: Folder, where: tuple[bool, bytes]) -> bytes:
    return b"%s/%s/%s" % (folder.directory, b"new" if where[0] else b"cur", where[1])


def _each(folder: Folder, messages: Sequence[Message], act: Callable[[Message], bool]) -> list[Message]:
    """act on messages; those for which it said False (renamed by somebody else just now) once more after another look.
    The messages for which it said True."""
    done: list[Message] = []
    for _ in range(4):
        missed: list[Message] = []
        for number, message in enumerate(messages):
            (done if act(message) else missed).append(message)
            if not number & 1023:
                folder.lock.refresh()
        if not missed:
            break
        folder.sync_locked()
        messages = [message for message in missed if not message.expunged]
    return done


# ---- flags ------------------------------------------------------------------------------------------------------------
def claim_recent(folder: Folder) -> list[int]:
    with folder.mutex:
        if folder.vanished or not folder.in_new:
            return []
        try:
            with _locked(folder):
                messages = _messages(folder, folder.in_new)
                changes = Changes()

                def claim(message: Message) -> bool:
                    if not message.new:
                        return False
                    name = message.where[1] if b":" in message.where[1] else message.where[1] + b":2,"
                    where = (CUR, name)
                    if not _rename(folder, message, where, _path(folder, where)):
                        return False
                    folder.place(message, where, changes)
                    return True

                with _many(folder, len(messages)):
                    return sorted(message.uid for message in _each(folder, messages, claim))
        except OSError as error:
            log.event("trouble", mailbox=folder.directory, why=f"new messages stay in new/: {error}")
            return []


def set_flags(folder: Folder, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
    if mode not in ("add", "remove", "replace"):
        raise ValueError(f"mode {mode!r}")
    with _locked(folder):
        letters, overflow = _letters_for(folder, flags, make=mode != "remove")
        known = frozenset(b"DFRST") | {97 + index for index, keyword in enumerate(folder.letters.keywords) if keyword}
        infos: dict[bytes, bytes] = {}                  # what stands behind a base -> what shall stand there
        messages, changes = _messages(folder, uids), Changes(by=by)
        touched: list[Message] = []
        spilled = {message.uid: message.flags for message in messages if folder.keys_of(message.uid) or overflow}

        def wanted(info: bytes) -> bytes:
            if info not in infos:
                now = set(maildir.letters_of(info))
                after = now | letters if mode == "add" else now - letters if mode == "remove" else now - known | letters
                infos[info] = info if after == now else maildir.with_letters(info, maildir.sorted_letters(after))
            return infos[info]

        def change(message: Message) -> bool:
            base, name = message.base, message.where[1]
            info = wanted(name[len(base):])
            where = (CUR, base + info)
            if info == name[len(base):]:
                return True
            if not _rename(folder, message, where, _path(folder, where)):
                return False
            message.where = where
            folder.in_new.discard(message.uid)
            touched.append(message)
            return True

        differ = [message for message in messages if wanted(info := message.where[1][len(message.base):]) != info]
        with _many(folder, len(differ)):
            _each(folder, differ, change)
        if spilled:
            _spill(folder, spilled, mode, overflow)
            touched = list({id(message): message for message in
                            touched + [m for m in messages if m.flags != spilled.get(m.uid, m.flags)]}.values())
        changes.flags = touched
        folder.finish(changes)
        return touched


def set_flags_unchanged(folder: Folder, uids: Iterable[int], mode: str, flags: Iterable[str], since: int, by: object = None) -> list[int]:
    with _locked(folder):                               # nobody who asks us changes anything between the look and the deed
        folder.changelog.refresh()
        messages = _messages(folder, uids)
        changed = [message.uid for message in messages if folder.modseq_of(message) > since]
        left_out = set(changed)
        set_flags(folder, [message.uid for message in messages if message.uid not in left_out], mode, flags, by)
        return changed


def _letters_for(folder: Folder, flags: Iterable[str], *, make: bool) -> tuple[set[int], list[str]]:
    """(letters of flags, keywords that have none).  make: give letters to keywords that are new.  Wants the lock."""
    letters: set[int] = set()
    wanted: dict[str, str] = {}
    for flag in flags:
        if flag.startswith("\\"):
            system = maildir.LETTER_OF.get("\\" + flag[1:].capitalize())
            if system:
                letters.add(system[0])
        elif flag and not any(ord(char) <= 0x20 or char in '(){%*"\\]\x7f' for char in flag):
            wanted.setdefault(flag.lower(), flag)
    if wanted and make:
        have = {keyword.lower() for keyword in folder.keywords}
        missing = [keyword for low, keyword in wanted.items() if low not in have]
        if missing:
            folder.letters.add(missing)
            folder.clear_flags()
    for index, keyword in enumerate(folder.letters.keywords):
        if keyword and keyword.lower() in wanted:
            letters.add(97 + index)
            del wanted[keyword.lower()]
    return letters, list(wanted.values())


def _spill(folder: Folder, before: dict[int, frozenset[str]], mode: str, overflow: list[str]) -> None:
    """Keywords without a letter stand in the uidlist (key K)."""
    assert folder.uidlist.list is not None
    keys, changed = folder.uidlist.list.keys, False
    for uid in before:
        now = overflow_of(keys.get(uid, b""))
        low = {keyword.lower() for keyword in overflow}
        rest = [keyword for keyword in now if keyword.lower() not in low]
        after = rest if mode == "remove" else now + [k for k in overflow if k.lower() not in {n.lower() for n in now}] \
            if mode == "add" else overflow
        if after != now:
            words = uidlist.with_key(keys.get(uid, b""), b"K", _overflow_value(after))
            if words:
                keys[uid] = words
            else:
                keys.pop(uid, None)
            changed = True
    if changed:
        folder.rewrite_uidlist()


def _overflow_value(keywords: list[str]) -> bytes | None:
    return b"\\".join(keyword.encode("utf-8", "surrogateescape") for keyword in keywords) or None


# ---- storing ----------------------------------------------------------------------------------------------------------
def _place_for(base: bytes, letters: set[int]) -> tuple[bool, bytes]:
    """Where a new message goes: one without flags to new/ (it is \\Recent to somebody then), as Dovecot does."""
    return (CUR, b"%s:2,%s" % (base, maildir.sorted_letters(letters))) if letters else (NEW, base)


def _publish(folder: Folder, made: list[tuple[bytes, tuple[bool, bytes]]], keys: dict[bytes, bytes],
             changes: Changes) -> list[int]:
    """UIDs for files that have just been put in place: names durable, UIDs durable.  On an error nothing of it stays.

    Both syncs come after both writes: most file systems put them on disk as one then."""
    try:
        for base, where in made:
            folder.scanner.added(base, where)
        folder.settle_locked(changes, [base for base, _ in made], keys)
        folder.uidlist.sync()
        durable.sync_dirs(os.path.dirname(_path(folder, where)) for _, where in made)
    except BaseException:
        folder.drop([message for message in changes.arrived if message.base in {base for base, _ in made}], Changes())
        for base, where in made:
            folder.scanner.renamed(base, where, None)
        _undo(_path(folder, where) for _, where in made)
        raise
    folder.finish(changes)
    uids = {message.base: message.uid for message in changes.arrived}
    return [uids[base] for base, _ in made]


def _undo(paths: Iterable[bytes]) -> None:
    for path in paths:
        try:
            durable.unlink_if_there(path)
        except OSError:
            pass


def append_all(folder: Folder, messages: Sequence[tuple[bytes, Iterable[str], float | None]], by: object = None) -> list[int]:
    """(data with LF, flags, internal date or None for now) each."""
    return _with_room(lambda: _append_all(folder, messages, by), folder) if messages else []


def _with_room(act: Callable[[], T], *folders: Folder) -> T:
    """act; when the disk is full, once more after what waits in limbo has been removed."""
    try:
        return act()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not any([folder.make_room() for folder in folders]):
            raise
        log.event("tidy", mailbox=folders[0].directory, why="the disk is full: limbo was emptied")
        return act()


def _append_all(folder: Folder, messages: Sequence[tuple[bytes, Iterable[str], float | None]], by: object) -> list[int]:
    written: list[tuple[bytes, bytes]] = []             # (base, path in tmp)
    made: list[tuple[bytes, tuple[bool, bytes]]] = []
    try:
        for data, _, internaldate in messages:
            base = maildir.new_base(len(data), maildir.vsize_of_data(data))
            path = b"%s/tmp/%s" % (folder.directory, base)
            written.append((base, path))
            _write(path, data, internaldate)
        with _locked(folder):
            keys: dict[bytes, bytes] = {}
            try:
                for (base, path), (_, flags, _) in zip(written, messages):
                    letters, overflow = _letters_for(folder, flags, make=True)
                    if overflow:
                        keys[base] = uidlist.with_key(b"", b"K", _overflow_value(overflow))
                    where = _place_for(base, letters)
                    durable.rename(path, _path(folder, where))
                    made.append((base, where))
            except BaseException:
                _undo(_path(folder, where) for _, where in made)
                raise
            uids = _publish(folder, made, keys, Changes(by=by))
            if maildirsize.is_kept(folder.root):
                maildirsize.add(folder.root, sum(len(data) for data, _, _ in messages), len(messages))
            return uids
    except BaseException:
        _undo(path for _, path in written[len(made):])
        raise


def _write(path: bytes, data: bytes, internaldate: float | None) -> None:
    """A file in tmp/, data and mtime durable."""
    try:
        file = durable.File(path)
    except FileNotFoundError:                           # somebody removed tmp/
        durable.mkdir(os.path.dirname(path))
        file = durable.File(path)
    try:
        file.write(data)
        if internaldate is not None:
            os.utime(file.fd, (internaldate, internaldate))
        file.sync()
    except BaseException:
        file.discard()
        raise
    file.close()


def copy(folder: Folder, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
    numbers = list(uids)
    return _with_room(lambda: _copy(folder, numbers, target, by), folder, target)


def _copy(folder: Folder, uids: list[int], target: Folder, by: object) -> list[tuple[int, int]]:
    with _locked(folder, target):
        messages = _messages(folder, uids)
        if not messages:
            return []
        made, keys = _link_all(folder, messages, target)
        new = _publish(target, made, keys, Changes(by=by))
        if maildirsize.is_kept(target.root):
            maildirsize.add(target.root, sum(message.size for message in messages), len(messages))
        return list(zip((message.uid for message in messages), new))


def _link_all(folder: Folder, messages: list[Message], target: Folder) \
        -> tuple[list[tuple[bytes, tuple[bool, bytes]]], dict[bytes, bytes]]:
    """A second name in target for each message, by link where possible: (bases and places, keys)."""
    made: list[tuple[bytes, tuple[bool, bytes]]] = []
    keys: dict[bytes, bytes] = {}
    letters_of = _translated(folder, messages, target)
    try:
        for message in messages:
            base, where, words = _named(message, letters_of(message))
            if words:
                keys[base] = words
            _link(folder, message, _path(target, where))
            made.append((base, where))
    except BaseException:
        _undo(_path(target, where) for _, where in made)
        raise
    return made, keys


def _named(message: Message, flags: tuple[set[int], list[str]]) -> tuple[bytes, tuple[bool, bytes], bytes]:
    """(base, place, keys) a copy of message gets."""
    letters, overflow = flags
    base = maildir.new_base(message.size, message.known_vsize)
    return base, _place_for(base, letters), uidlist.with_key(b"", b"K", _overflow_value(overflow))


def _translated(folder: Folder, messages: list[Message], target: Folder) -> Callable[[Message], tuple[set[int], list[str]]]:
    """Flags of a message as target writes them; letters mean other keywords there."""
    for flags in dict.fromkeys(message.flags for message in messages):
        _letters_for(target, flags, make=True)
    cache: dict[frozenset[str], tuple[set[int], list[str]]] = {}

    def translated(message: Message) -> tuple[set[int], list[str]]:
        flags = message.flags
        if flags not in cache:
            cache[flags] = _letters_for(target, flags, make=True)
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
            _write(temporary, data, message.internaldate)
            durable.rename(temporary, path)
            return
    raise Gone(f"{folder.name}: message {message.uid} is renamed faster than it can be found")


# ---- going away -------------------------------------------------------------------------------------------------------
def _limbo(folder: Folder) -> bytes:
    path = os.path.join(folder.directory, LIMBO)
    durable.mkdir(path, 0o700)
    return path


def expunge(folder: Folder, uids: Iterable[int], by: object = None) -> list[int]:
    with _locked(folder):
        messages = _messages(folder, uids)
        if not messages:
            return []
        limbo, changes = _limbo(folder), Changes(by=by)
        sizes = {message: message.size for message in messages} if maildirsize.is_kept(folder.root) else {}
        with _many(folder, len(messages)):
            done = _each(folder, messages, lambda message: _rename(folder, message, None, b"%s/%s" % (limbo, message.where[1])))
        durable.sync_dirs([limbo, *folder.scanner.paths.values()])
        if sizes:
            maildirsize.add(folder.root, -sum(sizes[message] for message in done), -len(done))
        folder.drop(done, changes)
        folder.finish(changes)
        folder.compress_uidlist()
        return changes.expunged


def move(folder: Folder, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
    if target is folder:
        with _locked(folder):
            pairs = copy(folder, uids, folder, by)
            expunge(folder, [uid for uid, _ in pairs], by)
            return pairs
    with _locked(folder, target):
        messages = _messages(folder, uids)
        if not messages:
            return []
        letters_of = _translated(folder, messages, target)
        limbo, changes = _limbo(folder), Changes(by=by)
        made: dict[int, tuple[bytes, tuple[bool, bytes]]] = {}
        keys: dict[bytes, bytes] = {}

        def shift(message: Message) -> bool:
            base, where, words = _named(message, letters_of(message))
            try:                                        # for sessions that have not heard of it yet
                durable.link(message.path, b"%s/%s" % (limbo, message.where[1]))
            except OSError:
                pass
            try:
                if not _rename(folder, message, None, _path(target, where)):
                    return False
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                _link(folder, message, _path(target, where))
                durable.unlink_if_there(message.path)
                folder.scanner.renamed(message.base, message.where, None)
            if words:
                keys[base] = words
            made[message.uid] = (base, where)
            return True

        with _many(folder, len(messages)):
            done = sorted(_each(folder, messages, shift), key=lambda message: message.uid)
        new = _moved(folder, target, [made[message.uid] for message in done], keys, Changes(by=by))
        folder.drop(done, changes)
        folder.finish(changes)
        folder.compress_uidlist()
        return list(zip((message.uid for message in done), new))


def _moved(folder: Folder, target: Folder, made: list[tuple[bytes, tuple[bool, bytes]]], keys: dict[bytes, bytes],
           changes: Changes) -> list[int]:
    """Names and UIDs of moved files durable: first where they are now, then where they were.  An error undoes nothing: the mail
    is in target, and gets its UIDs from the next look."""
    if not made:
        return []
    for base, where in made:
        target.scanner.added(base, where)
    target.settle_locked(changes, [base for base, _ in made], keys)
    target.uidlist.sync()
    durable.sync_dirs([*target.scanner.paths.values(), *folder.scanner.paths.values()])
    target.finish(changes)
    uids = {message.base: message.uid for message in changes.arrived}
    return [uids[base] for base, _ in made]


def part_twins(folder: Folder, before: float) -> None:
    """Two files of one base that have been quiet since before: a second name of the same file goes, another file gets a base of
    its own."""
    with _locked(folder):
        for base, twins in list(folder.scanner.twins.items()):
            if base not in folder.scanner.names:
                continue
            mine = os.stat(_path(folder, folder.scanner.names[base]))
            for where in list(twins):
                path = _path(folder, where)
                other = os.stat(path)
                if max(mine.st_ctime, other.st_ctime) > before:
                    continue
                if os.path.samestat(mine, other):
                    durable.unlink(path)
                    folder.scanner.renamed(base, where, None)
                else:
                    fresh = maildir.new_base(other.st_size, None)
                    durable.rename(path, _path(folder, (where[0], fresh + where[1][len(base):])))
                log.event("tidy", mailbox=folder.directory, twin=where[1])
        folder.sync_locked()
