"""NOTIFY in pymta-imapd as a process: what others do, in mailboxes that are selected and in all the others, on one connection."""
from __future__ import annotations

import imaplib
import os
import shutil
import time
from pathlib import Path

import pytest

from tests.running import Sandbox

USERS = ["alice", "bob", "carol", "dave", "erin", "frank", "gail"]
MESSAGE = b"From: Ann <ann@a.example>\nSubject: %d\n\nhello\n"


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=[f"{name}:secret" for name in USERS])


def maildir(box: Sandbox, user: str, folder: str = "") -> Path:
    return Path(box.user(user)["maildir"]) / folder


def deliver(box: Sandbox, user: str, folder: str = "", number: int = 1) -> None:
    """Put a message into new/ as any delivery agent does."""
    where = maildir(box, user, folder)
    owner = where.stat()
    name = f"{time.time_ns() // 10**9}.M{time.time_ns() // 1000 % 10**6:06}P{os.getpid()}Q{number}.host"
    path = where / "tmp" / name
    path.write_bytes(MESSAGE % number)
    os.chown(path, owner.st_uid, owner.st_gid)
    path.rename(where / "new" / name)


def until(client: imaplib.IMAP4, wanted: bytes) -> list[bytes]:
    """Lines that come, up to one that holds wanted."""
    lines = [client.readline()]
    while wanted not in lines[-1]:
        assert lines[-1], lines
        lines.append(client.readline())
    return [line.rstrip() for line in lines]


def say(client: imaplib.IMAP4, command: bytes) -> list[bytes]:
    """The lines of the answer, the tagged one last."""
    client.send(b"x " + command + b"\r\n")
    return until(client, b"x ")


def listener(box: Sandbox, user: str, command: bytes, *, select: bool = False) -> imaplib.IMAP4:
    client = box.imap(user)
    client.sock.settimeout(20)
    if select:
        client.select()
    assert b"x OK" in say(client, command)[-1]
    return client


def test_all_mailboxes_on_one_connection(box: Sandbox) -> None:
    client = listener(box, "alice", b"NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))")
    deliver(box, "alice")
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "INBOX" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ')
    deliver(box, "alice", ".Archive")
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Archive" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY ')
    other = box.imap("alice")
    other.select("Archive")
    other.store("1", "+FLAGS", "\\Seen")
    assert until(client, b"STATUS")[-1].endswith(b" UNSEEN 0)")
    other.store("1", "+FLAGS", "\\Deleted")
    other.expunge()
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Archive" (MESSAGES 0 UIDNEXT 2 ')
    other.create("Work")
    assert until(client, b"LIST") == [b'* LIST (\\HasNoChildren) "." "Work"']
    other.create("Work.Sub")
    assert sorted(until(client, b"Sub") + until(client, b'"Work"')) == [b'* LIST (\\HasChildren) "." "Work"', b'* LIST (\\HasNoChildren) "." "Work.Sub"']
    deliver(box, "alice", ".Work.Sub")                  # watched from the moment it was there
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Work.Sub" (MESSAGES 1 ')
    other.rename("Work", "Play")
    assert until(client, b"LIST") == [b'* LIST (\\HasChildren) "." "Play" ("OLDNAME" ("Work"))']
    deliver(box, "alice", ".Play.Sub")
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Play.Sub" (MESSAGES 2 ')
    other.subscribe("Play")
    assert until(client, b"LIST")[-1] == b'* LIST (\\Subscribed \\HasChildren) "." "Play"'
    other.unsubscribe("Play")
    assert until(client, b"LIST")[-1] == b'* LIST (\\HasChildren) "." "Play"'
    other.delete("Play.Sub")
    lines = until(client, b'"Play"')
    assert b'* LIST (\\NonExistent \\HasNoChildren) "." "Play.Sub"' in lines and lines[-1] == b'* LIST (\\HasNoChildren) "." "Play"'
    shutil.move(maildir(box, "alice", ".Play"), maildir(box, "alice", ".Elsewhere"))             # another program
    assert until(client, b"LIST") == [b'* LIST (\\HasNoChildren) "." "Elsewhere" ("OLDNAME" ("Play"))']
    assert say(client, b"NOOP") == [b"x OK Done"]
    assert say(client, b"CREATE Own")[0].startswith(b"x OK")             # who does it needs no notice
    assert say(client, b"NOTIFY NONE") == [b"x OK Done"]
    deliver(box, "alice")
    assert say(client, b"NOOP") == [b"x OK Done"]


def test_the_selected_mailbox_between_commands(box: Sandbox) -> None:
    client = listener(box, "bob", b"NOTIFY SET (selected (MessageNew (FLAGS BODY[HEADER.FIELDS (Subject)]) MessageExpunge FlagChange))", select=True)
    deliver(box, "bob", number=7)
    lines = until(client, b"FETCH") + [client.readline().rstrip() for _ in range(3)]
    assert lines[0] == b"* 1 EXISTS"
    assert lines[-4:] == [b"* 1 FETCH (UID 1 FLAGS (\\Recent) BODY[HEADER.FIELDS (Subject)] {14}", b"Subject: 7", b"", b")"]
    other = box.imap("bob")
    other.select()
    assert other.fetch("1", "(FLAGS)")[1] == [b"1 (FLAGS ())"]          # it is not \\Seen by that
    other.store("1", "+FLAGS", "\\Flagged \\Deleted")
    assert until(client, b"FETCH") == [b"* 1 FETCH (UID 1 FLAGS (\\Recent \\Flagged \\Deleted))"]
    deliver(box, "bob", ".Archive")                     # nobody asked
    other.expunge()
    assert until(client, b"EXPUNGE")[0] == b"* 1 EXPUNGE"
    assert say(client, b"NOOP")[-1] == b"x OK Done"


