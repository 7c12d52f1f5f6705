"""as_user: the two steps of a delivery, done by a child that is nobody but the mailbox's owner.

All that pymta-local's root parent does for a delivery is here and in privs.become: fork, wait for a line, say go, wait for a line.
The parent never touches a path below a home.  Where we are the owner ourselves (the sandbox) there is no child.

    crews = [crew(...) for each owner]; prepare(crews); note the intents; publish(crews)

An owner may stop his child, or let it open what never answers, and the others' mail must not wait for that: all are waited for side by
side, none for longer than its mail takes on a slow disk, and one that has hung is left alone for a minute, then longer each time.
"""
from __future__ import annotations

import os
import select

from pymta import clock, log, outcome, privs
from pymta.formats import maildirsize
from pymta.outcome import Outcome
from pymta.queue import delivery
from pymta.queue.delivery import Copy

_PATIENCE_S = 8.0           # for the children of a batch, and for each of its copies:
_COPY_S, _OCTETS_A_SECOND = 0.05, 10e6
_SPARED_S, _SPARED_MAX_S = 60.0, 900.0                  # nobody waits for a uid whose child has hung; twice as long after each time
_FORGIVEN_S = 3600.0
_ROOM_S = 3.0               # for counting what a mailbox holds
_GO = b"g"
_hung: dict[int, tuple[float, float]] = {}              # uid -> (when its child may be waited for again, how long that was)
_dying: list[int] = []                                  # children that were killed and may hang in the kernel


def crew(uid: int, gid: int, copies: list[Copy], *, in_process: bool) -> Crew:
    """Whoever makes these copies: ourselves, or a child of that uid."""
    if in_process:
        return Crew(copies)
    if _is_spared(uid):
        for copy in copies:
            copy.outcome = outcome.MAILBOX_TROUBLE.because(f"writing as uid {uid} has hung; tried again later")
        return NoCrew(copies)
    try:
        return ForkedCrew(uid, gid, copies)
    except OSError as error:
        for copy in copies:
            copy.outcome = outcome.MAILBOX_TROUBLE.because(f"no process can be had to deliver: {error.strerror}; tried again later")
        return NoCrew(copies)


def prepare(crews: list[Crew]) -> None:
    """Step one of delivery.py."""
    for each in crews:
        each.prepare()
    _hear(crews)


def publish(crews: list[Crew]) -> None:
    """Step two: every copy has an outcome afterwards."""
    for each in crews:
        each.publish()
    _hear(crews)
    for each in crews:
        each.end()


def _hear(crews: list[Crew]) -> None:
    """Take the answers of all children, as they come; kill who lets us wait too long."""
    busy = {each.answers: each for each in crews if isinstance(each, ForkedCrew) and each.busy}
    poll = select.poll()
    for fd in busy:
        poll.register(fd, select.POLLIN)
    due = clock.tick() + _PATIENCE_S + sum(_COPY_S + copy.envelope.size_octets / _OCTETS_A_SECOND for each in busy.values() for copy in each.copies)
    while busy and (ready := poll.poll(max(0.0, due - clock.tick()) * 1000)):
        for fd, _ in ready:
            if busy[fd].hear():
                poll.unregister(fd)
                del busy[fd]
    for each in busy.values():
        each.hangs()


class Crew:
    """Makes copies as the uid we have."""

    def __init__(self, copies: list[Copy]) -> None:
        self.copies = copies

    def prepare(self) -> None:
        delivery.prepare(self.copies)

    def abandon(self, why: Outcome) -> None:
        """The intent could not be noted: publish nothing."""
        for copy in self.copies:
            copy.outcome = copy.outcome or why

    def publish(self) -> None:
        delivery.publish(self.copies)

    def end(self) -> None:
        pass


class NoCrew(Crew):
    """Does nothing: every copy has its outcome."""

    def prepare(self) -> None:
        pass

    def publish(self) -> None:
        pass


