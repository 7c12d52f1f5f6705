"""CONDSTORE and QRESYNC on a Maildir: a client that was away learns all that it missed, and nothing wrong."""
from __future__ import annotations

import os
import random
import re

import pytest

from pymta import mailbox
from pymta.mailbox import opened
from tests.imapengine import Conversation


@pytest.fixture
def store(tmp_path):
    yield mailbox.MailStore(str(tmp_path / "Maildir"))
    opened.forget_all()


class Client:
    """What a client with a cache knows: flags by UID, and how far it is."""

    def __init__(self, store) -> None:
        self.store = store
        self.flags: dict[int, frozenset[str]] = {}
        self.uidvalidity = self.modseq = 0

    def resync(self) -> None:
        talk = Conversation(self.store, logged_in=True)            # type: ignore[arg-type]
        talk.say("a ENABLE QRESYNC")
        lines = talk.say(f"b SELECT INBOX (QRESYNC ({self.uidvalidity or 1} {self.modseq or 1}))")
        assert lines[-1].startswith("b OK"), lines
        exists = int(next(line.split()[1] for line in lines if line.endswith("EXISTS")))
        validity = int(re.search(r"UIDVALIDITY (\d+)", "".join(lines))[1])                # type: ignore[index]
        if validity != self.uidvalidity:
            self.flags.clear()
            self.uidvalidity = validity
            lines += talk.say("c UID FETCH 1:* (FLAGS MODSEQ)")
        for line in lines:
            if line.startswith("* VANISHED (EARLIER)"):
                for part in line.split()[-1].split(","):
                    first, _, last = part.partition(":")
                    for uid in [uid for uid in self.flags if int(first) <= uid <= int(last or first)]:
                        del self.flags[uid]
            elif found := re.match(r"\* \d+ FETCH \((?:UID (\d+) FLAGS \((.*?)\)|FLAGS \((.*?)\) UID (\d+)) MODSEQ \(\d+\)\)", line) \
                    or re.match(r"\* \d+ FETCH \((?:UID (\d+) FLAGS \((.*?)\) MODSEQ \(\d+\)())\)", line):
                groups = [group for group in found.groups() if group is not None]
                uid, flags = (groups[0], groups[1]) if groups[0].isdigit() else (groups[1], groups[0])
                self.flags[int(uid)] = frozenset(flags.split()) - {"\\Recent"}
        self.modseq = int(re.search(r"HIGHESTMODSEQ (\d+)", "".join(lines))[1])           # type: ignore[index]
        assert len(self.flags) == exists
        assert talk.session is not None
        talk.session.close()


def truth(store) -> dict[int, frozenset[str]]:
    folder = store.open("INBOX")
    try:
        return {message.uid: message.flags for message in folder.messages}
    finally:
        store.close(folder)


@pytest.mark.parametrize("seed", range(4))
def test_clients_that_come_back_know_what_there_is(store, seed):
    dice = random.Random(seed)
    clients = [Client(store) for _ in range(3)]
    for step in range(40):
        folder = store.open("INBOX")
        uids = [message.uid for message in folder.messages]
        some = [uid for uid in uids if dice.random() < 0.3]
        match dice.randrange(6):
            case 0 | 1:
                folder.append_all([(b"Subject: x\n\nx\n", ("\\Seen",) * dice.randrange(2), None) for _ in range(3)])
            case 2 if len(uids) > 4:
                folder.expunge(some[:3])
            case 3 if uids:                                         # another program, by hand
                path = os.fsdecode(folder.path(uids[0]))
                name = os.path.basename(path).partition(":")[0] + ":2," + dice.choice(["", "S", "FS", "T"])
                os.rename(path, os.path.join(os.fsdecode(folder.directory), "cur", name))
            case _:
                folder.set_flags(some, dice.choice(["add", "remove"]), [dice.choice(["\\Seen", "\\Flagged", "$Work"])])
        store.close(folder)
        if dice.random() < 0.1:
            opened.forget_all()                           # another process from here on
        if dice.random() < 0.07:
            for name in os.listdir(store.maildir):
                if name.startswith("pymta-") and os.path.isfile(os.path.join(store.maildir, name)):
                    os.unlink(os.path.join(store.maildir, name))
        client = dice.choice(clients)
        before = client.modseq
        client.resync()
        assert client.flags == truth(store)
        assert client.modseq >= before


def test_known_uids_limit_what_is_told(store):
    folder = store.open("INBOX")
    folder.append_all([(b"Subject: x\n\nx\n", (), None)] * 9)
    since, validity = folder.highestmodseq, folder.uidvalidity
    folder.expunge([2, 3, 7])
    folder.set_flags([1, 9], "add", ["\\Seen"])
    store.close(folder)
    talk = Conversation(store, logged_in=True)
    assert talk.say("a ENABLE QRESYNC")[0] == "* ENABLED QRESYNC"
    lines = talk.say(f"b SELECT INBOX (QRESYNC ({validity} {since} 1:3,5 (1 1)))")
    assert "* VANISHED (EARLIER) 2:3" in lines
    assert [line.split()[4] for line in lines if "FETCH" in line] == ["1"]
    lines = talk.say(f"c SELECT INBOX (QRESYNC ({validity + 1} {since}))")
    assert not [line for line in lines if "VANISHED" in line or "FETCH" in line]
    lines = talk.say(f"d UID FETCH 3:* (FLAGS) (CHANGEDSINCE {since} VANISHED)")
    assert lines[0] == "* VANISHED (EARLIER) 3,7" and "UID 9" in lines[1] and len(lines) == 3
    talk.session.close()


def test_unchangedsince_lets_the_first_win(store):
    folder = store.open("INBOX")
    folder.append_all([(b"Subject: x\n\nx\n", (), None)] * 3)
    since = folder.highestmodseq
    one, other = (Conversation(store, logged_in=True) for _ in range(2))
    for talk in (one, other):
        talk.say("a SELECT INBOX (CONDSTORE)")
    assert one.say(f"b UID STORE 2 (UNCHANGEDSINCE {since}) +FLAGS ($Mine)")[-1] == "b OK Done"
    assert other.say(f"b UID STORE 1:3 (UNCHANGEDSINCE {since}) +FLAGS ($Yours)")[-1].startswith("b OK [MODIFIED 2]")
    assert [sorted(message.flags) for message in folder.messages] == [["$Yours"], ["$Mine"], ["$Yours"]]
    store.close(folder)
    for talk in (one, other):
        talk.session.close()


def test_a_mailbox_that_goes_while_it_is_selected_was_not_selected(tmp_path) -> None:
    """No message of it, and no vanished one, could be told any more: an OK would say that all is told."""
    class Racing(mailbox.MailStore):
        def open(self, name, right="r"):
            folder = super().open(name, right)
            if name == "Gone":
                mailbox.MailStore.delete(self, name)
            return folder
    store = Racing(str(tmp_path / "Maildir"))
    store.create("Work")
    mailbox.MailStore._make_folder(store, "Gone")
    us = Conversation(store, logged_in=True)
    assert us.say("a SELECT Gone")[-1].startswith("a NO [NONEXISTENT]")
    assert us.say("b FETCH 1 FLAGS")[-1].startswith("b BAD") and us.say("c SELECT Work")[-1].startswith("c OK")
    us.session.close()
    opened.forget_all()
