"""check_mail: the messages of one mailbox: their names, sizes and rights; what lies in tmp/ and limbo."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from pymta import clock, durable
from pymta.formats import maildir, uidlist
from pymta.mailbox import Folder, MailStore
from pymta.mailbox.mending import correct_size, part_twins
from pymta.mailbox.message import count_vsize
from pymta.mailbox.tidying import TMP_KEEP_S, TWIN_QUIET_S, rewrite_uidlist
from pymta.upkeep.finding import FAULT, NOTE, WARNING, Finding
from pymta.upkeep.looked import File, Looked, entries, limbo

_LETTERS = b"DFPRST"


def everything(looked: Looked, *, read: bool = True) -> Iterator[Finding]:
    yield from _names(looked)
    yield from _sizes(looked, read)
    yield from _tmp(looked)
    yield from _limbo(looked)


def _names(looked: Looked) -> Iterator[Finding]:
    for file in looked.strange:
        yield Finding(file.path, "not a plain file: clients see a message that cannot be read", "move it away")
    for base, files in looked.files.items():
        if b"\n" in base:
            yield Finding(files[0].path, "a line feed in its name: it cannot have a UID, so nobody sees it", "rename it")
        if len(files) > 1:
            same = all(os.path.samestat(files[0].status, other.status) for other in files[1:])
            yield Finding(files[1].path, f"has the same name as {os.fsdecode(files[0].name)!r}" + (" and is the same file" if same else ""),
                          "one name is removed" if same else "it gets a name of its own", WARNING, mend=_with(looked, _part))
        for file in files:
            info = file.name[len(base):]
            if info and not info.startswith(b":2,"):
                yield Finding(file.path, "what stands behind the colon is not `2,` and letters: it has no flags", "rename it", WARNING)
            elif letters := maildir.letters_of(file.name):
                if list(letters) != sorted(set(letters)):
                    yield Finding(file.path, "its letters are not in order, or doubled", "they are put in order at the next change", NOTE)
                elif file.in_new:
                    yield Finding(file.path, "flags in new/", "they count; it moves to cur/ when it is seen", NOTE)
                if unknown := bytes(letter for letter in letters if letter not in _LETTERS and not 97 <= letter <= 122):
                    yield Finding(file.path, f"letters nobody knows: {unknown.decode('latin-1')!r}", "they are kept", NOTE)


def _sizes(looked: Looked, read: bool) -> Iterator[Finding]:
    """S= and W= in names and in the uidlist must be true: clients count on them."""
    data = looked.read(uidlist.NAME)
    try:
        listed = uidlist.decode(data or b"")
    except uidlist.Damaged:
        listed = uidlist.Uidlist(1)
    for base, files in looked.files.items():
        said_size, said_vsize = maildir.size_of(base), maildir.vsize_of(base)
        if said_size is not None and said_size != files[0].status.st_size:
            yield Finding(files[0].path, f"its name says {said_size} octets, it has {files[0].status.st_size}",
                          "it gets another name; the UID stays", FAULT, mend=_with(looked, _rename(base)))
            continue
        if not read:
            continue
        vsize = _count(files[0])
        if vsize is None:
            continue                                    # renamed this moment, or told of by the look at the rights
        if said_vsize is not None and said_vsize != vsize:
            yield Finding(files[0].path, f"its name says {said_vsize} octets with CRLF, it has {vsize}",
                          "it gets another name; the UID stays", FAULT, mend=_with(looked, _rename(base)))
            continue
        uid = listed.uids.get(base, 0)
        keys = listed.keys.get(uid, b"")
        for letter, true in ((b"S", files[0].status.st_size), (b"W", vsize)):
            value = uidlist.key_of(keys, letter)
            if value is not None and value != b"%d" % true:
                yield Finding(looked.path(uidlist.NAME), f"UID {uid}: {letter.decode()} is {value.decode('latin-1')!r}, it has {true} octets",
                              "the key is removed", FAULT, mend=_with(looked, _without(uid, letter)))


def _count(file: File) -> int | None:
    try:
        fd = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return count_vsize(fd)
    finally:
        os.close(fd)


# ---- repairs ----------------------------------------------------------------------------------------------------------
def _with(looked: Looked, act: Callable[[Folder], object]) -> Callable[[], None]:
    """act on the mailbox, opened."""
    def mend() -> None:
        store = MailStore(looked.root)
        folder = store.open(looked.mailbox)
        try:
            act(folder)
        finally:
            store.close(folder)
    return mend


def _part(folder: Folder) -> None:
    part_twins(folder, clock.now() - TWIN_QUIET_S)


def _rename(base: bytes) -> Callable[[Folder], object]:
    return lambda folder: correct_size(folder, base)


def _without(uid: int, letter: bytes) -> Callable[[Folder], None]:
    def act(folder: Folder) -> None:
        with folder.mutex, folder.lock:
            folder.sync_locked()
            assert folder.uidlist.list is not None
            keys = folder.uidlist.list.keys
            if rest := uidlist.with_key(keys.pop(uid, b""), letter, None):
                keys[uid] = rest
            rewrite_uidlist(folder)
    return act


# ---- what is on its way -------------------------------------------------------------------------------------------------
def _tmp(looked: Looked) -> Iterator[Finding]:
    before = clock.now() - TMP_KEEP_S
    old = [path for path, _, status in entries(looked.path(b"tmp")) if max(status.st_mtime, status.st_ctime) < before]
    if old:
        def remove() -> None:
            for path in old:
                if os.path.isfile(path) or os.path.islink(path):
                    durable.unlink_if_there(path)
        yield Finding(looked.path(b"tmp"), f"{len(old)} files were left here more than 36 hours ago", "they are removed at the next use", NOTE,
                      mend=remove)


def _limbo(looked: Looked) -> Iterator[Finding]:
    waiting = limbo(looked)
    if waiting:
        octets = sum(status.st_size for _, _, status in waiting if status.st_nlink == 1)
        oldest_s = clock.now() - min(status.st_ctime for _, _, status in waiting)
        yield Finding(os.path.dirname(waiting[0][0]), f"{len(waiting)} expunged messages, {octets} octets, the oldest {oldest_s / 3600:.1f} h",
                      "pymta-maildir undelete brings them back", NOTE)
