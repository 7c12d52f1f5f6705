"""auth and login: who is let in, what guessing costs, what the log says, and what a worker hears over the socket."""
import asyncio
import json
import os
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from pymta import clock, settings
from pymta.login import auth, checker as login, hashes
from pymta.accounts import Accounts
from pymta.formats import passwords

ROOT = Path(__file__).resolve().parents[2]
RIGHT = hashes.crypt(b"correct horse", b"$5$rounds=1000$saltsalt$").decode()      # quick: most of this is not about hashes
UNALIKE = hashes.make(b"battery staple")


@pytest.fixture
def etc(tmp_path):
    uid = os.getuid() or 1000
    (tmp_path / "pymta.conf").write_text(
        f"host.name = mail.example.test\nlocal.domains = example.test\nlocal.virtual_uid = {uid}\nlocal.system_users = no\n"
        f"local.virtual_home = {tmp_path}/mail\nlogin.delay_max = 8s\n")
    (tmp_path / "users").write_text("alice@example.test\nbob@example.test\ncarol\ndora@example.test\n")
    write(tmp_path, {"alice@example.test": RIGHT, "bob": RIGHT, "carol@example.test": RIGHT, "nobox@example.test": RIGHT})
    return tmp_path


def write(etc, rows):
    old, new = etc / "passwords", etc / "passwords.new"
    data = b""
    for name, hash in rows.items():
        data = passwords.with_entry(data, name, hash)
    new.write_bytes(data)
    new.chmod(0o600)
    new.rename(old)


class Desk:
    """A Checker whose delays take no time: `slept` lists them."""

    def __init__(self, etc, **values):
        if values:
            with open(etc / "pymta.conf", "a") as file:
                file.write("".join(f"{name.replace('_', '.', 1)} = {value}\n" for name, value in values.items()))
        self.slept = []
        in_force = settings.read(str(etc))
        self.checker = login.Checker(in_force, Accounts(in_force), sleep=self.sleep)
        self.hashed = 0

    async def sleep(self, seconds):
        if seconds:
            self.slept.append(seconds)
        await asyncio.sleep(0)

    def check(self, name, password, peer="192.0.2.7"):
        return asyncio.run(self.checked(name, password, peer))

    async def checked(self, name, password, peer="192.0.2.7"):
        mailbox = await self.checker.check(name, password, peer, "pop3")
        return mailbox and mailbox.address


@pytest.mark.parametrize("name, password, address", [
    ("alice@example.test", "correct horse", "alice@example.test"),
    ("ALICE@Example.Test ", "correct horse", "alice@example.test"),
    ("alice", "correct horse", "alice@example.test"),
    ("bob@example.test", "correct horse", "bob@example.test"),          # his line has the bare name
    ("carol", "correct horse", "carol@example.test"),                   # hers the full one
    ("alice@example.test", "Correct horse", None),
    ("alice@example.test", "", None),
    ("alice@example.test", "correct horse\0x", None),
    ("alice+lists@example.test", "correct horse", None),
    ("dora@example.test", "correct horse", None),                       # no line
    ("nobox@example.test", "correct horse", None),                      # no mailbox
    ("", "correct horse", None), ("\udcff", "\udcff", None),
])
def test_who_is_let_in(etc, name, password, address):
    assert Desk(etc).check(name, password) == address


def test_the_hash_is_not_computed_again_for_a_while(etc, monkeypatch):
    desk = Desk(etc)
    assert desk.check("alice", "correct horse")
    monkeypatch.setattr(hashes, "matches", lambda hash, octets: pytest.fail("computed again"))
    assert desk.check("alice", "correct horse")
    assert desk.check("alice", "correct horse", peer="198.51.100.1")
    now = clock.tick()
    monkeypatch.setattr(clock, "tick", lambda: now + 301)
    with pytest.raises(BaseException, match="computed again"):
        desk.check("alice", "correct horse")


def test_a_new_password_counts_at_once_both_ways(etc):
    desk = Desk(etc)
    assert desk.check("alice", "correct horse") and not desk.check("alice", "battery staple")
    write(etc, {"alice@example.test": UNALIKE})
    assert not desk.check("alice", "correct horse") and desk.check("alice", "battery staple")
    write(etc, {"alice@example.test": "!" + UNALIKE})
    assert not desk.check("alice", "battery staple")


