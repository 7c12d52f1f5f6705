"""as_user: what the owner of a mailbox may do to the child that writes there must not stop the mail of others."""
import os
import signal
import threading

import pytest

from pymta import outcome
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
    crew.prepare()
    crew.publish()
    assert copies[0].outcome.temporary
    copies[0].outcome = None
    again = as_user.crew(UID, GID, copies, in_process=False)
    assert isinstance(again, as_user.NoCrew) and copies[0].outcome.temporary
    other = as_user.crew(UID + 1, GID, [], in_process=False) if os.getuid() == 0 else None
    assert other is None or isinstance(other, as_user.ForkedCrew)
    if other is not None:
        other.abandon(outcome.SURPRISE)
