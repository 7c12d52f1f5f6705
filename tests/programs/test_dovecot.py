"""A Maildir goes to Dovecot and back, and both say the same: UIDs, UIDVALIDITY, flags, keywords, names, subscriptions."""
import os
import random
import subprocess

import pytest

from pymta import mailbox
from pymta.formats import subscriptions, uidlist
from pymta.mailbox import folder as folder_module
from pymta.mailbox import opened, tidying
from tests.dovecot import Dovecot, directory, needs_dovecot

pytestmark = needs_dovecot


@pytest.fixture
def path():
    with directory() as top:
        mailbox.make(top + "/Maildir", ("Sent", "Entwürfe.x y"))
        yield top + "/Maildir"
    opened.forget_all()


def ours(path, name="INBOX"):
    """The mailbox as a process of ours that starts now sees it."""
    folder = folder_module.Folder(os.fsencode(path), name)
    folder.open()
    try:
        found = {message.uid: (message.flags, folder.read(message.uid)) for message in folder.messages}
        return folder.uidvalidity, folder.uidnext, found
    finally:
        folder.close()
        folder.forget()


def text(number):
    return b"Subject: %d\n\nhello\n" % number


def test_what_we_make_dovecot_reads(path):
    store = mailbox.MailStore(path)
    inbox, target = store.open("INBOX"), store.open("Entwürfe.x y")
    inbox.append_all([(text(1), ["\\Seen", "$Junk", "work"], 1e9), (text(2), [], None), (text(3), ["\\Deleted"], None)])
    inbox.copy([1], target)
    inbox.move([2], target)
    inbox.expunge([3])
    with Dovecot(path) as dovecot:
        for name, wire in (("INBOX", "INBOX"), ("Entwürfe.x y", "Entw&APw-rfe.x y")):
            assert dovecot.view(wire) == ours(path, name)
        dovecot.command("SELECT INBOX")
        (line, _) = dovecot.command("FETCH 1 (INTERNALDATE RFC822.SIZE)")
        assert b"09-Sep-2001 01:46:40" in line and b"RFC822.SIZE %d" % (len(text(1)) + 3) in line
        listed = b"\n".join(dovecot.command('LIST "" *'))
        assert b'"Entw&APw-rfe.x y"' in listed and b"limbo" not in listed and listed.count(b"* LIST") == 4
        assert b"\n".join(dovecot.command('LSUB "" *')).count(b"Entw&APw-rfe.x y") == 1
    store.close(inbox), store.close(target)


def test_what_dovecot_makes_we_read(path):
    store = mailbox.MailStore(path)
    inbox = store.open("INBOX")
    told = []
    inbox.add_listener(told.append)
    with Dovecot(path) as dovecot:
        dovecot.command("CREATE A.B")
        dovecot.command("SUBSCRIBE A.B")
        for number in range(4):
            dovecot.command("APPEND INBOX (\\Seen $Label1 foo)", text(number).replace(b"\n", b"\r\n"))
            inbox.sync()
        dovecot.command("SELECT INBOX")
        dovecot.command("STORE 2 +FLAGS (bar \\Deleted)")
        dovecot.command("COPY 1,3 A.B")
        dovecot.command("EXPUNGE")
        inbox.sync()
        assert dovecot.view() == ours(path)
        assert dovecot.view("A.B") == ours(path, "A.B")
        assert {m.uid: (m.flags, inbox.read(m.uid)) for m in inbox.messages} == ours(path)[2]
    assert [uid for changes in told for uid in changes.expunged] == [2]
    assert [message.uid for changes in told for message in changes.arrived] == [1, 2, 3, 4]
    assert store.list() == ["INBOX", "A.B", "Entwürfe.x y", "Sent"]
    assert store.subscriptions() == ["Sent", "Entwürfe.x y", "A.B"]
    store.unsubscribe("A.B")
    with Dovecot(path) as dovecot:
        assert b"A.B" not in b"\n".join(dovecot.command('LSUB "" *'))
    store.close(inbox)


def test_files_that_both_write_are_byte_for_byte_alike(path):
    with Dovecot(path) as dovecot:
        dovecot.command("SUBSCRIBE Sent")
        dovecot.command("UNSUBSCRIBE Sent")
        dovecot.command("SUBSCRIBE Sent")
        dovecot.command("APPEND INBOX (\\Seen a b)", text(1).replace(b"\n", b"\r\n"))
        dovecot.command("SELECT INBOX")
        dovecot.command("FETCH 1 FLAGS")
    for name, module in (("subscriptions", subscriptions), ("dovecot-uidlist", uidlist)):
        with open(os.path.join(path, name), "rb") as file:
            data = file.read()
        again = module.encode(module.decode(data))
        # N lags in Dovecot's file and never in ours
        assert (again.split(b"\n")[1:] if module is uidlist else again) == (data.split(b"\n")[1:] if module is uidlist else data)


