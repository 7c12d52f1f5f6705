"""Delivery by root's children, each of another real uid: whose the mail is, what a hostile mailbox can do, and what a child's death does."""
from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import tempfile

import pytest

from pymta import durable
from pymta.accounts import Accounts
from pymta.queue.local import Local
from tests.crash.model import read_tree, write_tree
from tests.queuebox import USERS, Box

pytestmark = pytest.mark.root

FIRST = 31001
UID = {user: FIRST + number for number, user in enumerate(USERS)}


@pytest.fixture
def box(monkeypatch):
    """A queue of root's, whose users have uids of their own.  They must get to their homes, past pytest's closed directories."""
    root = tempfile.mkdtemp(prefix="pymta-uids-")
    os.chmod(root, 0o755)
    monkeypatch.chdir("/")
    made = Box(root, "queue.retry = 0s, 5m\n", "team: alice, bob, carol\n")
    made.local = lambda: Local(made.settings, Accounts(made.settings))                          # type: ignore[method-assign]
    people(made, UID)
    yield made
    durable.tap = None
    os.chdir("/")
    shutil.rmtree(root)


def people(box, uids: dict[str, int]) -> None:
    """Write the users file, and give each his home."""
    box.write("etc/users", "".join(f"{user}@example.test:{uid}:{uid}\n" for user, uid in uids.items()))
    for user, uid in uids.items():
        home = os.path.dirname(box.maildir(user))
        for name in ("tmp", "new", "cur"):
            os.makedirs(f"{home}/Maildir/{name}", exist_ok=True)
        for top, _, _ in os.walk(home):
            os.chown(top, uid, uid)
            os.chmod(top, 0o700)
    for top in (f"{box.root}/home", f"{box.root}/home/example.test"):
        os.chmod(top, 0o755)


def work(box, times=3):
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    for _ in range(times):
        runner.look()
        local.look()
        if due := runner.next_due():
            runner.due(due + 1)


def test_mail_belongs_to_the_owner_of_the_mailbox(box):
    box.accept(b"ann@client.example", [b"alice@example.test"])
    box.accept(b"ann@client.example", [b"team@example.test"])
    work(box)
    for user, count in (("alice", 2), ("bob", 1), ("carol", 1)):
        names = os.listdir(f"{box.maildir(user)}/new")
        assert len(names) == count
        for name in names:
            found = os.stat(f"{box.maildir(user)}/new/{name}")
            assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_nlink) == (UID[user], UID[user], 0o600, 1)
    assert box.queue() == [] and os.listdir("publishing") == []


def test_a_mailbox_that_is_missing_is_made_by_its_owner(box):
    shutil.rmtree(box.maildir("alice"))
    box.accept(b"ann@client.example", [b"alice@example.test"])
    work(box)
    assert len(box.mail("alice")) == 1
    for top, _, _ in os.walk(box.maildir("alice")):
        assert os.stat(top).st_uid == UID["alice"] and stat.S_IMODE(os.stat(top).st_mode) == 0o700


def everything(top: str) -> dict[str, tuple[int, int, int]]:
    return {path: (found.st_uid, found.st_mode, found.st_size) for at, dirs, names in os.walk(top)
            for path in (f"{at}/{name}" for name in dirs + names) if (found := os.lstat(path))}


@pytest.mark.parametrize("trick", ["new leads to bob's", "new leads to root's", "tmp leads to bob's", "tmp leads to root's", "all is bob's", "home is root's"])
def test_a_hostile_mailbox_gets_nothing_written_elsewhere(box, trick):
    """Its mail waits; nobody else's directory has a file more, or another owner."""
    box_of_root = f"{box.root}/secret"
    os.makedirs(f"{box_of_root}/new", mode=0o700)
    alice, bob = box.maildir("alice"), box.maildir("bob")
    name, _, where = trick.partition(" leads to ")
    match trick:
        case "all is bob's":
            os.rename(alice, alice + ".aside")
            os.symlink(bob, alice)
        case "home is root's":
            os.chown(os.path.dirname(alice), 0, 0)
        case _:
            os.rmdir(f"{alice}/{name}")
            os.symlink(f"{bob}/{name}" if where == "bob's" else f"{box_of_root}/new", f"{alice}/{name}")
    before = {top: everything(top) for top in (bob, box_of_root)}
    box.accept(b"ann@client.example", [b"alice@example.test"])
    runner, local = box.runner(), box.local()
    runner.start()
    local.start()
    runner.look()
    assert {top: everything(top) for top in (bob, box_of_root)} == before
    path, = box.queue()
    assert path.startswith("later/")
    assert not [path for path in everything(alice) if "/new/" in path]


