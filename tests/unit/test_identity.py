"""EMAILID, MAILBOXID and the save date of the store: what keeps them, what changes them, what they survive."""
from __future__ import annotations

import os
import pathlib

import pytest

from pymta import clock, mailbox
from pymta.formats import maildir
from pymta.mailbox import opened

DATA = b"Subject: x\n\nhello\n"


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    mailbox.make(str(tmp_path / "Maildir"), ("Trash", "Archive"))
    return tmp_path / "Maildir"


def forget() -> None:
    """As another process would see it."""
    opened.folders.clear()
    opened.statuses.clear()


def ids(root: pathlib.Path, name: str) -> list[bytes]:
    store = mailbox.MailStore(str(root))
    folder = store.open(name)
    try:
        return [message.emailid for message in folder.messages]
    finally:
        store.close(folder)
        forget()


def test_an_emailid_is_kept_by_copies_and_moves_and_needs_no_index(root: pathlib.Path) -> None:
    store = mailbox.MailStore(str(root))
    inbox, trash, archive = store.open("INBOX"), store.open("Trash"), store.open("Archive")
    inbox.append_all([(DATA, ["\\Seen"], None), (DATA, [], None)])
    first, second = (message.emailid for message in inbox.messages)
    assert first != second and maildir.emailid_of(inbox.messages[0].base) == first
    inbox.copy([1, 2], trash)
    trash.move([1], archive)
    archive.copy([1], inbox)
    inbox.set_flags([1], "add", ["\\Flagged", "work"])
    assert [message.emailid for message in inbox.messages] == [first, second, first]
    assert [message.emailid for message in trash.messages] == [second] and archive.messages[0].emailid == first
    assert len({message.base for folder in (inbox, trash, archive) for message in folder.messages}) == 5
    for folder in (inbox, trash, archive):
        store.close(folder)
    forget()
    for path in [*root.rglob("pymta-*"), *root.rglob("dovecot-uidlist")]:
        if path.is_file():
            path.unlink()
    assert sorted(ids(root, "INBOX")) == sorted([first, second, first]) and ids(root, "Archive") == [first]


def test_the_save_date_is_when_it_came_here(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = mailbox.MailStore(str(root))
    inbox, trash = store.open("INBOX"), store.open("Trash")
    now = 1_800_000_000
    monkeypatch.setattr(clock, "now", lambda: now + 0.5)
    inbox.append(DATA, [], 1e9)
    now += 1000
    inbox.copy([1], trash)
    now += 1000
    trash.move([1], inbox)
    inbox.set_flags([1, 2], "add", ["\\Seen"])           # moves the file's ctime
    assert [(message.savedate, message.internaldate) for message in inbox.messages] == [(1_800_000_000, 1e9), (1_800_002_000, 1e9)]
    for folder in (inbox, trash):
        store.close(folder)


@pytest.mark.parametrize(("name", "seconds"), [(b"1700000000.M1P1.host,S=18:2,S", 1_700_000_000), (b"odd-name", 5), (b"17.x", 5),
                                               (b"99999999999.host", 5), (b"1700000000", 5)])
def test_the_save_date_of_foreign_names(root: pathlib.Path, name: bytes, seconds: int) -> None:
    path = os.fsencode(root) + b"/cur/" + name
    with open(path, "wb") as file:
        file.write(DATA)
    os.utime(path, (5, 5))
    store = mailbox.MailStore(str(root))
    inbox = store.open("INBOX")
    assert inbox.messages[0].savedate == seconds
    store.close(inbox)


def test_a_mailbox_keeps_its_id_and_gets_one(root: pathlib.Path) -> None:
    store = mailbox.MailStore(str(root))
    before = store.status("Trash").guid
    assert len(before) == 32
    store.rename("Trash", "Bin")
    store.create("Trash")
    assert store.status("Bin").guid == before != store.status("Trash").guid
    forget()
    (root / ".Bin" / "dovecot-uidlist").write_bytes(b"3 V77 N9\n")      # as Dovecot of old may have left it
    guid = store.status("Bin").guid
    forget()
    assert len(guid) == 32 and store.status("Bin").guid == guid and store.status("Bin").uidvalidity == 77


@pytest.mark.parametrize("base", [b"x,E=Mabc", b"1.2.3,S=1,W=2,E=Mabc", b"x,E=Mabc,S=3"])
def test_the_key_in_a_name(base: bytes) -> None:
    assert maildir.emailid_of(base) == b"Mabc"


@pytest.mark.parametrize("base", [b"x", b"x,E=", b"x,E=a/b", b"x,E=" + b"y" * 65, b"\xff,E=\xff", b""])
def test_any_name_has_an_id(base: bytes) -> None:
    assert len(maildir.emailid_of(base)) == 17 and maildir.emailid_of(base) != maildir.emailid_of(base + b"1")
