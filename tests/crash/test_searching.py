"""Whatever a power cut leaves of what is kept for SEARCH: the next search finds what the messages say, and keeps it for the one after."""
from __future__ import annotations

import os
import pathlib
import tempfile

import pytest

from pymta import mailbox
from pymta.index import searching, textwork
from pymta.mailbox import opened
from pymta.mailbox.folder import Folder
from tests import searched
from tests.crash.model import Call, Disk, Recording, read_tree, write_tree

KEYS = (("TEXT", "word"), ("HEADER", b"subject", "3"), ("BODY", "word 1"))


def text(number: int) -> bytes:
    return b"Subject: %d\n\nword %d\n" % (number, number)


def find(folder: Folder, key: tuple) -> list[int]:
    looking = folder.searching(folder.messages, key)
    try:
        while looking.step():
            pass
        return sorted(looking.found)
    finally:
        looking.close()


@pytest.fixture
def root():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield str(pathlib.Path(path) / "Maildir")


def test_every_cut(root, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    monkeypatch.setattr(searching, "KEEP_FROM", 2)
    monkeypatch.setattr(textwork, "BLOCK_OCTETS", 30)
    mailbox.make(root, ())
    store = mailbox.MailStore(root)
    folder = store.open("INBOX")
    folder.append_all([(text(number), (), None) for number in range(4)])
    before = read_tree(root)
    with Recording(root) as recording:
        find(folder, KEYS[1])
        find(folder, KEYS[0])
        folder.append_all([(text(number), (), None) for number in range(4, 7)])
        find(folder, KEYS[2])
    store.close(folder)
    opened.forget_all()
    disk, seen, wrong = Disk(*before), set(), []
    for call in recording.calls:
        if not isinstance(call, Call) or ".lock" in str(call.args):
            continue
        disk.play(call)
        for tree in disk.trees():
            key = hash(frozenset(tree.items()))
            if key in seen:
                continue
            seen.add(key)
            write_tree(tree, root)
            folder = Folder(os.fsencode(root), "INBOX", watched=False)
            folder.open()
            expected = [sorted(searched.by_reading([(message.uid, folder.read(message.uid)) for message in folder.messages], one)) for one in KEYS]
            for _ in range(2):
                if [find(folder, one) for one in KEYS] != expected:
                    wrong.append((call, tree))
            folder.close()
            folder.forget()
    assert not wrong, wrong[:3]
    assert len(seen) > 20
