"""adopt: take a Maildir over from Courier or Dovecot: UIDs, keywords, subscriptions, UIDLs, names.

Every step replaces one file or renames one thing, under the lock it belongs to, and does nothing where it has been done: after a crash it is
done again from the beginning.  The files of the other server stay as they are.
"""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta import clock, durable
from pymta.formats import courier, maildir, subscriptions, uidlist
from pymta.formats.maildir import folder_of
from pymta.formats.uidvalidity import next_uidvalidity, raise_to
from pymta.locks import FolderLock, held
from pymta.mailbox import Folder, MailStore
from pymta.mailbox.tidying import rewrite_uidlist
from pymta.upkeep.looked import entries, mailboxes
from pymta.upkeep.view import View


def worked_here_since(root: bytes) -> str:
    """Why Courier's word may be an old one; "" where it is the last."""
    for name, directory in mailboxes(root):
        try:
            ours = os.stat(os.path.join(directory, uidlist.NAME)).st_mtime
            theirs = max(os.stat(os.path.join(directory, each)).st_mtime for each in (courier.UIDDB, courier.KEYWORDS)
                         if os.path.exists(os.path.join(directory, each)))
        except (FileNotFoundError, ValueError):
            continue
        if ours > theirs:
            return f"{name}: another server has worked here since Courier did ({uidlist.NAME.decode()} is younger than Courier's files)"
    return ""


# ---- from Courier -------------------------------------------------------------------------------------------------------
def from_courier(root: bytes) -> Iterator[str]:
    """Take over; says what was done.  Raises OSError, TimeoutError."""
    yield from _folder_names(root)
    for name, directory in mailboxes(root):
        yield from _uids(root, directory, name)
    store = MailStore(root)
    for name in store.list():
        folder = store.open(name)
        try:
            yield from _keywords(folder)
            if name == "INBOX":
                yield from _uidls(folder)
        finally:
            store.close(folder)
    yield from _subscriptions(root)


def _folder_names(root: bytes) -> Iterator[str]:
    """Courier 5 names folders in UTF-8."""
    changed = False
    for path, name, _ in list(entries(root)):
        if name[:1] != b"." or name[1:2] in (b"", b".") or not os.path.isdir(path):
            continue
        mailbox = courier.name_of(name[1:])
        proper = folder_of(mailbox)
        if proper == name or maildir.refuse(mailbox):
            continue
        if os.path.lexists(os.path.join(root, proper)):
            yield f"{mailbox}: left under its name in UTF-8, for there is a folder of the other name too"
            continue
        durable.rename(path, os.path.join(root, proper))
        changed = True
        yield f"{mailbox}: its directory is named {os.fsdecode(proper)} now"
    if changed:
        durable.sync_dir(root)


def _uids(root: bytes, directory: bytes, name: str) -> Iterator[str]:
    with FolderLock(directory):
        file = uidlist.UidlistFile(directory)
        try:
            theirs = file.adopt_courier()
            if theirs is None:
                return
            file.refresh()
            there = {maildir.base_of(each) for place in (b"cur", b"new") for _, each, _ in entries(os.path.join(directory, place))}
            known, file.list = file.list, _merged(root, theirs, file.list, there)
            if known is not None and (known.uidvalidity, known.uids, known.next) == (file.list.uidvalidity, file.list.uids, file.list.next):
                return
            file.rewrite()
            raise_to(root, file.list.uidvalidity)
            yield f"{name}: UIDVALIDITY {file.list.uidvalidity}, {len(file.list.uids)} UIDs" \
                + ("; the two servers contradicted each other, so clients fetch it again" if file.list.uidvalidity != theirs.uidvalidity else "")
        finally:
            file.close()


def _merged(root: bytes, theirs: uidlist.Uidlist, known: uidlist.Uidlist | None, there: set[bytes]) -> uidlist.Uidlist:
    """Courier's UIDs with what else a uidlist of the same mailbox says.  there: bases of the files.

    Where both speak of one UIDVALIDITY, and one UID may have been two messages (one that has gone since is in nobody's list), nobody can
    know what clients were told: a new UIDVALIDITY."""
    made = uidlist.Uidlist(theirs.uidvalidity, theirs.next, guid=uidlist.new_guid(), uids=dict(theirs.uids), seen=theirs.seen)
    if known is None:
        return made
    made.guid, made.more = known.guid or made.guid, known.more
    made.keys = {made.uids[base]: known.keys[uid] for base, uid in known.uids.items() if uid in known.keys and base in made.uids}
    if known.uidvalidity != theirs.uidvalidity:
        return made
    ours = {base: uid for base, uid in known.uids.items() if base in there or base in theirs.uids}
    if any(known.uids.get(base) != uid for base, uid in theirs.uids.items() if uid < known.next) \
            or any(theirs.uids.get(base) != uid for base, uid in ours.items() if uid < theirs.next) \
            or any(ours.get(base, uid) != uid for base, uid in theirs.uids.items()):
        made.uidvalidity = next_uidvalidity(root)
        return made
    made.uids = dict(sorted({**ours, **made.uids}.items(), key=lambda item: item[1]))
    made.keys = dict(known.keys)
    made.nextuid, made.seen = max(made.next, known.next), max(made.seen, known.seen)
    return made


