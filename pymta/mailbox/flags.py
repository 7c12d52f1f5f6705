"""flags: set them, take what is new out of new/; a letter for each keyword, the uidlist for those that have none left."""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pymta import log
from pymta.formats import maildir, uidlist
from pymta.mailbox.acting import chosen, each, locked, many, path_of, rename
from pymta.mailbox.message import Changes, Message, overflow_of
from pymta.mailbox.scanner import CUR, Place
from pymta.mailbox.tidying import rewrite_uidlist

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder


def claim_recent(folder: Folder) -> list[int]:
    with folder.mutex:
        if folder.vanished or not folder.contents.in_new:
            return []
        try:
            with locked(folder):
                messages = chosen(folder, folder.contents.in_new)
                changes = Changes()

                def claim(message: Message) -> bool:
                    if not message.new:
                        return False
                    place = (CUR, message.place[1] or b":2,")
                    if not rename(folder, message, place, path_of(folder, message.base, place)):
                        return False
                    folder.contents.place(message, place, changes)
                    return True

                claimed: list[Message] = []
                with many(folder, len(messages)):
                    each(folder, messages, claim, claimed)
                return sorted(message.uid for message in claimed)
        except OSError as error:
            log.event("trouble", mailbox=folder.directory, why=f"new messages stay in new/: {error}")
            return []


def set_flags(folder: Folder, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
    if mode not in ("add", "remove", "replace"):
        raise ValueError(f"mode {mode!r}")
    with locked(folder):
        letters, overflow = letters_for(folder, flags, make=mode != "remove")
        known = frozenset(b"DFRST") | {97 + index for index, keyword in enumerate(folder.letters.keywords) if keyword}
        places: dict[bytes, Place] = {}                 # what stands behind a base -> what shall stand there
        messages, changes = chosen(folder, uids), Changes(by=by)
        touched: list[Message] = []
        spilled = {message.uid: message.flags for message in messages if folder.keys_of(message.uid) or overflow}

        def wanted(info: bytes) -> Place:
            place = places.get(info)
            if place is None:
                now = set(maildir.letters_of(info))
                after = now | letters if mode == "add" else now - letters if mode == "remove" else now - known | letters
                place = places[info] = CUR, info if after == now else maildir.with_letters(info, maildir.sorted_letters(after))
            return place

        def change(message: Message) -> bool:
            info = message.place[1]
            place = wanted(info)
            if place[1] == info:
                return True
            if not rename(folder, message, place, path_of(folder, message.base, place)):
                return False
            folder.contents.put(message, place)
            touched.append(message)
            return True

        differ = [message for message in messages if wanted(info := message.place[1])[1] != info]
        try:
            with many(folder, len(differ)):
                each(folder, differ, change, [])
            if spilled:
                _spill(folder, spilled, mode, overflow)
        except BaseException:
            changes.by = None                           # what is done is told, also to who asked, and does not hear which it was
            raise
        finally:
            if spilled:
                touched = list({id(message): message for message in
                                touched + [m for m in messages if m.flags != spilled.get(m.uid, m.flags)]}.values())
            changes.flags = touched
            folder.finish(changes)
        return touched


def set_flags_unchanged(folder: Folder, uids: Iterable[int], mode: str, flags: Iterable[str], since: int, by: object = None) -> list[int]:
    with locked(folder):                               # nobody who asks us changes anything between the look and the deed
        folder.changelog.refresh()
        messages = chosen(folder, uids)
        changed = [message.uid for message in messages if folder.modseq_of(message) > since]
        left_out = set(changed)
        set_flags(folder, [message.uid for message in messages if message.uid not in left_out], mode, flags, by)
        return changed


def letters_for(folder: Folder, flags: Iterable[str], *, make: bool) -> tuple[set[int], list[str]]:
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
    as_before = dict(keys)
    low = {keyword.lower() for keyword in overflow}
    for uid in before:
        now = overflow_of(keys.get(uid, b""))
        if mode == "remove":
            after = [keyword for keyword in now if keyword.lower() not in low]
        elif mode == "add":
            have = {keyword.lower() for keyword in now}
            after = now + [keyword for keyword in overflow if keyword.lower() not in have]
        else:
            after = overflow
        if after != now:
            words = uidlist.with_key(keys.get(uid, b""), b"K", overflow_value(after))
            if words:
                keys[uid] = words
            else:
                keys.pop(uid, None)
            changed = True
    if changed:
        try:
            rewrite_uidlist(folder)
        except BaseException:
            keys.clear()
            keys.update(as_before)
            raise


def overflow_value(keywords: list[str]) -> bytes | None:
    return b"\\".join(keyword.encode("utf-8", "surrogateescape") for keyword in keywords) or None