def test_an_owner_who_is_root_gets_nothing(box):
    box.write("etc/users", "alice@example.test:0:0\n")
    runner, local = box.runner(), box.local()
    try:
        box.accept(b"ann@client.example", [b"alice@example.test"])
    except AssertionError:                              # refused at the door already
        return
    runner.start()
    local.start()
    assert box.mail("alice") == []


def test_a_child_may_die_before_any_of_its_calls(box):
    """Whichever, and of whichever owner: all have the message once after the repeat."""
    counted = f"{box.root}/calls"

    def count(kind: str, *arguments: object) -> None:
        if os.getuid() == UID["bob"]:
            with open(counted, "ab", buffering=0) as file:
                file.write(f"{kind}\n".encode())
    open(counted, "wb").close()
    os.chmod(counted, 0o666)
    durable.tap = count
    box.accept(b"ann@client.example", [b"team@example.test"])
    work(box, 1)
    with open(counted, encoding="ascii") as file:
        calls = file.read().split()
    assert len(calls) >= 6 and all(len(box.mail(user)) == 1 for user in USERS)

    files, directories = read_tree(box.spool)
    for number in range(len(calls)):
        write_tree({**{path: data for path, data in files.items() if "/lock" in path}, **dict.fromkeys(directories)}, box.spool)
        for user in USERS:
            for name in os.listdir(f"{box.maildir(user)}/new"):
                os.unlink(f"{box.maildir(user)}/new/{name}")
        left = [number]

        def die(kind: str, *arguments: object) -> None:
            if os.getuid() == UID["bob"]:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
        durable.tap = die
        box.accept(b"ann@client.example", [b"team@example.test"])
        runner, local = box.runner(), box.local()
        runner.start()
        local.start()
        assert len(box.mail("alice")) == len(box.mail("carol")) == 1 and box.queue(), f"dies before {calls[number]} ({number})"
        durable.tap = None
        for _ in range(3):
            runner.look()
            if due := runner.next_due():
                runner.due(due + 1)
            local.look()
        assert [len(box.mail(user)) for user in USERS] == [1, 1, 1], f"died before {calls[number]} ({number})"
        assert box.queue() == [] and os.listdir("publishing") == []
        assert not any(os.listdir(f"{box.maildir(user)}/tmp") for user in USERS)


def test_one_message_for_more_owners_than_there_may_be_open_files(box):
    many = {f"user{number}": FIRST + 100 + number for number in range(150)}
    people(box, many)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 180, hard))
    try:
        box.accept(b"ann@client.example", [f"{user}@example.test".encode() for user in many])
        work(box, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert all(len(box.mail(user)) == 1 for user in many)
    assert box.queue() == []


def test_no_process_to_be_had_is_a_deferral(box, monkeypatch):
    def fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")
    box.accept(b"ann@client.example", [b"team@example.test"])
    runner, local = box.runner(), box.local()
    monkeypatch.setattr(os, "fork", fork)
    before = len(os.listdir("/proc/self/fd"))
    runner.start()
    local.start()
    runner.look()
    assert len(os.listdir("/proc/self/fd")) == before
    path, = box.queue()
    assert path.startswith("later/") and not any(box.mail(user) for user in USERS)
    monkeypatch.undo()
    os.chdir(box.spool)
    runner.due(runner.next_due() + 1)
    local.look()
    assert all(len(box.mail(user)) == 1 for user in USERS)