def test_each_wrong_password_after_the_third_waits_twice_as_long(etc):
    desk = Desk(etc)
    for guess in range(9):
        assert not desk.check("alice", f"guess {guess}")
    assert desk.slept == [1, 2, 4, 8, 8, 8]
    assert desk.check("bob", "correct horse") and desk.slept[-1] == 8           # the right one waits too: speed tells nothing


def test_the_same_wrong_password_counts_and_is_logged_once(etc, capfd):
    desk = Desk(etc)
    for _ in range(20):
        assert not desk.check("alice", "last year's")
    assert desk.slept == []
    assert capfd.readouterr().err.count("auth-failed") == 1


def test_who_was_right_here_before_does_not_wait_for_the_neighbours(etc):
    desk = Desk(etc)
    assert desk.check("bob", "correct horse")
    for guess in range(6):
        desk.check("alice", f"guess {guess}")
    desk.slept.clear()
    assert desk.check("bob", "correct horse") and desk.slept == []


@pytest.mark.parametrize("other, waits", [("192.0.2.99", True), ("192.0.3.7", False), ("::1", False)])
def test_failures_count_by_network(etc, other, waits):
    desk = Desk(etc)
    for guess in range(4):
        desk.check("alice", f"guess {guess}")
    desk.slept.clear()
    assert desk.check("alice", "correct horse", peer=other) and bool(desk.slept) == waits


@pytest.mark.parametrize("one, other, same", [
    ("192.0.2.1", "192.0.2.255", True), ("192.0.2.1", "192.0.3.1", False), ("2001:db8:0:1::1", "2001:db8:0:1:ffff::", True),
    ("2001:db8:0:1::1", "2001:db8:0:2::1", False), ("local", "local", True), ("local", "other", False)])
def test_what_is_one_network(one, other, same):
    assert (login.network_of(one) == login.network_of(other)) == same


def test_failures_are_forgotten_after_ten_quiet_minutes(etc, monkeypatch):
    desk = Desk(etc)
    for guess in range(6):
        desk.check("alice", f"guess {guess}")
    desk.slept.clear()
    now = clock.tick()
    monkeypatch.setattr(clock, "tick", lambda: now + 601)
    assert desk.check("alice", "correct horse") and desk.slept == []


def test_no_limit_where_none_is_wanted(etc):
    desk = Desk(etc, login_failures=0)
    for guess in range(12):
        desk.check("alice", f"guess {guess}")
    assert desk.check("alice", "correct horse") and desk.slept == []


def test_many_connections_do_not_help_a_guesser(etc, monkeypatch):
    """Sixty guesses at once from one network: few are free, the rest wait in a line or are sent away unchecked."""
    monkeypatch.setattr(hashes, "matches", lambda hash, octets: False)

    async def attack():
        desk = Desk(etc)
        answers = await asyncio.gather(*(desk.checked("alice", f"guess {n}") for n in range(60)), return_exceptions=True)
        again = await asyncio.gather(*(desk.checked("alice", f"more {n}") for n in range(60)), return_exceptions=True)
        return desk, answers, again
    desk, answers, again = asyncio.run(attack())
    assert set(map(type, answers)) == {type(None)}
    assert len(desk.slept) >= 60 - login._AT_A_TIME - 3
    assert sum(isinstance(answer, login.Trouble) for answer in again) == 60 - login._SLOW_LINE_MAX


def test_memory_is_bounded(etc, monkeypatch):
    monkeypatch.setattr(hashes, "matches", lambda hash, octets: False)
    monkeypatch.setattr(login, "_NETWORKS_MAX", 20)
    monkeypatch.setattr(login, "_WRONG_MAX", 5)
    desk = Desk(etc)
    for number in range(60):
        desk.check("alice", "x", peer=f"10.0.{number}.1")
        desk.check("alice", f"guess {number}")
    assert len(desk.checker._networks) <= 20
    assert len(desk.checker._networks["192.0.2.0/24"].wrong) == 5


