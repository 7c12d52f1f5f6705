"""pymta-shares: made anew without anybody waiting for it, and nothing that is given meanwhile is lost."""
from __future__ import annotations

import os
import threading

import pytest

from pymta import settings
from pymta.formats import shares
from pymta.mailbox import sharing as module
from pymta.mailbox.sharing import Sharing

BEN, USERS = "ben@example.test", 40


class Here:
    def __init__(self, directory) -> None:
        self.home, etc = directory / "home", directory / "etc"
        etc.mkdir()
        (etc / "pymta.conf").write_text(f"host.name = mail.example.test\nlocal.domains = example.test\nlocal.virtual_home = {self.home}\n"
                                        f"local.virtual_uid = {os.geteuid() or 65534}\nimap.share_users = yes\n")
        (etc / "users").write_text("".join(f"u{number}@example.test\n" for number in range(USERS)))
        for number in range(USERS):
            work = self.home / "example.test" / f"u{number}" / "Maildir" / ".Work"
            (work / "cur").mkdir(parents=True)
            (work / "dovecot-acl").write_text(f"user={BEN} lr\n-anyone r\n" if number % 2 else "# nobody\n")
        self.settings = settings.read(str(etc))
        self.file = self.home / shares.NAME

    def sharing(self) -> Sharing:
        return Sharing(self.settings)


SHARING = sorted(f"u{number}@example.test" for number in range(1, USERS, 2))


@pytest.fixture
def here(tmp_path, monkeypatch):
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    return Here(tmp_path)


def test_it_is_made_from_what_stands_in_the_mailboxes(here: Here) -> None:
    assert here.sharing().owners(BEN) == SHARING
    assert shares.decode(here.file.read_bytes()) == (True, {f"user={BEN}": [f"u{number}@example.test" for number in range(1, USERS, 2)]})
    for broken in (b"", b"1", b"2\nx y\n", b"making\nu0@example.test anyone\n"):
        here.file.write_bytes(broken)
        assert set(SHARING) <= set(here.sharing().owners(BEN)) and here.file.read_bytes().startswith(b"1\n")


def test_nobody_waits_for_it_for_long_and_what_is_given_meanwhile_stays(here: Here, monkeypatch) -> None:
    monkeypatch.setattr(module, "_WAIT_S", 0.05)
    sharing, going_on, half = here.sharing(), threading.Event(), threading.Event()
    users = sharing._accounts.users

    def slowly():
        for number, box in enumerate(users()):
            if number == USERS // 2:
                half.set()
                going_on.wait(60)
            yield box
    monkeypatch.setattr(sharing._accounts, "users", slowly)
    sharing.owners(BEN)
    assert half.wait(60)
    found = sharing.owners(BEN)
    assert 0 < len(found) < len(SHARING)
    sharing.note("u0@example.test", f"user={BEN}")      # who has been looked at already
    assert "u0@example.test" in sharing.owners(BEN)
    assert b"making\n" in here.file.read_bytes()
    other = here.sharing()                              # another process adds something, and makes it as well
    other.note("u2@example.test", f"user={BEN}")
    assert set(SHARING) < set(other.owners(BEN)) or other._making is not None
    going_on.set()
    for one in (sharing, other):
        thread = one._making
        if thread:
            thread.join(60)
    wanted = sorted([*SHARING, "u0@example.test", "u2@example.test"])
    assert sharing.owners(BEN) == other.owners(BEN) == here.sharing().owners(BEN) == wanted


def test_where_it_cannot_be_written_it_is_known_all_the_same(here: Here, monkeypatch) -> None:
    from pymta import durable

    def refuse(kind: str, *arguments: object) -> None:
        raise OSError(30, "Read-only file system", arguments[0])
    monkeypatch.setattr(durable, "tap", refuse)
    sharing = here.sharing()
    looked: list[int] = []
    monkeypatch.setattr(sharing, "_look_at_all", lambda real=sharing._look_at_all: looked.append(1) or real())
    assert sharing.owners(BEN) == sharing.owners(BEN) == SHARING
    sharing.note("u0@example.test", "anyone")
    assert "u0@example.test" in sharing.owners(BEN) and looked == [1]


def test_one_process_looks_and_the_others_wait(here: Here, monkeypatch) -> None:
    ours, others, going_on, begun = here.sharing(), [here.sharing() for _ in range(3)], threading.Event(), threading.Event()
    looked: list[Sharing] = []

    def look(sharing: Sharing, real) -> None:
        looked.append(sharing)
        begun.set()
        going_on.wait(60)
        real()
    monkeypatch.setattr(module, "_WAIT_S", 0.01)
    for one in (ours, *others):
        monkeypatch.setattr(one, "_look_at_all", lambda one=one, real=one._look_at_all: look(one, real))
    ours.owners(BEN)
    assert begun.wait(60)
    for one in others:
        one.owners(BEN)
    going_on.set()
    for one in (ours, *others):
        if thread := one._making:
            thread.join(60)
    assert [one.owners(BEN) for one in (ours, *others)] == [SHARING] * 4 and looked == [ours]


def test_where_not_all_could_be_looked_at_the_list_is_not_whole(here: Here, monkeypatch) -> None:
    sharing = here.sharing()

    def users():
        raise OSError(5, "Input/output error")
    monkeypatch.setattr(sharing._accounts, "users", users)
    assert sharing.owners(BEN) == [] and here.file.read_bytes() == b"making\n"
    assert here.sharing().owners(BEN) == SHARING
