"""session and view: several sessions on one mailbox, each with its own numbers."""
from __future__ import annotations

import base64
import os
import random
import re
import tracemalloc
from pathlib import Path

import pytest

from pymta import mailbox
from pymta.message import transfer
from pymta.proto.imap.wants import Job
from tests.imapengine import Conversation
from tests.mailboxes import Store

MAIL = b"Subject: x\n\ny\n"


def box(count: int = 0) -> Store:
    store = Store()
    for _ in range(count):
        store.folders["INBOX"].deliver(MAIL)
    return store


def sessions(store: Store, count: int, name: str = "INBOX") -> list[Conversation]:
    out = [Conversation(store, logged_in=True) for _ in range(count)]
    for one in out:
        assert one.say(f"s SELECT {name}")[-1].startswith("s OK")
    return out


def test_uid_fetch_finds_what_others_moved_in_meanwhile() -> None:
    store = box(2)
    one, other = sessions(store, 2)
    store.folders["Archive"].append(MAIL)
    other.say("a SELECT Archive")
    other.say("b MOVE 1 INBOX")
    assert one.say("c UID FETCH 3:* UID") == ["* 3 EXISTS", "* 3 RECENT", "* 3 FETCH (UID 3)", "c OK Done"]
    other.say("d SELECT INBOX")
    other.say("e STORE 1 +FLAGS (\\Deleted)")
    other.say("f EXPUNGE")
    heard = one.say("g UID FETCH 1:* UID")              # the numbers stand until it is done
    assert heard[:3] == ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"] and "* 1 EXPUNGE" in heard[3:]


def test_what_one_does_the_others_hear_where_they_may() -> None:
    one, other = sessions(box(3), 2)
    one.say("a STORE 2 +FLAGS (\\Deleted)")
    one.say("b EXPUNGE")
    assert other.say("a FETCH 1:3 UID")[:3] == ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)"]
    assert other.say("b STORE 3 +FLAGS.SILENT (\\Seen)") == ["b OK Done"]
    assert other.say("c SEARCH ALL")[0] == "* SEARCH 1 2 3"
    assert other.say("d UID SEARCH ALL") == ["* SEARCH 1 2 3", "* 2 EXPUNGE", "d OK Done"]
    assert other.say("e FETCH 2 UID") == ["* 2 FETCH (UID 3)", "e OK Done"]
    assert one.say("f NOOP") == ["* 2 FETCH (UID 3 FLAGS (\\Recent \\Seen))", "f OK Done"]


def test_an_idle_session_hears_everything_at_once() -> None:
    store = box(2)
    one, other = sessions(store, 2)
    assert other.say("i IDLE") == ["+ idling"]
    one.say("a STORE 1 +FLAGS ($New)")
    heard = other.heard()
    assert heard[0] == "* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $New)" and heard[2] == "* 1 FETCH (UID 1 FLAGS ($New))"
    one.say("b STORE 1 +FLAGS.SILENT (\\Deleted)")
    one.say("c EXPUNGE")
    assert other.heard()[-1] == "* 1 EXPUNGE"
    store.folders["INBOX"].append(MAIL)
    assert other.heard()[0] == "* 2 EXISTS"
    assert other.say("DONE") == ["i OK Done idling"]


def test_a_message_that_came_and_went_is_never_told() -> None:
    store = box(1)
    one, other = sessions(store, 2)
    one.say("a APPEND INBOX {3+}\nx: ")
    one.say("b STORE 2 +FLAGS.SILENT (\\Deleted)")
    one.say("c EXPUNGE")
    assert other.say("d NOOP") == ["d OK Done"]


def test_only_one_session_has_it_recent() -> None:
    store = box(1)
    one, other = sessions(store, 2)
    assert one.say("a SEARCH RECENT")[0] == "* SEARCH 1" and other.say("a SEARCH RECENT")[0] == "* SEARCH"


def test_a_fetch_that_finds_messages_gone_says_so_and_is_ok() -> None:
    store = box(2)
    one, other = sessions(store, 2)
    folder = store.folders["INBOX"]
    folder.expunge([1])
    folder.limbo.clear()
    assert one.say("a FETCH 1:2 (UID BODY.PEEK[TEXT])") == ["* 2 FETCH (UID 2 BODY[TEXT] {3}", "y", ")",
                                                          "a OK [EXPUNGEISSUED] Some of these messages are no longer there"]
    assert one.say("b STORE 1 FLAGS (\\Seen)")[0].startswith("b OK [EXPUNGEISSUED]")
    assert one.say("c COPY 1 Sent")[-1].startswith("c OK [EXPUNGEISSUED]")