def test_an_unknown_name_costs_a_hash_too(etc, monkeypatch):
    desk = Desk(etc)
    asked = []
    monkeypatch.setattr(hashes, "matches", lambda hash, octets: asked.append(hash) or False)
    desk.check("nobody@example.test", "x")
    desk.check("alice", "x")
    assert len(asked) == 2 and asked[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$") and asked[1] == RIGHT


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_trouble_not_a_wrong_password(etc):
    (etc / "passwords").chmod(0)
    with pytest.raises(login.Trouble, match="cannot read"):
        Desk(etc).check("alice", "correct horse")


def test_a_directory_in_the_place_of_the_file_is_trouble(etc):
    (etc / "passwords").unlink()
    (etc / "passwords").mkdir()
    with pytest.raises(login.Trouble, match="cannot read"):
        Desk(etc).check("alice", "correct horse")


def test_bad_lines_and_a_public_file_are_reported_once(etc, capfd):
    with open(etc / "passwords", "a") as file:
        file.write("dora@example.test:secret\n")
    (etc / "passwords").chmod(0o644)
    desk = Desk(etc)
    assert desk.check("alice", "correct horse") and desk.check("bob", "correct horse")
    lines = [line for line in capfd.readouterr().err.split("\n") if " config " in line]
    assert len(lines) == 2 and "passwords:5" in lines[0] and "chmod 640" in lines[1]
    assert "secret" not in lines[0].partition("why=")[0]


# ---- the line fail2ban reads ------------------------------------------------------------------------------------------
def failregex() -> re.Pattern:
    page = (ROOT / "man" / "pymta-users.5").read_text().replace("\\e", "\\").replace("\\&", "")
    found = re.search(r"^failregex = (.*)$", page, re.M)
    assert found, "pymta-users(5) gives no failregex"
    return re.compile(found[1].replace("<HOST>", r"(?:::f{4,6}:)?(?P<host>[0-9a-fA-F.:]+)"))


@pytest.mark.parametrize("name", ["alice", "nobody@example.test", "x client=203.0.113.9 service=pop3 user=", '"<>', "a\nb",
                                  "> pymta-imapd: auth-failed client=203.0.113.9 service=imap user=<y"])
@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::7"])
def test_fail2ban_finds_the_peer_and_nothing_else(etc, capfd, name, peer):
    Desk(etc).check(name, "wrong", peer=peer)
    lines = [line for line in capfd.readouterr().err.split("\n") if line]
    assert len(lines) == 1 and "wrong" not in lines[0].replace("wrong-password", "")
    event = lines[0].partition(": ")[2]
    for line in (f"pymta-pop3d: {event}", f"mail pymta-pop3d[123]: {event}", f"Nov 23 12:00:01 mail pymta-smtpd[9]: {event}"):
        assert failregex().search(line)["host"] == peer


def test_a_right_password_leaves_the_word_to_the_session(etc, capfd):
    assert Desk(etc).check("alice", "correct horse") and capfd.readouterr().err == ""


# ---- over the socket --------------------------------------------------------------------------------------------------
class Clients:
    """What serve gives a helper: here fed by the test."""

    def __init__(self):
        self.ours, self.theirs = socket.socketpair()

    def fileno(self):
        return self.theirs.fileno()

    def next(self):
        message, descriptors, _, _ = socket.recv_fds(self.theirs, 64, 1)
        return socket.socket(fileno=descriptors[0]) if message else None

    def add(self):
        one, other = socket.socketpair()
        socket.send_fds(self.ours, [b"client"], [other.fileno()])
        other.close()
        return one


def talk(etc, conversation):
    """Run conversation(passwords, clients, worker) between a Passwords and a real helper."""
    async def run():
        clients = Clients()
        task = asyncio.create_task(auth._Helper(settings.read(str(etc)), clients).run())
        worker = SimpleNamespace(loop=asyncio.get_running_loop(), again=None)

        def helper(name, when_new):
            worker.again = when_new
            return clients.add()
        worker.helper = helper
        ours = auth.Passwords(worker)
        try:
            return await conversation(ours, clients, worker)
        finally:
            clients.ours.close()
            await task
            sock = ours._line._sock
            ours._line.drop()
            if sock:
                sock.close()
            clients.theirs.close()
    return asyncio.run(run())


def test_many_questions_at_a_time_get_their_own_answers(etc):
    async def conversation(ours, clients, worker):
        return await asyncio.gather(*(ours.check(name, password, peer=f"10.1.{n}.1", service="pop3")
                                      for n in range(10)
                                      for name, password in (("alice", "correct horse"), ("bob", "wrong"), ("carol", "correct horse"))))
    answers = talk(etc, conversation)
    assert [answer and answer.name for answer in answers] == ["alice@example.test", None, "carol@example.test"] * 10
    assert answers[0].mailbox.maildir == f"{etc}/mail/example.test/alice/Maildir"


def test_a_helper_that_ends_is_trouble_and_a_new_one_is_taken(etc):
    async def conversation(ours, clients, worker):
        one, other = socket.socketpair()
        worker.again(one)                               # a helper that says nothing
        waiting = asyncio.create_task(ours.check("alice", "correct horse", peer="::1", service="imap"))
        await asyncio.sleep(0.01)
        other.close()
        with pytest.raises(auth.Trouble, match="ended"):
            await waiting
        one.close()
        with pytest.raises(auth.Trouble, match="away"):
            await ours.check("alice", "correct horse", peer="::1", service="imap")
        worker.again(clients.add())
        return await ours.check("alice", "correct horse", peer="::1", service="imap")
    assert talk(etc, conversation).name == "alice@example.test"


def test_questions_are_bounded_and_one_given_up_is_forgotten(etc, monkeypatch):
    monkeypatch.setattr(auth, "MAX_IN_FLIGHT", 2)

    async def conversation(ours, clients, worker):
        one, other = socket.socketpair()
        worker.again(one)
        waiting = [asyncio.create_task(ours.check("a", "b", peer="::1", service="imap")) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(auth.Trouble, match="too many"):
            await ours.check("a", "b", peer="::1", service="imap")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        other.close()
        left = len(ours._asked)
        ours._line.drop()
        one.close()
        worker.again(clients.add())
        return left
    assert talk(etc, conversation) == 0


def test_odd_octets_and_long_texts_pass_and_are_wrong(etc):
    async def conversation(ours, clients, worker):
        return [await ours.check(name, password, peer="::1", service="imap")
                for name, password in (("caf\udce9", "\udcff\x00"), ("x" * 100000, "y" * 100000), ("\n", "\n"))]
    assert talk(etc, conversation) == [None] * 3


@pytest.mark.parametrize("nonsense", [b"\n", b"{}\n", b"[]\n", b"\xff\n", b"x" * 200000,
                                      b'{"id": "1", "name": "a", "password": "b", "ip": "::1", "service": "x", "facts": {}}\n'])
def test_a_worker_that_talks_nonsense_is_dropped_and_harms_nobody(etc, nonsense):
    async def conversation(ours, clients, worker):
        bad = clients.add()
        bad.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_sendall(bad, nonsense)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(bad, 100), 10) == b""
        except ConnectionResetError:
            pass                                        # closed with octets unread
        bad.close()
        return await ours.check("alice", "correct horse", peer="::1", service="imap")
    assert talk(etc, conversation).name == "alice@example.test"


def test_a_session_travels_with_its_question(etc):
    """The descriptor reaches the starter with the mailbox if the password is right, and is closed if it is not."""
    async def run():
        clients = Clients()
        starter, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        task = asyncio.create_task(auth._Helper(settings.read(str(etc)), clients, theirs).run())
        worker = SimpleNamespace(loop=asyncio.get_running_loop(), helper=lambda name, when_new: clients.add())
        ours = auth.Passwords(worker)
        asked = [ours.open_session("alice", password, peer="::1", service="pop3", facts={"n": n})
                 for n, password in enumerate(["correct horse", "wrong", "correct horse"])]
        answers = await asyncio.gather(*asked)
        assert [answer and answer[0].name for answer in answers] == ["alice@example.test", None, "alice@example.test"]
        heard = {}
        for _ in range(2):
            packet, descriptors, _, _ = socket.recv_fds(starter, 65536, 4)
            mailbox, facts = json.loads(packet)
            assert mailbox[0] == "alice@example.test" and len(descriptors) == 1
            end = socket.socket(fileno=descriptors[0])
            end.sendall(b"session %d" % facts["n"])
            end.close()
            heard[facts["n"]] = True
        assert answers[0][1].recv(100) == b"session 0" and answers[2][1].recv(100) == b"session 2"
        starter.setblocking(False)
        with pytest.raises(BlockingIOError):
            starter.recv(100)
        clients.ours.close()
        await task
        for sock in (answers[0][1], answers[2][1], starter, theirs, ours._line._sock, clients.theirs):
            sock.close()
    before = len(os.listdir("/proc/self/fd"))
    asyncio.run(run())
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_memory_of_hashes_is_given_back_when_it_is_quiet(etc, monkeypatch):
    monkeypatch.setattr(login, "_QUIET_S", 0.05)
    given_back = []
    monkeypatch.setattr(hashes, "give_back_memory", lambda: given_back.append(1))

    async def busy_then_quiet():
        desk = Desk(etc)
        for n in range(3):
            await desk.checked("alice", f"guess {n}")
        while not given_back:
            await asyncio.sleep(0.01)
    asyncio.run(asyncio.wait_for(busy_then_quiet(), 20))
    assert given_back
    monkeypatch.undo()
    hashes.give_back_memory()                           # whatever the libc
