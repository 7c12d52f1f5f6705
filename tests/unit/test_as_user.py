"""as_user: what the owner of a mailbox may do to the child that writes there must not stop the mail of others."""
import os
import select
import signal
import threading

import pytest

from pymta import clock, outcome
from pymta.formats import queuefile
from pymta.formats.queuefile import LOCAL, Envelope, Recipient
from pymta.queue import as_user
from pymta.queue.delivery import Copy

UID, GID = (os.getuid(), os.getgid()) if os.getuid() else (65534, 65534)


class Late(Exception):
    pass


@pytest.fixture
def patience():
    def late(*_):
        raise Late

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)


def test_a_child_that_its_owner_stopped_is_not_waited_for(patience):
    """Any process of that uid may send it SIGSTOP when it has said all it had to say."""
    crew = as_user.ForkedCrew(UID, GID, [])
    try:
        os.kill(crew._pid, signal.SIGSTOP)
        crew.abandon(outcome.SURPRISE)
    except Late:
        os.kill(crew._pid, signal.SIGKILL)
        pytest.fail("waits for a stopped child")
    assert crew._pid == 0


def test_a_uid_whose_child_hangs_is_left_alone_for_a_while(patience, tmp_path, monkeypatch):
    """A FIFO would do, or a file system in user space: here a child that never gets to its work."""
    monkeypatch.setattr(as_user, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(as_user, "_hung", {})
    monkeypatch.setattr(as_user.delivery, "prepare", lambda copies: threading.Event().wait())
    copies = [Copy(-1, Envelope(b"", [Recipient(LOCAL, b"ann@example.test")], "x"), 0, str(tmp_path), (), "h")]
    crew = as_user.crew(UID, GID, copies, in_process=False)
    as_user.prepare([crew])
    as_user.publish([crew])
    assert copies[0].outcome.temporary
    copies[0].outcome = None
    again = as_user.crew(UID, GID, copies, in_process=False)
    assert isinstance(again, as_user.NoCrew) and copies[0].outcome.temporary
    other = as_user.crew(UID + 1, GID, [], in_process=False) if os.getuid() == 0 else None
    assert other is None or isinstance(other, as_user.ForkedCrew)
    if other is not None:
        other.abandon(outcome.SURPRISE)


def test_the_owner_s_child_counts_and_tells_how_much_room_is_left(patience, tmp_path):
    """A quota is asked for and counted by the child; what it found comes back with its answers."""
    maildir = str(tmp_path / "Maildir")
    os.chmod(tmp_path, 0o777)
    top = tmp_path
    while top != top.parent and str(top) != "/tmp":                 # pytest's own folders are closed to other users
        os.chmod(top, os.stat(top).st_mode | 0o011)
        top = top.parent
    ids = queuefile.Ids()

    def copy(size: int) -> Copy:
        path = tmp_path / f"message{size}"
        envelope = Envelope(b"", [Recipient(LOCAL, b"ann@example.test")], ids.new(1.7e9))
        text = b"Subject: x\n\n" + b"y" * size + b"\n"
        head = queuefile.seal(envelope, len(text), text.count(b"\n"), queuefile.crc32(text))
        path.write_bytes(head + text)
        fd = os.open(path, os.O_RDONLY)
        return Copy(fd, queuefile.read_envelope(fd)[0], 0, maildir, (), "h", quota=10_000)

    copies = [copy(4000), copy(4001), copy(4002), copy(20_000)]
    crew = as_user.crew(UID, GID, copies, in_process=False)
    as_user.prepare([crew])
    as_user.publish([crew])
    for each in copies:
        os.close(each.fd)
    assert [one.outcome and one.outcome.status for one in copies] == ["2.1.5", "2.1.5", "4.2.2", "5.2.3"]
    left = 10_000 - copies[0].size_octets - copies[1].size_octets if copies[0].size_octets else copies[1].room
    assert copies[0].room is not None and copies[0].room > copies[1].room == left == copies[2].room == copies[3].room
    assert as_user.room(UID, GID, maildir, 10_000, 0, in_process=False) == left
    assert as_user.room(UID, GID, str(tmp_path / "nothing" / "there"), 10_000, 0, in_process=False) == 10_000


@pytest.mark.root
@pytest.mark.parametrize("step", ["prepare", "publish"])
def test_who_hangs_holds_up_nobody_else_s_mail(patience, tmp_path, monkeypatch, step):
    """All children of a batch are waited for together: three that hang cost the patience for one, and the fourth's mail is delivered."""
    monkeypatch.setattr(as_user, "_hung", {})
    monkeypatch.setattr(as_user, "_PATIENCE_S", 1.5)
    monkeypatch.setattr(as_user, "_COPY_S", 0.0)
    waited = []
    real = {name: getattr(as_user.delivery, name) for name in ("prepare", "publish")}

    def work(name):
        def do(copies):
            if name == step and os.getuid() != UID:
                threading.Event().wait()
            for each in copies:
                each.outcome = outcome.DELIVERED if name == "publish" else None
        return do

    for name in real:
        monkeypatch.setattr(as_user.delivery, name, work(name))
    poll = select.poll

    class Counted:
        def __init__(self):
            self._poll = poll()
            self.register, self.unregister = self._poll.register, self._poll.unregister

        def poll(self, milliseconds):
            waited.append(found := self._poll.poll(milliseconds))
            return found

    monkeypatch.setattr(as_user.select, "poll", Counted)
    copies = [Copy(-1, Envelope(b"", [Recipient(LOCAL, b"ann@example.test")], "x"), 0, str(tmp_path), (), "h") for _ in range(4)]
    crews = [as_user.crew(UID - number, GID, [copy], in_process=False) for number, copy in zip((1, 2, 0, 3), copies)]
    as_user.prepare(crews)
    as_user.publish(crews)
    assert waited.count([]) == 1 and [copy.outcome.delivered for copy in copies] == [False, False, True, False]
    assert all(copy.outcome.temporary for copy in copies if not copy.outcome.delivered)
    assert sorted(as_user._hung) == [UID - 3, UID - 2, UID - 1]


def test_who_hangs_again_and_again_is_left_alone_for_longer(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(as_user, "_hung", {})
    monkeypatch.setattr(clock, "tick", lambda: now[0])
    waits = []
    for _ in range(6):
        as_user._spare(7)
        waits.append(as_user._hung[7][0] - now[0])
        assert as_user._is_spared(7) and not as_user._is_spared(8)
        now[0] = as_user._hung[7][0]
        assert not as_user._is_spared(7)
    assert waits == [60, 120, 240, 480, 900, 900]
    now[0] += 3601
    as_user._spare(7)
    assert as_user._hung[7][0] - now[0] == 60


def test_a_child_that_cannot_be_killed_is_not_waited_for(patience, monkeypatch):
    """One that waits for a disk that has gone ends when the disk comes back."""
    killed: list[int] = []
    crew = as_user.ForkedCrew(UID, GID, [])
    pid = crew._pid
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(as_user.os, "kill", lambda pid, number: killed.append(pid))
    crew.abandon(outcome.SURPRISE)
    assert killed == [pid]
    monkeypatch.undo()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    as_user._dying.remove(pid)