def test_selected_delayed_keeps_the_numbers(box: Sandbox) -> None:
    client = listener(box, "carol", b"NOTIFY SET (selected-delayed (MessageNew MessageExpunge))", select=True)
    deliver(box, "carol", number=1)
    deliver(box, "carol", number=2)
    until(client, b"2 EXISTS")
    other = box.imap("carol")
    other.select()
    other.store("1", "+FLAGS", "\\Deleted")             # flags are not wanted
    other.expunge()
    deliver(box, "carol", number=3)
    lines = until(client, b"EXISTS")
    assert b"* 3 EXISTS" in lines and not any(b"EXPUNGE" in line or b"FETCH" in line for line in lines)
    assert say(client, b"FETCH 3 UID")[-2:] == [b"* 3 FETCH (UID 3)", b"x OK Done"]
    client.send(b"i IDLE\r\n")                          # there it is told
    assert b"* 1 EXPUNGE" in until(client, b"EXPUNGE")
    client.send(b"DONE\r\n")
    assert until(client, b"i OK")[-1].startswith(b"i OK")


def test_idle_tells_what_notify_asked_for_and_nothing_else(box: Sandbox) -> None:
    client = listener(box, "dave", b"NOTIFY SET (mailboxes Archive (MessageNew MessageExpunge))", select=True)
    client.send(b"i IDLE\r\n")
    until(client, b"+ ")
    deliver(box, "dave")
    deliver(box, "dave", ".Archive")
    assert [line.split(b" (")[0] for line in until(client, b"STATUS")] == [b'* STATUS "Archive"']
    client.send(b"DONE\r\n")
    assert until(client, b"i OK") == [b"i OK Done idling"]


def test_more_mailboxes_than_may_be_watched(module_sandbox_factory) -> None:
    box = module_sandbox_factory(user=["alice:secret"], set=["imap.notify_mailboxes=6"])
    client = listener(box, "alice", b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    other = box.imap("alice")
    other.create("Seventh")
    assert until(client, b"OVERFLOW")[-1].startswith(b"* OK [NOTIFICATIONOVERFLOW] There are more than 6 mailboxes now")
    deliver(box, "alice")
    assert say(client, b"NOOP") == [b"x OK Done"]
    refused = say(client, b"NOTIFY SET (personal (MessageNew MessageExpunge))")
    assert refused[-1].startswith(b"x NO [NOTIFICATIONOVERFLOW] ") and b"imap.notify_mailboxes" in refused[-1]
    assert say(client, b"NOTIFY SET (personal (MailboxName)) (mailboxes (INBOX Sent) (MessageNew MessageExpunge))") == [b"x OK Done"]
    deliver(box, "alice", ".Sent")
    assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Sent" (MESSAGES 1 ')


def test_annotations(box: Sandbox) -> None:
    client = listener(box, "erin", b"NOTIFY SET (subtree Archive (MailboxMetadataChange)) (mailboxes INBOX (MailboxMetadataChange ServerMetadataChange))")
    other = box.imap("erin")
    assert other.xatom("SETMETADATA", "INBOX", '(/private/comment "x" /private/b "y")')[0] == "OK"
    assert until(client, b"METADATA") == [b'* METADATA "INBOX" "/private/b" "/private/comment"']
    assert other.xatom("SETMETADATA", "INBOX", "(/private/comment NIL)")[0] == "OK"
    assert until(client, b"METADATA") == [b'* METADATA "INBOX" "/private/comment"']
    assert other.xatom("SETMETADATA", "Sent", '(/private/comment "x")')[0] == "OK"                # nobody asked
    assert say(client, b'SETMETADATA Archive (/private/comment "mine")')[0].startswith(b"x OK")    # who does it needs no notice
    assert other.xatom("SETMETADATA", "Archive", '(/private/vendor/x "x")')[0] == "OK"
    assert until(client, b"METADATA") == [b'* METADATA "Archive" "/private/vendor/x"']
    assert other.xatom("SETMETADATA", '""', '(/private/comment "x")')[0] == "OK"
    assert until(client, b"METADATA") == [b'* METADATA "" "/private/comment"']
    assert say(client, b"NOOP") == [b"x OK Done"]


def watches(box: Sandbox) -> list[int]:
    """How many watches each inotify instance of the IMAP server has."""
    out = []
    for pid in box.ends["pids"]["pymta-imapd"]:
        for fd in Path(f"/proc/{pid}/fdinfo").iterdir():
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd.name}") == "anon_inode:inotify":
                    out.append(fd.read_text().count("inotify wd"))
            except FileNotFoundError:
                pass
    return [count for count in out if count]


def test_sessions_share_one_instance_and_its_watches(module_sandbox_factory) -> None:
    box = module_sandbox_factory(user=["alice:secret"], set=["imap.workers=1"])
    ask = b"NOTIFY SET STATUS (personal (MessageNew MessageExpunge FlagChange MailboxName))"
    first = listener(box, "alice", ask)
    [count] = watches(box)
    assert count == 2 * 6 + 1                           # new and cur of each mailbox, and the tree
    others = [listener(box, "alice", ask) for _ in range(5)]
    assert watches(box) == [count]
    deliver(box, "alice", ".Sent")
    for client in [first, *others]:
        assert until(client, b"STATUS")[-1].startswith(b'* STATUS "Sent" (MESSAGES 1 ')
    for client in others:
        client.logout()
    assert say(first, b"NOTIFY NONE") == [b"x OK Done"]
    assert watches(box) == [count - 1]                  # folders are watched on for a minute or two, in case somebody asks again
    assert say(first, ask)[-1] == b"x OK Done"
    assert watches(box) == [count]
