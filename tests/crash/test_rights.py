"""Rights that were given or taken, cut anywhere: each dovecot-acl is the old one or the new one, and who shares is found.

As in test_store; what is told after each step are the files of the mailboxes, "" where one has none.
"""
from __future__ import annotations

import os
import pathlib
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from pymta import durable, mailbox
from pymta.accounts import Mailbox
from pymta.formats import acl, shares
from pymta.mailbox import opened, rights
from pymta.mailbox.sharing import Sharing
from pymta.mailbox.spaces import Spaces
from tests.crash.model import SYNCS, Call, Disk, write_tree
from tests.crash.test_store import quick, record  # noqa: F401

ANN, BEN = "ann@example.test", "ben@example.test"
Told = dict[str, bytes]


def sharing(root: str) -> Sharing:
    boxes = {ANN: Mailbox(ANN, os.geteuid(), os.getegid(), os.path.dirname(root), root), BEN: Mailbox(BEN, os.geteuid(), os.getegid(), "/nowhere", "/nowhere")}
    accounts = SimpleNamespace(users=boxes.values, login=boxes.get, virtual_owner=lambda: (os.geteuid(), os.getegid()))
    return Sharing({"local.virtual_home": root, "imap.share_users": True, "imap.shared": ""}, accounts)      # type: ignore[arg-type]


def files(root: str) -> Told:
    out = {}
    for name in mailbox.MailStore(root).list():
        path = os.path.join(mailbox.MailStore(root).directory(name), acl.NAME)
        out[name] = pathlib.Path(os.fsdecode(path)).read_bytes() if os.path.exists(path) else b""
    return out


class Sharer:
    """Ann's mailboxes, which she shares."""

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root) + "/Maildir"
        mailbox.make(self.root, ("T",))
        self.sharing = sharing(self.root)
        self.store = Spaces(self.root, 0, ANN, self.sharing)

    def told(self) -> Told:
        return files(self.root)

    def close(self) -> None:
        opened.forget_all()


def made(sharing: Sharing) -> None:
    """The list of who shares has been made."""
    if thread := sharing._making:
        thread.join()


def given_and_taken(box: Sharer) -> Iterator[None]:
    assert not box.sharing.owners(BEN)
    made(box.sharing)
    yield
    box.store.set_acl("T", BEN, "", "lrs")
    yield
    box.store.set_acl("T", BEN, "+", "w")
    yield
    box.store.set_acl("T", "-" + BEN, "", "s")
    yield
    box.store.create("T.New")
    yield
    durable.unlink(f"{box.root}/{shares.NAME}")
    assert box.sharing.owners(BEN) == [ANN]
    made(box.sharing)
    yield
    box.store.set_acl("INBOX", "anyone", "", "l")
    yield
    box.store.set_acl("T", BEN, "", None)
    yield


def broken(root: str, told: Told, coming: Told) -> str | None:
    """Which law does not hold."""
    found = files(root)
    for name, data in found.items():
        allowed = {told.get(name, b""), coming.get(name, b"")}
        if data not in allowed:
            return f"{name}: {data!r}, it was {told.get(name)!r} and was going to be {coming.get(name)!r}"
    shares_something = any("l" in rights.of(acl.decode(data), BEN) for data in found.values())
    fresh = sharing(root)
    fresh.owners(BEN)
    made(fresh)
    owners = fresh.owners(BEN)
    return f"{found}, and ben does not see that: {owners}" if shares_something and owners != [ANN] else None


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as path:
        yield pathlib.Path(path)


def test_every_cut(tmp_path) -> None:
    box, before, calls = record(given_and_taken, tmp_path, Sharer)
    disk, told, laws, seen = Disk(*before), {}, [], set()
    for number, call in enumerate(calls):
        if not isinstance(call, Call):
            told = call
        else:
            disk.play(call)
        coming = next((later for later in calls[number + 1:] if not isinstance(later, Call)), told)
        for tree in disk.trees():
            key = hash((frozenset(tree.items()), str(told)))
            if key not in seen:
                seen.add(key)
                write_tree(tree, box.root)
                if law := broken(box.root, told, coming):
                    laws.append(f"after {call if isinstance(call, Call) else 'a promise'}: {law}")
    assert not laws, laws[:5]
    assert len(seen) > 20 and any(isinstance(call, Call) and call.kind in SYNCS for call in calls)
