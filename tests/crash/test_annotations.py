"""Whatever a power cut leaves: annotations and roles are as they were before a step or after it, and what was acknowledged is there."""
from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pytest

from pymta import mailbox
from pymta.mailbox import MailStore, opened
from tests.crash.model import SYNCS, Call, Disk, Recording, read_tree, write_tree

State = dict[str, dict[str, bytes]]                     # mailbox, "" for the server -> its entries


def state(root: str) -> State:
    store = MailStore(root)
    return {name: store.annotations(name) for name in ["", *store.list()]}


def steps(store: MailStore) -> Iterator[None]:
    store.annotate("INBOX", {"/private/comment": b"one\nline\\ and another\t\0"})
    yield
    store.annotate("", {"/shared/vendor/x": b"server" * 50})
    yield
    store.annotate("INBOX", {"/private/comment": None, "/shared/comment": b"two"})
    yield
    store.create("Entwurf", b"\\Drafts")
    yield
    store.annotate("Entwurf", {"/shared/comment": b"three"})
    yield
    store.rename("Entwurf", "Brouillons")
    yield
    store.delete("Brouillons")
    yield


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield pathlib.Path(path)


@pytest.mark.parametrize("without", [None, "annotating", "making"])
def test_every_cut(tmp_path, monkeypatch, without):
    """without: a place whose syncs are taken away, to see that the test would notice."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    root = os.path.realpath(tmp_path) + "/Maildir"
    mailbox.make(root)
    before, store = read_tree(root), MailStore(root)
    with Recording(root) as recording:
        recording.note(state(root))
        for _ in steps(store):
            recording.note(state(root))
    opened.forget_all()
    calls = [call for call in recording.calls if not (isinstance(call, Call) and ".lock" in str(call.args))]
    disk, told, seen, broken = Disk(*before), {}, set(), []
    for number, call in enumerate(calls):
        if not isinstance(call, Call):
            told = call
        elif without and call.kind in SYNCS and without in call.site:
            continue
        else:
            disk.play(call)
        coming = next((later for later in calls[number + 1:] if not isinstance(later, Call)), told)
        for tree in disk.trees():
            key = hash((frozenset(tree.items()), repr(told)))
            whole = all(path == root or os.path.dirname(path) in tree for path in tree)     # a file whose directory has gone has gone too
            if key not in seen and whole:
                seen.add(key)
                write_tree(tree, root)
                found = state(root)
                opened.forget_all()
                if found not in (told, coming):
                    broken.append((call, found, told, coming))
            if broken and without:
                return
    assert len(seen) > 20
    assert without is None, "nothing breaks without these syncs"
    assert not broken, broken[0]