def test_our_keys_survive_dovecot(path):
    store = mailbox.MailStore(path)
    inbox = store.open("INBOX")
    inbox.append_all([(text(n), ["\\Seen"], None) for n in range(4)])
    with inbox.lock:
        inbox.uidlist.refresh()
        inbox.uidlist.list.more.append(b"M1000")
        inbox.uidlist.list.keys[2] = b"Kred\\blue"
        tidying.rewrite_uidlist(inbox)
    with Dovecot(path) as dovecot:
        dovecot.command("SELECT INBOX")
        dovecot.command("STORE 1,3 +FLAGS (\\Deleted)")
        dovecot.command("EXPUNGE")
        dovecot.command("APPEND INBOX", text(9).replace(b"\n", b"\r\n"))
        dovecot.command("NOOP")
    for name in os.listdir(path):
        if name.startswith("dovecot.index"):
            os.unlink(os.path.join(path, name))
    with Dovecot(path) as dovecot:
        dovecot.view()
    inbox.sync()
    assert inbox.uidlist.list.more[-1:] == [b"M1000"] and inbox.get(2).flags == {"\\Seen", "red", "blue"}
    store.close(inbox)


@pytest.mark.parametrize("seed", [1, 2])
def test_ping_pong(path, seed):
    """Random work on one Maildir, in turn: no (mailbox, UIDVALIDITY, UID) ever means another mail, and at the end of each turn
    both sides, and a Dovecot without its index, say the same."""
    draw = random.Random(seed)
    wires = {"INBOX": "INBOX", "Sent": "Sent"}
    meant: dict[tuple[str, int, int], bytes] = {}
    number = 0
    store = mailbox.MailStore(path)
    folders = {name: store.open(name) for name in wires}
    for turn in range(12):
        if turn % 2:
            with Dovecot(path) as dovecot:
                for _ in range(4):
                    name, other = draw.sample(sorted(wires), 2)
                    dovecot.command(f"SELECT {name}")
                    match draw.randrange(5):
                        case 0 | 1:
                            number += 1
                            dovecot.command(f"APPEND {name} ({draw.choice(['', 'kw', '$Junk x'])})", text(number).replace(b"\n", b"\r\n"))
                        case 2:
                            dovecot.command("STORE 1:2 +FLAGS (\\Flagged new%d)" % (turn % 3), ok=False)
                        case 3:
                            dovecot.command(f"MOVE 1 {other}", ok=False)
                        case 4:
                            dovecot.command("STORE 1 +FLAGS (\\Deleted)", ok=False)
                            dovecot.command("EXPUNGE")
        else:
            for _ in range(4):
                name, other = draw.sample(sorted(wires), 2)
                folder, target = folders[name], folders[other]
                folder.sync()
                uids = [message.uid for message in folder.messages]
                match draw.randrange(6):
                    case 0 | 1:
                        number += 1
                        folder.append(text(number), draw.choice(([], ["kw"], ["\\Seen", "y"])))
                    case 2:
                        folder.set_flags(uids[:2], draw.choice(("add", "remove")), ["\\Flagged", "new1"])
                    case 3:
                        folder.move(uids[:1], target)
                    case 4:
                        folder.expunge(uids[-1:])
                    case 5:
                        folder.claim_recent()
        if turn % 3 == 2:
            for where in (path, path + "/.Sent"):
                for name in os.listdir(where):
                    if name.startswith("dovecot.index"):
                        os.unlink(os.path.join(where, name))
        for name, wire in wires.items():
            with Dovecot(path) as dovecot:
                theirs = dovecot.view(wire)
            assert theirs == ours(path, name)
            folders[name].sync()
            assert {m.uid: (m.flags, folders[name].read(m.uid)) for m in folders[name].messages} == theirs[2]
            for uid, (_, data) in theirs[2].items():
                assert meant.setdefault((name, theirs[0], uid), data) == data
    for folder in folders.values():
        store.close(folder)


def test_both_at_once(path):
    """Dovecot flags and appends while we do: no message is lost, doubled or renumbered."""
    store = mailbox.MailStore(path)
    inbox = store.open("INBOX")
    inbox.append_all([(text(number), ["\\Seen"], None) for number in range(200)])
    before = {message.uid: inbox.read(message.uid) for message in inbox.messages}
    told = []
    inbox.add_listener(told.append)
    with Dovecot(path) as dovecot:
        dovecot.command("SELECT INBOX")
        for turn in range(15):
            dovecot.process.stdin.write(b"a%d STORE 1:200 %sFLAGS (\\Flagged)\r\n" % (turn, b"-+"[turn % 2:][:1]))
            dovecot.process.stdin.flush()
            inbox.set_flags(range(1, 201), "add" if turn % 2 else "remove", ["\\Answered"])
            inbox.append(text(1000 + turn))
        while not dovecot._line().startswith(b"a14 "):
            pass
        theirs = dovecot.view()[2]
    inbox.sync()
    assert not [uid for changes in told for uid in changes.expunged]
    assert {uid: data for uid, (_, data) in theirs.items() if uid <= 200} == before
    assert sorted(theirs) == list(range(1, 216)) == [message.uid for message in inbox.messages]
    store.close(inbox)


def test_a_lock_left_by_a_dead_dovecot(path):
    """What is in Dovecot's lock file tells us that its owner is dead."""
    process = subprocess.Popen(["true"])
    process.wait()
    with open(path + "/dovecot-uidlist.lock", "w") as file:
        file.write(f"{process.pid}:{os.uname().nodename}")
    assert ours(path)[1] == 1