def _keywords(folder: Folder) -> Iterator[str]:
    """What courierimapkeywords says holds: letters in names mean nothing to Courier, and it drops them."""
    directory = os.path.join(folder.directory, courier.KEYWORDS)
    if not os.path.isdir(directory):
        return
    files = []
    for path, name, status in entries(directory):
        if status.st_size < 1 << 26 and os.path.isfile(path):
            with open(path, "rb") as file:
                files.append((name, file.read()))
    found = courier.decode_keywords(files)
    wanted: dict[frozenset[str], list[int]] = {}
    for message in folder.messages:
        system = frozenset(flag for flag in message.flags if flag.startswith("\\"))
        flags = system | frozenset(found.get(message.base, ()))
        if {flag.lower() for flag in flags} != {flag.lower() for flag in message.flags}:
            wanted.setdefault(flags, []).append(message.uid)
    for flags, uids in wanted.items():
        folder.set_flags(uids, "replace", flags)
    if wanted:
        yield f"{folder.name}: keywords of {sum(map(len, wanted.values()))} messages"


def _uidls(folder: Folder) -> Iterator[str]:
    """Courier's UIDLs, and its order where that is another than ours."""
    try:
        with open(os.path.join(folder.directory, courier.SIZELIST), "rb") as file:
            rows = courier.decode_sizelist(file.read()).rows
    except FileNotFoundError:
        return
    with folder.mutex, folder.lock:
        folder.sync_locked()
        assert folder.uidlist.list is not None
        uids, keys = folder.uidlist.list.uids, folder.uidlist.list.keys
        known = [(row, uids[base]) for row in rows if (base := maildir.base_of(row.name)) in uids]
        in_order = [uid for _, uid in known] == sorted(uid for _, uid in known)
        before = dict(keys)
        for place, (row, uid) in enumerate(known, 1):
            words = uidlist.with_key(keys.get(uid, b""), b"P", row.uidl)
            keys[uid] = words if in_order else uidlist.with_key(words, b"O", b"%d" % place)
        if keys != before:
            rewrite_uidlist(folder)
            yield f"INBOX: {len(known)} UIDLs" + ("" if in_order else ", and their order")


def _subscriptions(root: bytes) -> Iterator[str]:
    try:
        with open(os.path.join(root, courier.SUBSCRIBED), "rb") as file:
            names = courier.decode_subscribed(file.read())
    except FileNotFoundError:
        return
    if replace_subscriptions(root, names):
        yield f"{len(names)} subscriptions"


def replace_subscriptions(root: bytes, names: list[str]) -> bool:
    path = os.path.join(root, subscriptions.NAME)
    with held(path):
        if os.path.exists(path):
            with open(path, "rb") as file:
                if subscriptions.decode(file.read()) == names:
                    return False
        durable.replace(path, subscriptions.encode(names), 0o600)
        return True


# ---- from Dovecot -------------------------------------------------------------------------------------------------------
def from_dovecot(root: bytes, uidl_format: str, theirs: View | None) -> Iterator[str]:
    """Its files are ours; what stands elsewhere is how it makes UIDLs, keywords beyond the 26th, and its mod-sequences, which rise with
    each mailbox.  theirs: what Dovecot says, if it could be asked.  Raises OSError, TimeoutError."""
    store = MailStore(root)
    for name in store.list():
        folder = store.open(name)
        try:
            box = theirs.boxes.get(name) if theirs else None
            if box:
                lost: dict[frozenset[str], list[int]] = {}
                for message in folder.messages:
                    flags = {flag.lower() for flag in message.flags}
                    more = frozenset(flag for flag in (box.mails[message.uid].flags if message.uid in box.mails else ())
                                     if flag.lower() not in flags and not flag.startswith("\\"))
                    if more:
                        lost.setdefault(more, []).append(message.uid)
                for more, uids in lost.items():
                    folder.set_flags(uids, "add", more)
                if lost:
                    yield f"{name}: keywords without a letter, of {sum(map(len, lost.values()))} messages"
            with folder.mutex, folder.lock:
                folder.sync_locked()
                yield from _header(folder, uidl_format if name == "INBOX" else "", box.modseq if box else 0)
        finally:
            store.close(folder)


def _header(folder: Folder, uidl_format: str, modseq: int) -> Iterator[str]:
    listed = folder.uidlist.list
    assert listed is not None
    before = list(listed.more)
    if uidl_format and not any(word[:1] == b"P" for word in listed.more) and " " not in uidl_format:
        listed.more.append(b"P" + uidl_format.encode("latin-1", "replace"))
        yield f"INBOX: UIDLs as {uidl_format}"
    ceiling = max((int(word[1:]) for word in listed.more if word[:1] == b"M" and word[1:].isdigit()), default=0)
    if modseq >= ceiling > 0 or modseq > clock.now():
        listed.more = [word for word in listed.more if word[:1] != b"M"] + [b"M%d" % (modseq + 1000)]
        yield f"{folder.name}: mod-sequences go on above {modseq}"
    if listed.more != before:
        rewrite_uidlist(folder)

