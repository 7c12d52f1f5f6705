"""Whatever a power cut leaves of a Maildir: HIGHESTMODSEQ never falls, and whoever was told of it learns what he may have missed."""
from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from pymta import mailbox
from pymta.mailbox import changelog
from pymta.mailbox import folder as folder_module
from pymta.mailbox import opened
from pymta.mailbox.folder import Folder
from tests.crash.model import Call, Disk, Recording, read_tree, write_tree

Told = tuple[int, int, dict[int, frozenset[str]]]       # UIDVALIDITY, HIGHESTMODSEQ, flags by UID


def text(number: int) -> bytes:
    return b"Subject: %d\n\nx\n" % number


def told(folder: Folder) -> Told:
    return folder.uidvalidity, folder.highestmodseq, {message.uid: message.flags for message in folder.messages}


def changes(folder: Folder) -> Iterator[None]:
    folder.append_all([(text(number), (), None) for number in range(3)])
    yield
    folder.set_flags([1, 2], "add", ["\\Seen"])
    yield
    folder.expunge([2])
    yield
    folder.append(text(4), ["\\Flagged"])
    yield


def leases(folder: Folder) -> Iterator[None]:
    """Each change needs a new stride."""
    folder.append(text(1))
    yield
    for flag in ("\\Seen", "\\Flagged", "\\Draft"):
        folder.set_flags([1], "add", [flag])
        yield


def damaged(folder: Folder) -> Iterator[None]:
    """The log is begun anew while others rely on it."""
    folder.append_all([(text(number), (), None) for number in range(2)])
    yield
    os.unlink(folder.changelog.path)
    folder.set_flags([1], "add", ["\\Seen"])
    yield


class By:
    who = b"imaps,192.0.2.7"


def compacted(folder: Folder) -> Iterator[None]:
    """The log is put shorter while others rely on it, twice."""
    folder.append_all([(text(number), (), None) for number in range(3)], By())
    yield
    for turn in range(2):
        folder.set_flags([1, 2], "add" if turn else "remove", ["\\Seen"], By())
        folder.expunge([2], By())
        yield
        folder.changelog.compact()
        yield


SCENARIOS = [changes, leases, damaged, compacted]


@pytest.fixture
def root():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield str(pathlib.Path(path) / "Maildir")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The recording says what is synced; the disk of this machine need not do it."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


def after(root: str, before: Told, boots: list[bytes]) -> str | None:
    """Which law does not hold for a client that knows before, in a process that starts after the cut."""
    boots[0] += b"x"
    folder = folder_module.Folder(os.fsencode(root), "INBOX", watched=False)
    folder.open()
    try:
        uidvalidity, modseq, flags = before
        if folder.uidvalidity != uidvalidity:
            return None
        if folder.highestmodseq < modseq:
            return f"HIGHESTMODSEQ fell from {modseq} to {folder.highestmodseq}"
        known = dict(flags)
        for first, last in folder.vanished_since(modseq):
            for uid in range(first, last + 1):
                known.pop(uid, None)
        known.update((message.uid, message.flags) for message in folder.changed_since(modseq))
        if known != {message.uid: message.flags for message in folder.messages}:
            return f"the client believes {known}"
        highest = folder.highestmodseq
        folder.append(text(9))
        return None if folder.highestmodseq > highest else "a message came without a number"
    finally:
        folder.users = 0
        folder.forget()


def record(scenario, root: str) -> tuple[tuple, list, set[tuple[str, int]]]:
    """(the tree before, calls, places that asked durable for anything)."""
    mailbox.make(root, ())
    store = mailbox.MailStore(root)
    folder = store.open("INBOX")
    before = read_tree(root)
    with Recording(root) as recording:
        recording.note(told(folder))
        for _ in scenario(folder):
            recording.note(told(folder))
    store.close(folder)
    opened.forget_all()
    calls = [call for call in recording.calls if not (isinstance(call, Call) and ".lock" in str(call.args))]
    return before, calls, recording.reached


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_cut(scenario, root, monkeypatch):
    boots = [b"boot"]
    monkeypatch.setattr(changelog, "boot_id", lambda: boots[0])
    if scenario is leases:
        monkeypatch.setattr(changelog, "STRIDE", 2)
        monkeypatch.setattr(changelog, "_SPARE", 1)
    before, calls, _ = record(scenario, root)
    disk, known, seen, laws = Disk(*before), None, set(), []
    for call in calls:
        if not isinstance(call, Call):
            known = call
        else:
            disk.play(call)
        for tree in disk.trees():
            key = hash((frozenset(tree.items()), known and known[1]))
            if known is None or key in seen:
                continue
            seen.add(key)
            write_tree(tree, root)
            if law := after(root, known, boots):
                laws.append(f"after {call if isinstance(call, Call) else 'a promise'}: {law}")
    assert not laws, laws[:5]
    assert len(seen) > 20
