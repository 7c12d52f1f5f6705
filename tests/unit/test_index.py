"""The index: what is told from it is what the messages say; it may be damaged, removed or another's at any moment."""
from __future__ import annotations

import os
import random

import pytest

from pymta import mailbox
from pymta.formats.index import ROWS_NAME, TEXT_NAME, Entry, decode, encode
from pymta.index import columns, describing, files
from pymta.index.describe import describe
from pymta.mailbox.folder import Folder
from pymta.message import mime, structure
from tests.oddmail import ODD, ODDER

real = Folder.read


def text(number: int) -> bytes:
    return b"From: a@b.test\nSubject: message %d\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\npart %d\n--x--\n" % (number, number)


@pytest.fixture
def store(tmp_path):
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    folder = store.open("INBOX")
    folder.append_all([(text(number), (), 1e9 + number) for number in range(30)])
    yield store
    store.close(folder)


@pytest.fixture
def folder(store):
    folder = store.open("INBOX")
    yield folder
    store.close(folder)


def ask(folder: Folder, messages=None) -> list[Entry | None]:
    messages = folder.messages if messages is None else messages
    asked = describing.Describing(folder, messages)
    try:
        return [entry for at in range(0, len(messages), 7) for entry in asked.some(messages[at:at + 7])]
    finally:
        asked.close()


def right(folder: Folder, entries: list[Entry | None]) -> bool:
    return [(entry.uid, entry.internaldate, entry.vsize) for entry in entries if entry] \
        == [(message.uid, message.internaldate, message.vsize) for message in folder.messages] \
        and all(entry and b'"message %d"' % (entry.uid - 1) in entry.envelope and b'"mixed"' in entry.bodystructure for entry in entries)


def another(folder: Folder) -> Folder:
    """The same folder as another process has it."""
    other = Folder(folder.root, "INBOX", watched=False)
    other.open()
    return other


def test_an_entry_is_what_it_was():
    entry = Entry(7, b"(env)", b"(body)", 12, 5.5, 3, -4, b"parts", b"keys")
    packed = encode(entry, b"base")
    assert len(packed.row(99)) == 64
    assert decode(packed.row(99), 0, packed.text, b"base") == entry
    assert decode(packed.row(99), 0, packed.text, b"bas") is None
    assert decode(packed.row(99), 0, packed.text[:-1] + b"x", b"base") is None


