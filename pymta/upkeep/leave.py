"""leave: give a Maildir back to Courier or Dovecot, so that their clients fetch nothing again.

As in adopt each step replaces one file and can be repeated.  Our own files stay: they are taken up again when the Maildir comes back.
"""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta import durable
from pymta.drop import open_drop
from pymta.formats import courier, uidlist
from pymta.formats.maildir import encode_utf7
from pymta.mailbox import Folder, MailStore
from pymta.mailbox.message import overflow_of
from pymta.mailbox.tidying import rewrite_uidlist
from pymta.upkeep.finding import printable
from pymta.upkeep.looked import entries
from pymta.upkeep.servers import Dovecot
from pymta.upkeep.talk import Silent, quoted

_LINE_MAX = 1000                                        # UIDs named in one command


# ---- to Dovecot ---------------------------------------------------------------------------------------------------------
def to_dovecot(maildir: str, server: Dovecot | None) -> Iterator[str]:
    """Say what is done.  Dovecot reads our files; but it makes UIDLs in its own way unless each message states one, keeps keywords that
    have no letter in its index, and mod-sequences too.  Raises OSError, TimeoutError."""
    yield from _state_uidls(maildir)
    store, spilled, highest = MailStore(maildir), {}, {}
    for name in store.list():
        folder = store.open(name)
        try:
            words: dict[str, list[int]] = {}
            for message in folder.messages:
                for keyword in overflow_of(message.keys):
                    words.setdefault(keyword, []).append(message.uid)
            spilled[name], highest[name] = words, folder.highestmodseq
        finally:
            store.close(folder)
    if any(spilled.values()):
        if server is None:
            yield "keywords that have no letter stay behind, for Dovecot is not installed here: " \
                + ", ".join(sorted({printable(word) for words in spilled.values() for word in words}))
        else:
            yield from _store(server, maildir, spilled)
    for name, modseq in highest.items():
        if modseq:
            yield f"{name}: for clients with CONDSTORE: doveadm mailbox update -u USER --min-highest-modseq {modseq + 1} {encode_utf7(name).decode()}"


def _state_uidls(maildir: str) -> Iterator[str]:
    drop = open_drop(maildir)
    try:
        folder = drop.folder
        with folder.mutex, folder.lock:
            folder.sync_locked()
            assert folder.uidlist.list is not None
            keys = folder.uidlist.list.keys
            before = dict(keys)
            for message, uidl in zip(drop.messages, drop.uids):
                keys[message.uid] = uidlist.with_key(keys.get(message.uid, b""), b"P", uidl)
            if keys != before:
                rewrite_uidlist(folder)
                yield f"INBOX: {len(drop.uids)} UIDLs are stated"
    finally:
        drop.close()


def _store(server: Dovecot, maildir: str, spilled: dict[str, dict[str, list[int]]]) -> Iterator[str]:
    with server.talk(server.imap, maildir) as talk:
        if not talk.line().startswith(b"* PREAUTH"):
            raise Silent("Dovecot does not let us in")
        for name, words in spilled.items():
            if words:
                talk.ok(b"SELECT " + quoted(name))
            for word, uids in words.items():
                for at in range(0, len(uids), _LINE_MAX):
                    which = b",".join([b"%d" % uid for uid in uids[at:at + _LINE_MAX]])
                    talk.ok(b"UID STORE %b +FLAGS.SILENT (%b)" % (which, word.encode("utf-8", "surrogateescape")))
            if words:
                yield f"{name}: {len(words)} keywords without a letter are in Dovecot's index"
        talk.command(b"LOGOUT")


# ---- to Courier ---------------------------------------------------------------------------------------------------------
def to_courier(maildir: str, *, utf7: bool = False) -> Iterator[str]:
    """utf7: for a Courier before version 5, which names folders as we do.  Raises OSError, TimeoutError."""
    root = os.fsencode(maildir)
    yield from _sizelist(maildir)
    store = MailStore(maildir)
    for name in store.list():
        folder = store.open(name)
        try:
            folder.claim_recent()                       # Courier gives what lies in new/ another UID, whatever its list says
            with folder.mutex, folder.lock:
                folder.sync_locked()
                assert folder.uidlist.list is not None
                uids = {message.base: message.uid for message in folder.messages}
                listed = uidlist.Uidlist(folder.uidvalidity, folder.uidnext, uids=uids, seen=folder.uidnext - 1)
                durable.replace(os.path.join(folder.directory, courier.UIDDB), courier.encode_uiddb(listed), 0o600)
                yield f"{name}: UIDVALIDITY {folder.uidvalidity}, {len(uids)} UIDs"
                yield from _keywords(folder)
        finally:
            store.close(folder)
    names = store.subscriptions()
    durable.replace(os.path.join(root, courier.SUBSCRIBED), courier.encode_subscribed(names, utf7=utf7), 0o600)
    yield f"{len(names)} subscriptions"
    if not utf7:
        yield from _folder_names(root, store.list())


def _keywords(folder: Folder) -> Iterator[str]:
    directory = os.path.join(folder.directory, courier.KEYWORDS)
    found = {message.base: sorted(flag for flag in message.flags if not flag.startswith("\\")) for message in folder.messages}
    found = {base: words for base, words in found.items() if words and b":" not in base}
    if not found and not os.path.isdir(directory):
        return
    durable.mkdir(directory, 0o700)
    durable.replace(os.path.join(directory, courier.KEYWORDS_LIST), courier.encode_keywords(found), 0o600)
    for path, name, _ in list(entries(directory)):
        if name != courier.KEYWORDS_LIST:
            durable.unlink_if_there(path)               # older than what we have just said, and Courier would think it newer
    durable.sync_dirs([directory, folder.directory])
    if found:
        yield f"{folder.name}: keywords of {len(found)} messages"


def _sizelist(maildir: str) -> Iterator[str]:
    drop, rows, other = open_drop(maildir), [], 0
    try:
        for index, (message, uidl, size) in enumerate(zip(drop.messages, drop.uids, drop.sizes)):
            row = courier.row_of(message.base, size, uidl, False)
            if row is None:
                other += 1
            else:
                rows.append(row._replace(size=size + 2 * _has_no_end(drop.open_file(index))))
        top = max([row.uid for row in rows], default=0) + 1
        listed = courier.Sizelist(top, drop.folder.uidvalidity, rows)
        durable.replace(os.path.join(os.fsencode(maildir), courier.SIZELIST), courier.encode_sizelist(listed), 0o600)
    finally:
        drop.close()
    yield f"INBOX: {len(rows)} UIDLs" + (f"; {other} are of a form that Courier cannot show" if other else "")


def _has_no_end(fd: int) -> bool:
    """Whether the last line of a message has no end: Courier counts the one it adds."""
    try:
        size = os.fstat(fd).st_size
        return size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    finally:
        os.close(fd)


def _folder_names(root: bytes, names: list[str]) -> Iterator[str]:
    for name in names:
        ours, theirs = encode_utf7(name), courier.folder_of(name, utf7=False)
        if name != "INBOX" and ours != theirs:
            durable.rename(os.path.join(root, b"." + ours), os.path.join(root, b"." + theirs))
            yield f"{name}: its directory is named {os.fsdecode(b'.' + theirs)} now"
    durable.sync_dir(root)