class ForkedCrew(Crew):
    """Makes copies in a child of another uid.  The child's answers come as lines: one per copy, "-" or "REPLY STATUS ROOM TEXT".
    busy: whether an answer is owed."""

    def __init__(self, uid: int, gid: int, copies: list[Copy]) -> None:
        super().__init__(copies)
        self._uid = uid
        ends: list[int] = []
        try:
            ends += os.pipe()
            ends += os.pipe()
            parent = os.getpid()
            self._pid = os.fork()
        except OSError:
            for end in ends:
                os.close(end)
            raise
        self.answers, answers, orders, self._orders = ends
        self._begin()
        if self._pid == 0:
            status = 75
            try:
                privs.become(uid, gid, _groups(uid, gid))
                privs.die_with_parent(parent)
                delivery.prepare(copies)
                _say(answers, copies)
                if os.read(orders, 1) == _GO:
                    delivery.publish(copies)
                    _say(answers, copies)
                status = 0
            except BaseException as error:
                log.bug(f"delivery as uid {uid}", error)
            finally:
                os._exit(status)
        os.close(answers)
        os.close(orders)

    def prepare(self) -> None:
        """It has begun by itself."""

    def abandon(self, why: Outcome) -> None:
        super().abandon(why)
        self.end()

    def publish(self) -> None:
        if self._pid and any(copy.outcome is None for copy in self.copies):
            try:
                os.write(self._orders, _GO)
                self._begin()
            except BrokenPipeError:
                pass                                    # it died: its copies end in a surprise

    def end(self) -> None:
        """A copy without an outcome ends in a surprise, which is temporary.  No waiting: what hangs in the kernel cannot be killed."""
        self.busy = False
        for copy in self.copies:
            copy.outcome = copy.outcome or outcome.SURPRISE
        if self._pid:
            os.close(self._orders)
            os.close(self.answers)
            os.kill(self._pid, 9)                       # it has said what counts, and its owner may have stopped it: it would never end
            _dying.append(self._pid)
            self._pid = 0
        _reap()

    def hear(self) -> bool:
        """Take what the child says; True when that is all, or it has died."""
        more = os.read(self.answers, 1 << 16)
        self._said += more
        lines = self._said.decode("ascii", "replace").split("\n")
        if len(lines) <= len(self.copies):
            if not more:
                self.end()
            return not more
        for copy, line in zip(self.copies, lines, strict=False):
            if line != "-" and copy.outcome is None:
                reply, status, room, text = line.split(" ", 3)
                copy.room = None if room == "-" else int(room)
                copy.outcome = Outcome(int(reply), status, 0 if status[0] == "2" else 75, text)
        self.busy = False
        return True

    def hangs(self) -> None:
        _spare(self._uid)
        self.end()

    def _begin(self) -> None:
        """An answer is owed from now on."""
        self._said, self.busy = b"", bool(self.copies)


def _spare(uid: int) -> None:
    """Leave a uid alone for a while."""
    until, before_s = _hung.get(uid, (0.0, 0.0))
    spared_s = min(2 * before_s, _SPARED_MAX_S) if until and clock.tick() < until + _FORGIVEN_S else _SPARED_S
    _hung[uid] = clock.tick() + spared_s, spared_s
    log.event("trouble", what=f"writing into the mailboxes of uid {uid} hangs", remedy=f"its mail waits for {spared_s:.0f} s at least")


def _is_spared(uid: int) -> bool:
    return uid in _hung and clock.tick() < _hung[uid][0]


def _reap() -> None:
    _dying[:] = [pid for pid in _dying if os.waitpid(pid, os.WNOHANG)[0] == 0]


def room(uid: int, gid: int, maildir: str, quota_octets: int, need_octets: int, *, in_process: bool) -> int | None:
    """How much room a mailbox has (maildirsize.room), asked as its owner; None where that cannot be told now."""
    if in_process:
        try:
            return maildirsize.room(maildir, quota_octets, need_octets)
        except OSError:
            return None
    if _is_spared(uid):
        return None
    parent = os.getpid()
    answer, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            privs.become(uid, gid, _groups(uid, gid))
            privs.die_with_parent(parent)
            os.write(end, b"%d" % maildirsize.room(maildir, quota_octets, need_octets))
        except OSError:
            pass
        except BaseException as error:
            log.bug(f"quota as uid {uid}", error)
        finally:
            os._exit(0)
    os.close(end)
    poll = select.poll()
    poll.register(answer, select.POLLIN)
    data = b""
    if poll.poll(_ROOM_S * 1000):
        data = os.read(answer, 32)
    else:
        _spare(uid)
    os.close(answer)
    os.kill(pid, 9)
    _dying.append(pid)
    _reap()
    return int(data) if data else None


def _say(answers: int, copies: list[Copy]) -> None:
    lines = ["-" if c.outcome is None else
             f"{c.outcome.reply} {c.outcome.status} {'-' if c.room is None else c.room} {outcome.clean(c.outcome.text)}" for c in copies]
    data = "".join(f"{line}\n" for line in lines).encode("ascii")
    while data:
        data = data[os.write(answers, data):]


def _groups(uid: int, gid: int) -> tuple[int, ...]:
    import pwd
    try:
        return tuple(group for group in os.getgrouplist(pwd.getpwuid(uid).pw_name, gid) if group != 0)
    except KeyError:
        return (gid,)