@pytest.mark.parametrize("data", [*ODD, *ODDER.values()])
def test_lines_are_those_that_counting_finds(data):
    for one in (data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r\n", 2)):
        wire = mime.wire(one)
        assert describe(7, one, 0.0).bodystructure == structure.body(mime.scan(wire), extended=True)


def test_second_time_no_message_is_read(folder, monkeypatch):
    assert right(folder, ask(folder))
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    assert right(folder, ask(folder))
    other = another(folder)
    assert right(other, ask(other))
    other.close()
    other.forget()


def test_texts_are_those_of_the_entries(folder):
    asked = describing.Describing(folder, folder.messages)
    for _ in range(3):
        for which in ("envelope", "bodystructure", "keys"):
            assert asked.texts(folder.messages, which) == [getattr(entry, which) for entry in ask(folder)]
            assert asked.texts(folder.messages[20:3:-3], which) == [getattr(entry, which) for entry in ask(folder)[20:3:-3]]
            assert asked.texts(folder.messages[5:9], which) == [getattr(entry, which) for entry in ask(folder)[5:9]]
        for some in (folder.messages, folder.messages[::-2], folder.messages[3:8], []):
            assert asked.sent(some) == [entry.sent for entry in describing.Describing(folder, some).some(some)]
        folder.append(text(len(folder.messages)))
    assert folder.index.texts(folder.messages, columns.ENVELOPE) is None
    os.unlink(os.path.join(folder.directory, TEXT_NAME))
    asked.close()
    assert right(folder, ask(folder))


def test_children_read_what_one_process_reads(folder, monkeypatch):
    alone = ask(folder)
    folder.index.drop()
    monkeypatch.setattr(describing, "CHILDREN_FROM", 3)
    monkeypatch.setattr(describing.Describing, "_look", lambda *_: pytest.fail("the children have left something out"))
    assert ask(folder) == alone


def test_what_children_read_stands_in_order(folder, monkeypatch):
    monkeypatch.setattr(describing, "CHILDREN_FROM", 5)
    monkeypatch.setattr("pymta.index.children.BATCH", 2)
    asked = describing.Describing(folder, folder.messages)
    asked.some(folder.messages[:11])
    asked.close()                                       # what was read ahead is not lost
    with open(os.path.join(folder.directory, ROWS_NAME), "rb") as file:
        rows = file.read()[64:]
    uids = [int.from_bytes(rows[at + 12:at + 16], "little") for at in range(0, len(rows), 64)]
    assert uids == sorted(uids) and uids[:11] == list(range(1, 12))
    assert right(folder, ask(folder))


def test_where_headers_are_enough_no_more_is_read(store, folder, monkeypatch):
    big = b"X: %s\n" % (b"y" * 9000) + text(30)
    folder.append(big)                                  # its header does not end in what is read of it
    alone = ask(folder)
    texts = {which: describing.Describing(folder, folder.messages).texts(folder.messages, which) for which in ("envelope", "bodystructure", "keys", "preview")}
    folder.index.drop()
    monkeypatch.setattr(describing, "CHILDREN_FROM", 3)
    asked = describing.Describing(folder, folder.messages, whole=False)
    headers = asked.some(folder.messages)
    asked.close()
    assert [entry.is_whole for entry in headers] == [False] * 30 + [True]
    assert [entry._replace(bodystructure=b"", parts=b"", preview=b"") for entry in alone[:30]] == headers[:30] and headers[30] == alone[30]
    again = describing.Describing(folder, folder.messages, whole=False)
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    for which in ("envelope", "keys"):
        assert again.texts(folder.messages, which) == texts[which] == describing.Describing(folder, folder.messages[:2]).texts(folder.messages, which)
    assert again.sent(folder.messages) == [entry.sent for entry in alone]
    assert folder.known(folder.messages[0]) is None and folder.known(folder.messages[30]) == alone[30]
    store.create("T")
    target = store.open("T")
    folder.copy([1, 31], target)
    assert target.known(target.messages[0]) is None and target.known(target.messages[1]).bodystructure == alone[30].bodystructure
    store.close(target)
    for which in ("bodystructure", "preview"):          # now all of it is wanted, by children and then from what they wrote
        for _ in range(2):
            whole = describing.Describing(folder, folder.messages)
            assert whole.texts(folder.messages, which) == texts[which]
            whole.close()
    assert ask(folder) == alone


def test_without_children_all_is_there_too(folder, monkeypatch):
    monkeypatch.setattr(describing, "CHILDREN_FROM", 3)
    monkeypatch.setattr("pymta.index.children.sys.executable", "/nonexistent/python")
    assert right(folder, ask(folder))
    folder.index.drop()
    monkeypatch.setattr("pymta.index.children.sys.executable", "/bin/false")
    assert right(folder, ask(folder))


def test_any_damage_is_noticed(folder):
    ask(folder)
    paths = [os.path.join(folder.directory, name) for name in (ROWS_NAME, TEXT_NAME)]
    whole = [open(path, "rb").read() for path in paths]
    dice = random.Random(3)
    for _ in range(60):
        folder.index.close()
        damaged = [bytearray(data) for data in whole]
        for data in damaged:
            if dice.random() < 0.3:
                del data[dice.randrange(len(data)):]
            elif dice.random() < 0.5:
                at = dice.randrange(len(data))
                data[at:at + 100] = bytes(len(data[at:at + 100]))
            elif dice.random() < 0.5:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        for path, data in zip(paths, damaged):
            with open(path, "wb") as file:
                file.write(data)
        assert right(folder, ask(folder))
        assert right(folder, ask(folder))


def test_removed_at_any_moment(folder):
    ask(folder)
    other = another(folder)
    for _ in range(2):
        for name in (ROWS_NAME, TEXT_NAME):
            if os.path.exists(os.path.join(folder.directory, name)):
                os.unlink(os.path.join(folder.directory, name))
            assert right(other, ask(other))
            assert right(folder, ask(folder))
    other.close()
    other.forget()


def test_two_processes_add_to_one_index(folder, monkeypatch):
    ask(folder, folder.messages[:10])
    other = another(folder)
    ask(other, other.messages[5:20])
    ask(folder, folder.messages[15:])
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    assert right(folder, ask(folder)) and right(other, ask(other))
    other.close()
    other.forget()


def test_another_message_under_the_same_uid(folder):
    """The uidlist was lost and UIDs begin again, or an index was copied from elsewhere."""
    ask(folder)
    for message in folder.messages:
        message.base = message.base + b"x"
    assert folder.index.read(folder.messages) == [None] * 30


def test_a_message_that_has_gone(folder):
    uid = folder.messages[3].uid
    messages = list(folder.messages)
    os.unlink(folder.path(uid))
    found = ask(folder, messages)
    assert found[3] is None and None not in found[:3] + found[4:]


def test_copies_are_known(store, folder, monkeypatch):
    store.create("T")
    target = store.open("T")
    known = {entry.uid: entry for entry in ask(folder)}
    pairs = [*folder.copy([2, 4, 6], target), *folder.move([1, 7], target)]
    within = folder.copy([9, 8], folder)
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    assert ask(target) == [known[old]._replace(uid=new) for old, new in pairs]
    assert ask(folder)[-2:] == [known[old]._replace(uid=new) for old, new in within]
    store.close(target)


def test_what_is_damaged_is_not_known_of_a_copy(store, folder, monkeypatch):
    ask(folder)
    store.create("T")
    target = store.open("T")
    with open(os.path.join(folder.directory, TEXT_NAME), "r+b") as file:
        data = file.read()
        file.seek(data.index(b'"message 3"'))
        file.write(b'"massage 3"')
    folder.copy([3, 4, 5], target)
    asked = []
    monkeypatch.setattr(Folder, "read", lambda self, uid, *_: asked.append(uid) or real(self, uid))
    assert [b'"message %d"' % number in entry.envelope for number, entry in zip((2, 3, 4), ask(target))] == [True] * 3
    assert asked == [2]
    store.close(target)


def test_an_index_of_the_dead_is_begun_anew(store, folder, monkeypatch):
    ask(folder)
    monkeypatch.setattr(files, "_DEAD_ROWS", 5)
    folder.index.tidy(len(folder.messages))
    assert os.path.exists(os.path.join(folder.directory, ROWS_NAME))
    folder.expunge([message.uid for message in folder.messages[:20]])
    folder.index.tidy(len(folder.messages))
    assert not os.path.exists(os.path.join(folder.directory, ROWS_NAME))
    assert right(folder, ask(folder))


def test_a_disk_that_cannot_be_written(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "no space")
    monkeypatch.setattr("pymta.durable.create", refuse)
    monkeypatch.setattr("pymta.durable.append", refuse)
    assert right(folder, ask(folder))
