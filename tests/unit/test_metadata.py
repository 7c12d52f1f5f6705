"""metadata: annotations on disk, their limits, and roles."""
from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import mailbox
from pymta.formats import metadata
from pymta.mailbox import MailStore, NameRefused, NoSuchMailbox, NoSuchUse, TooBig, TooMany, annotating, opened
from pymta.upkeep import check
from tests.dovecot import Dovecot, directory, needs_dovecot


@pytest.fixture
def store(tmp_path):
    mailbox.make(str(tmp_path / "M"))
    return MailStore(str(tmp_path / "M"))


ROWS = [
    (b"1\n", {}),
    (b"1\n/private/comment\tx\n", {"/private/comment": b"x"}),
    (b"1\n/private/specialuse\t\\\\Drafts\n/shared/a/b.c\t\\n\\r\\t\\0\xff\n", {"/private/specialuse": b"\\Drafts", "/shared/a/b.c": b"\n\r\t\0\xff"}),
    (b"1\n/shared/x\t\n", {"/shared/x": b""}),
]


@pytest.mark.parametrize(("data", "entries"), ROWS)
def test_rows(data, entries):
    assert metadata.decode(data) == entries and metadata.encode(entries) == data


@pytest.mark.parametrize("data", [b"", b"2\n/private/x\ty\n", b"1", b"1\nnonsense\n/Private/X\ty\n/shared/\tx\n/private/\xff\tx\n/shared/a b"])
def test_what_cannot_be_read_is_left_out(data):
    assert metadata.decode(data) == {}


def test_a_damaged_line_leaves_the_others_and_is_named(store):
    data = b"1\n/private/a\tx\n\0\0\0\n/private/b\ty"
    assert metadata.read(data) == ({"/private/a": b"x", "/private/b": b"y"}, [3])
    for name in ("metadata-server", ".Sent/metadata"):
        assert not [str(one) for one in check.everything(os.fsencode(store.maildir)) if "metadata" in str(one)]
        with open(os.path.join(store.maildir, name), "wb") as file:
            file.write(data)
        finding, = [one for one in check.everything(os.fsencode(store.maildir)) if "metadata" in str(one)]
        assert "line 3 cannot be read" in str(finding)
        os.unlink(os.path.join(store.maildir, name))


@given(st.dictionaries(st.from_regex(r"/(private|shared)(/[a-z. -]{1,8}){1,4}", fullmatch=True), st.binary(max_size=50)))
def test_round_trip(entries):
    assert metadata.decode(metadata.encode(entries)) == entries


@given(st.binary(max_size=200))
def test_total(data):
    assert metadata.decode(metadata.encode(metadata.decode(b"1\n" + data))) == metadata.decode(b"1\n" + data)


def test_limits(store):
    store.annotate("INBOX", {f"/private/{number}": b"x" for number in range(annotating.ENTRIES_MAX)})
    with pytest.raises(TooMany):
        store.annotate("INBOX", {"/private/more": b"x"})
    store.annotate("INBOX", {"/private/0": None, "/private/more": b"x"})
    with pytest.raises(TooBig):
        store.annotate("Sent", {"/private/a": b"x", "/private/b": b"x" * (annotating.VALUE_MAX_OCTETS + 1)})
    assert "/private/a" not in store.annotations("Sent")
    for entry in ("/private", "/comment", "/private/a%", "/private/a/"):
        with pytest.raises(NameRefused):
            store.annotate("INBOX", {entry: b"x"})
    with pytest.raises(NameRefused):
        store.annotate("", {"/private/specialuse": b"\\Sent"})
    with pytest.raises(NoSuchMailbox):
        store.annotations("nowhere")


def test_another_process_is_heard_and_writers_take_turns(store):
    other = MailStore(store.maildir)
    threads = [threading.Thread(target=one.annotate, args=("INBOX", {f"/private/{n}": b"x"})) for n in range(10) for one in (store, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.annotations("INBOX")) == 10
    path = os.path.join(store.maildir, "metadata")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, "wb") as file:
        file.write(b"1\n/private/else\tby hand\n")
    assert store.annotations("INBOX") == {"/private/else": b"by hand"}
    os.unlink(path)
    assert store.annotations("INBOX") == {}


def test_roles(store):
    assert store.special_use("Sent") == "\\Sent"
    store.create("Gesendet", b"\\sent \\SENT")
    assert store.special_uses(store.list()) == {
        "Archive": "\\Archive", "Drafts": "\\Drafts", "Junk": "\\Junk", "Trash": "\\Trash", "Gesendet": "\\Sent"}
    store.rename("Gesendet", "Old.Gesendet")
    assert store.special_use("Old.Gesendet") == "\\Sent" and store.special_use("Sent") is None
    store.delete("Old.Gesendet")
    store.create("Gesendet")
    assert store.special_use("Gesendet") is None and store.special_use("Sent") == "\\Sent"
    store.annotate("Sent", {annotating.ROLE: b""})
    assert store.special_use("Sent") is None
    store.annotate("Sent", {annotating.ROLE: None})
    assert store.special_use("Sent") == "\\Sent"
    with pytest.raises(NoSuchUse):
        store.create("All", b"\\All")
    assert not store.exists("All")


def test_the_inbox_keeps_its_entries_when_its_messages_go(store):
    store.annotate("INBOX", {"/private/comment": b"mine"})
    store.rename("INBOX", "Old")
    assert store.annotations("INBOX") == {"/private/comment": b"mine"} and store.annotations("Old") == {}


@needs_dovecot
def test_a_role_and_notes_go_with_a_mailbox_that_dovecot_renames():
    with directory() as top:
        mailbox.make(top + "/Maildir")
        store = MailStore(top + "/Maildir")
        store.create("Entwurf", b"\\Drafts")
        store.annotate("Entwurf", {"/shared/comment": b"ours"})
        with Dovecot(store.maildir) as dovecot:
            dovecot.command("SELECT Entwurf")
            dovecot.command("RENAME Entwurf Neu")
        assert store.annotations("Neu") == {"/shared/comment": b"ours", annotating.ROLE: b"\\Drafts"}
        opened.forget_all()


def test_the_role_of_one_mailbox_is_not_a_look_at_all(store, monkeypatch):
    for number in range(30):
        store.create(f"n{number}")
    store.create("Gesendet", b"\\Sent")
    names, looks = store.list(), []
    monkeypatch.setattr(store, "list", lambda: looks.append(1) or names)
    assert {name: use for name in names if (use := store.annotations(name).get(annotating.ROLE))} == {
        "Archive": b"\\Archive", "Drafts": b"\\Drafts", "Junk": b"\\Junk", "Trash": b"\\Trash", "Gesendet": b"\\Sent"}
    assert len(looks) <= len(annotating.BY_NAME)