def test_a_renamed_mailbox_keeps_the_numbers() -> None:
    store = box()
    store.folders["Sent"].deliver(MAIL)
    (one,) = sessions(store, 1, "Sent")
    assert one.say("a RENAME Sent Old")[-1] == "a OK Renamed"
    store.folders["Old"].append(MAIL)
    assert one.say("b NOOP")[0] == "* 2 EXISTS"
    assert [line[:19] for line in one.say("c UID FETCH 1:* UID")[:2]] == ["* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)"]


def test_a_mailbox_that_somebody_deletes_ends_the_session() -> None:
    store = box()
    one, other = sessions(store, 2, "Sent")
    assert one.say("a DELETE Sent") == ["a OK Deleted"]
    assert other.say("b NOOP") == ["b OK Done", "* BYE The mailbox that was selected is gone"] and other.over


def test_trouble_of_the_store_is_a_no_and_a_bug_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    store = box(1)
    (one,) = sessions(store, 1)

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(store.folders["INBOX"], "append", full)
    monkeypatch.setattr(store.folders["INBOX"], "set_flags", full)
    assert one.say("a APPEND INBOX {3+}\nx: ")[0].startswith("a NO [OVERQUOTA]")
    assert one.say("b STORE 1 +FLAGS (\\Seen)")[0].startswith("b NO [OVERQUOTA]")
    assert one.say("c FETCH 1 BODY[TEXT]")[-1] == "c OK Done"             # reading goes on where nothing can be marked
    monkeypatch.setattr(store, "list", lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        one.say("d LIST \"\" *")


def test_a_long_answer_comes_in_pieces() -> None:
    store = Store()
    for _ in range(40):
        store.folders["INBOX"].deliver(b"Subject: x\n\n" + b"y" * 20_000 + b"\n")
    (one,) = sessions(store, 1)
    assert one.session is not None
    one.session.feed(b"a FETCH 1:* BODY.PEEK[]\r\n")
    largest = total = 0
    while (want := one.session.work()) is not None:
        assert not isinstance(want, Job)
        said = one.session.take()
        largest, total = max(largest, len(said)), total + len(said)
    assert total > 800_000 and largest < 100_000


def test_errors_in_a_row_end_the_session_but_work_forgives() -> None:
    (one,) = sessions(box(), 1)
    for _ in range(3):
        for _ in range(40):
            one.say("x NONSENSE")
        one.say("y NOOP")
    assert not one.over
    for _ in range(50):
        one.say("x NONSENSE")
    assert one.over


def test_others_get_a_turn_between_commands_said_at_one_go() -> None:
    (one,) = sessions(box(), 1)
    assert one.session is not None
    one.session.feed(b"a CAPABILITY\r\n" * 1000)
    turns = 0
    while one.session.work() is not None:
        turns += 1
        assert one.session.take().count(b"a OK") <= 101
    assert turns >= 9


def test_who_does_not_log_in_may_not_talk_for_ever() -> None:
    talk = Conversation(box())
    talk.feed(b"a NOOP\r\n" * 300)
    assert talk.over and talk.take().count(b"a OK") == 200


class Mirror:
    """What a client knows: it believes only what it was told."""

    def __init__(self, talk: Conversation) -> None:
        self.talk = talk
        self.uids: list[int | None] = []
        self.flags: dict[int, str] = {}
        self.hear(talk.say("s SELECT INBOX"))

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            if found := re.fullmatch(r"\* (\d+) EXISTS", line):
                assert int(found[1]) >= len(self.uids)
                self.uids += [None] * (int(found[1]) - len(self.uids))
            elif found := re.fullmatch(r"\* (\d+) EXPUNGE", line):
                del self.uids[int(found[1]) - 1]
            elif found := re.fullmatch(r"\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \((.*)\)\)", line):
                position = int(found[1]) - 1
                assert position < len(self.uids)
                if found[2]:
                    assert self.uids[position] in (None, int(found[2]))
                    self.uids[position] = int(found[2])
                if self.uids[position] is not None:
                    self.flags[self.uids[position]] = found[3].replace("\\Recent", "").strip()     # type: ignore[index]

    def say(self, text: str) -> None:
        self.hear(self.talk.heard())
        self.hear(self.talk.say(text))


@pytest.mark.parametrize("seed", range(8))
def test_at_every_sync_point_all_clients_know_the_same(seed: int) -> None:
    """n clients, random commands: what each was told, put together, is the mailbox."""
    dice = random.Random(seed)
    store = box(5)
    folder = store.folders["INBOX"]
    clients = [Mirror(Conversation(store, logged_in=True)) for _ in range(4)]
    for step in range(150):
        client = dice.choice(clients)
        count = len(client.uids)
        some = f"{dice.randint(1, count)}:{dice.randint(1, count)}" if count else "*"
        idles = client.talk.session is not None and client.talk.session.is_idle
        if idles:
            client.say("DONE")
        match dice.randrange(11):
            case 0:
                client.say("a APPEND INBOX (\\Seen) {3+}\nx: ")
            case 1:
                folder.deliver(MAIL, "$New")
            case 2:
                client.say(f"a STORE {some} +FLAGS (\\Deleted)")
            case 3:
                client.say(f"a STORE {some} FLAGS.SILENT ($Set)")
                client.say(f"a FETCH {some} (UID FLAGS)")
            case 4:
                client.say("a EXPUNGE")
            case 5:
                client.say(f"a UID STORE {some} -FLAGS (\\Deleted)")
            case 6:
                client.say(f"a COPY {some} INBOX")
            case 7:
                client.say(f"a MOVE {dice.randint(1, count) if count else '*'} Trash")
            case 8:
                client.say("a IDLE")
            case 9:
                client.say("a UID FETCH 1:* (FLAGS)")
            case 10:
                client.say(f"a FETCH {some} (UID FLAGS)")
        if step % 15 == 0:
            for one in clients:
                if one.talk.session is not None and one.talk.session.is_idle:
                    one.say("DONE")
                one.say("n NOOP")
                known = dict(one.flags)
                one.say("n UID FETCH 1:* (FLAGS)")
                assert one.uids == [message.uid for message in folder.messages]
                for message in folder.messages:
                    truth = one.flags[message.uid]
                    assert set(truth.split()) == set(message.flags)
                    assert known.get(message.uid, truth) == truth, "a change of flags was not told"


class Maildirs:
    """A store on disk that this test may change behind its back."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0

    def deliver(self, data: bytes) -> None:
        self.count += 1
        name = f"{1_700_000_000 + self.count}.M{self.count}P1.host"
        with open(f"{self.path}/tmp/{name}", "wb") as file:
            file.write(data)
        os.rename(f"{self.path}/tmp/{name}", f"{self.path}/new/{name}")

    def rename(self, dice: random.Random) -> None:
        """Another program changes the flags of some message, or removes it."""
        names = sorted(os.listdir(f"{self.path}/cur"))
        if names:
            name = dice.choice(names)
            if dice.random() < 0.2:
                os.unlink(f"{self.path}/cur/{name}")
            else:
                os.rename(f"{self.path}/cur/{name}", f"{self.path}/cur/{name.partition(':2,')[0]}:2,{dice.choice(['', 'S', 'FS', 'T'])}")


@pytest.mark.parametrize("seed", range(4))
def test_the_same_on_a_maildir_that_others_change(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    path = str(tmp_path / "Maildir")
    mailbox.make(path, ("Trash",))
    behind = Maildirs(path)
    clients = [Mirror(Conversation(mailbox.MailStore(path), logged_in=True)) for _ in range(3)]       # type: ignore[arg-type]
    for step in range(120):
        client = dice.choice(clients)
        count = len(client.uids)
        some = f"{dice.randint(1, count)}:{dice.randint(1, count)}" if count else "*"
        match dice.randrange(9):
            case 0:
                client.say("a APPEND INBOX (\\Seen $Work) {3+}\nx: ")
            case 1 | 2:
                behind.deliver(MAIL)
            case 3:
                behind.rename(dice)
            case 4:
                client.say(f"a STORE {some} +FLAGS (\\Deleted)")
            case 5:
                client.say("a EXPUNGE")
            case 6:
                client.say(f"a COPY {some} INBOX")
            case 7:
                client.say(f"a MOVE {dice.randint(1, count) if count else '*'} Trash")
            case 8:
                client.say(f"a FETCH {some} (UID FLAGS)")
        if step % 10 == 9:
            for _ in range(3):                          # what has gone from the listing is gone when a second look agrees
                for one in clients:
                    one.say("n NOOP")
            files = sorted(os.listdir(f"{path}/cur") + os.listdir(f"{path}/new"))
            views = []
            for one in clients:
                one.say("n UID FETCH 1:* (FLAGS)")
                views.append([(uid, one.flags[uid]) for uid in one.uids if uid is not None])
            assert views[0] == views[1] == views[2] and len(views[0]) == len(files)
            letters = {"\\Seen": "S", "\\Flagged": "F", "\\Deleted": "T"}
            told = sorted("".join(sorted(letters[flag] for flag in flags.split() if flag in letters)) for _, flags in views[0])
            assert told == sorted("".join(char for char in name.partition(":2,")[2] if char in "SFT") for name in files)
    for one in clients:
        assert one.talk.session is not None
        one.talk.session.close()


# ---- CATENATE -----------------------------------------------------------------------------------------------------------------
def test_a_message_that_would_be_too_big_is_not_put_together() -> None:
    """RFC 4469 §4: thousands of pieces of one message cost that message once, and the limit of APPEND."""
    store = Store()
    folder = store.folders["Sent"]
    folder.append(b"x" * 30_000)
    reads = []
    read = folder.read
    folder.read = lambda *args: (reads.append(args), read(*args))[1]                     # type: ignore[method-assign]
    talk = Conversation(store, logged_in=True)
    assert talk.say("a APPEND Sent CATENATE (" + " ".join(["URL /Sent/;UID=1"] * 4) + ")")[-1].startswith("a NO [TOOBIG]")
    assert talk.say("a APPEND Sent CATENATE (" + " ".join(["URL /Sent/;UID=1/;PARTIAL=5.1"] * 1000) + ")")[-1].startswith("a OK")
    several = "a APPEND Sent" + " CATENATE (URL /Sent/;UID=1)" * 4
    assert talk.say(several)[-1].startswith("a NO [TOOBIG]")             # RFC 3502: all of them are held until the last is there
    assert talk.say("a APPEND Sent" + " CATENATE (URL /Sent/;UID=1/;PARTIAL=5.1)" * 1001)[-1].startswith("a BAD")
    assert len(reads) == 6 and len(folder.messages) == 2 and folder.messages[1].data == b"x" * 1000


# ---- BINARY -------------------------------------------------------------------------------------------------------------------
def test_a_big_part_in_ranges_is_read_and_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * 8000
    store = Store()
    folder = store.folders["INBOX"]
    folder.append(b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(data))
    counts = {"read": 0, "pieces": 0}
    read, pieces = folder.read, transfer.pieces

    def counted(name: str, act):
        def count(*args):
            counts[name] += 1
            return act(*args)
        return count
    folder.read = counted("read", read)                                                  # type: ignore[method-assign]
    monkeypatch.setattr(transfer, "pieces", counted("pieces", pieces))
    talk = Conversation(store, logged_in=True)
    talk.say("a SELECT INBOX")
    got = b""
    for begin in range(0, len(data), 250_000):
        talk.feed(b"a FETCH 1 BINARY.PEEK[1]<%d.250000>\r\n" % begin)
        said = talk.take()
        head = re.match(rb"\* 1 FETCH \(BINARY\[1\]<\d+> ~\{(\d+)\}\r\n", said)
        assert head
        got += said[head.end():head.end() + int(head[1])]
    assert got == data and talk.say("a FETCH 1 BINARY.SIZE[1]")[0] == f"* 1 FETCH (BINARY.SIZE[1] {len(data)})"
    assert counts == {"read": 1, "pieces": 1}


def test_a_long_answer_is_held_once_while_the_client_takes_it() -> None:
    store = box()
    store.folders["INBOX"].deliver(b"Subject: x\n\n" + b"0123456789012345678901234567890123456789\n" * 100_000)
    (one,) = sessions(store, 1)
    engine = one.session
    assert engine is not None
    tracemalloc.start()
    try:
        engine.feed(b"f FETCH 1 BODY.PEEK[]\r\n")
        while isinstance(want := engine.work(), Job):
            engine.done(want.run())
        assert want is not None                         # it is not over: the client is to take what was said first
        size = len(engine.take())
        assert size > 4_000_000
        assert tracemalloc.get_traced_memory()[0] < 1.5 * size          # the message, read in whole, and no copy of the answer
    finally:
        tracemalloc.stop()
