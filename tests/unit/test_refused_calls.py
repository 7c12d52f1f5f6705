"""One call to the disk fails, whichever: nothing promised is lost, nothing comes twice, nothing unpromised is taken, no program ends.

Every change on disk that a scenario of tests/crash makes is refused once (EIO), and from each on the disk is full for a while (ENOSPC for
everything that needs room); then the disk is well again and the programs go on as they are.
"""
from __future__ import annotations

import errno
import os
import tempfile
from collections import Counter

import pytest

from pymta import clock, durable
from pymta.formats import queuefile
from tests.crash.model import read_tree, write_tree
from tests.crash.test_crash import ALIASES, CONF, SCENARIOS, accepted, broken, in_maildirs, in_queue, started, work
from tests.queuebox import BODY, Box, _uid

NEEDS_ROOM = ("create", "write", "append", "sync_file", "sync_dir", "sync_fs", "mkdir", "link", "rename")


class Refused(Exception):
    """The message was not taken: its client was told to try again."""


class Disk:
    """Counts calls; refuses those from number first on: one, or, when full, all that need room until told otherwise."""

    def __init__(self, first: int | None, *, full: bool = False, kind_to: tuple[str, ...] = ()) -> None:
        self.first = first
        self.kind_to = kind_to
        self.full = full
        self.calls = 0
        self.refused: list[str] = []

    def __call__(self, kind: str, *arguments: object) -> None:
        if str(arguments[0]).startswith(self.kind_to):
            return
        number, self.calls = self.calls, self.calls + 1
        if self.first is None or number < self.first or (number > self.first if not self.full else kind not in NEEDS_ROOM):
            return
        self.refused.append(f"{kind} {arguments[0]!s}")
        raise OSError(errno.ENOSPC if self.full else errno.EIO, "refused", arguments[0])

    def mend(self) -> None:
        self.first = None


class Faulty:
    """A Box whose programs are made once and used on, as long as they do not end."""

    def __init__(self, box: Box, disk: Disk) -> None:
        self.box, self.disk = box, disk
        self._accept, self._runner, self._local = box.accept, box.runner, box.local
        self.programs: dict[str, object] = {}
        box.accept, box.runner, box.local = self.accept, self.runner, self.local        # type: ignore[method-assign]

    def accept(self, *arguments, **more):
        try:
            return self._accept(*arguments, **more)
        except OSError as error:
            raise Refused from error

    def runner(self):
        return self.programs.setdefault("runner", self._runner())

    def local(self):
        return self.programs.setdefault("local", self._local())

    def restore(self) -> None:
        self.box.accept, self.box.runner, self.box.local = self._accept, self._runner, self._local   # type: ignore[method-assign]


def play(box: Box, script, disk: Disk) -> tuple[list, str]:
    """(what was promised, what is wrong)."""
    from pymta.programs import inject
    promised: list = []
    faulty = Faulty(box, disk)
    durable.tap = disk
    try:
        script(box, promised.append)
    except (Refused, inject.Refused):
        pass
    except AssertionError:
        if not disk.refused:
            raise                                       # a script's own claim that all goes well
    except FileNotFoundError as error:
        if not str(error.filename).startswith("todo/"):  # the script reports on a file that has not got there yet
            return promised, f"a program ended: {error!r}"
    except TypeError:
        if not disk.refused:
            raise                                       # else the script asks for what is due, and nothing waits yet
    except Exception as error:
        return promised, f"a program ended: {error!r}"
    finally:
        disk.mend()
        durable.tap = None
        faulty.restore()
    runner, local = faulty.programs.get("runner") or box.runner(), faulty.programs.get("local") or box.local()
    for _ in range(5):                                  # a minute each
        runner.look()
        local.look()
        if due := runner.next_due():
            runner.due(due + 1)
    return promised, ""


@pytest.fixture
def box(monkeypatch):
    monkeypatch.chdir("/")
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pymta-faults-", dir=base) as root:
        yield Box(root, CONF + "queue.warn_after = 0s\n", ALIASES)
        durable.tap = None
        os.chdir("/")


def big_drop(box, tell):
    """One that is written in several pieces, so that the disk may refuse before it is finished."""
    from pymta.programs import inject
    runner, local = started(box)
    envelope = queuefile.Envelope(b"bob@example.test", [queuefile.Recipient(queuefile.UNROUTED, b"alice@example.test")], queuefile.Ids().new(clock.now()))
    inject.drop(envelope, BODY % (b"big", b"line\n" * 80_000), inject.read_settings(box.etc))
    tell((b"big", ("alice",)))
    work(box, runner, local, 2)


def one_delivered_one_failed(box, tell):
    """Alice has hers and must not get another, whatever becomes of the bounce that tells carol of bob."""
    runner, local = started(box)
    box.write("etc/users", "".join(f"{user}@example.test:{_uid()}:{_uid()}\n" for user in ("alice", "bob", "carol")))
    accepted(box, tell, b"partly", [b"team@example.test"], sender=b"carol@example.test", expect=["alice", "bounce:carol"])
    box.write("etc/users", "".join(f"{user}@example.test:{_uid()}:{_uid()}\n" for user in ("alice", "carol")))
    work(box, runner, local, 3)


SCENARIOS = [*SCENARIOS, big_drop, one_delivered_one_failed]


@pytest.mark.parametrize("full", [False, True], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("script", SCENARIOS, ids=lambda script: script.__name__)
def test_any_call_may_fail(box, script, full):
    roots = box.spool, f"{box.root}/home"
    blank = read_tree(*roots)
    clean = {**blank[0], **dict.fromkeys(blank[1])}
    write_tree(clean, *roots)
    # what the scripts do themselves, in place of other programs, goes well
    themselves = script.__name__ in ("two_in_a_batch", "batch_by_syncfs")
    kind_to = ("./report/remote", *(("in/smtpd/tmp",) if themselves else ()))
    everything, wrong = play(box, script, counting := Disk(None, kind_to=kind_to))
    assert everything and not wrong
    found = []
    for number in range(counting.calls):
        write_tree(clean, *roots)
        promised, wrong = play(box, script, disk := Disk(number, full=full, kind_to=kind_to))
        wrong = wrong or broken(box, Counter(), promised, everything)
        for mark, who in everything:
            if not wrong and (mark, who) not in promised and sum((in_maildirs(box) + in_queue(box))[mark, one] for one in who):
                wrong = f"{mark!r} was refused and taken all the same"
        if wrong:
            found.append(f"{disk.refused[:1]} refused: {wrong}")
    assert not found, f"{len(found)} of {counting.calls}:\n" + "\n".join(found[:12])
