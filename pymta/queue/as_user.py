"""as_user: the two steps of a delivery, done by a child that is nobody but the mailbox's owner.

All that pymta-local's root parent does for a delivery is here and in privs.become: fork, wait for a line, say go, wait for a line.
The parent never touches a path below a home.  Where we are the owner ourselves (the sandbox) there is no child.
"""
from __future__ import annotations

import os
import select

from pymta import clock, log, outcome, privs
from pymta.formats import maildirsize
from pymta.outcome import Outcome
from pymta.queue import delivery
from pymta.queue.delivery import Copy

_PATIENCE_S = 120.0         # for a home on a network that hangs
_SPARED_S = 900.0           # so long nobody waits again for a uid whose child has hung: it would stop the mail of all others
_ROOM_S = 10.0              # for counting what a mailbox holds
_GO = b"g"
_hung: dict[int, float] = {}                            # uid -> when its child may be waited for again


def crew(uid: int, gid: int, copies: list[Copy], *, in_process: bool) -> Crew:
    """Whoever makes these copies: ourselves, or a child of that uid."""
    if in_process:
        return Crew(copies)
    if uid in _hung and clock.tick() >= _hung[uid]:
        del _hung[uid]
    if uid in _hung:
        for copy in copies:
            copy.outcome = outcome.MAILBOX_TROUBLE.because(f"writing as uid {uid} has hung; tried again later")
        return NoCrew(copies)
    try:
        return ForkedCrew(uid, gid, copies)
    except OSError as error:
        for copy in copies:
            copy.outcome = outcome.MAILBOX_TROUBLE.because(f"no process can be had to deliver: {error.strerror}; tried again later")
        return NoCrew(copies)


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


class NoCrew(Crew):
    """Does nothing: every copy has its outcome."""

    def prepare(self) -> None:
        pass

    def publish(self) -> None:
        pass


class ForkedCrew(Crew):
    """Makes copies in a child of another uid.  The child's answers come as lines: one per copy, "-" or "REPLY STATUS ROOM TEXT"."""

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
        self._answers, answers, orders, self._orders = ends
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
        self._hear()

    def abandon(self, why: Outcome) -> None:
        super().abandon(why)
        self._end()

    def publish(self) -> None:
        if self._pid:
            if any(copy.outcome is None for copy in self.copies):
                try:
                    os.write(self._orders, _GO)
                    self._hear()
                except BrokenPipeError:
                    pass                                # it died: its copies end in a surprise
            self._end()
        for copy in self.copies:
            copy.outcome = copy.outcome or outcome.SURPRISE

    def _hear(self) -> None:
        """Take the child's answers; where it dies or hangs the copies without an outcome end in a surprise, which is temporary."""
        data = b""
        poll = select.poll()
        poll.register(self._answers, select.POLLIN)
        while data.count(b"\n") < len(self.copies):
            if not poll.poll(_PATIENCE_S * 1000):
                os.kill(self._pid, 9)
                _hung[self._uid] = clock.tick() + _SPARED_S
                log.event("trouble", what=f"writing into the mailboxes of uid {self._uid} hangs", remedy="its mail is tried again later")
                break
            more = os.read(self._answers, 1 << 16)
            if not more:
                break
            data += more
        lines = data.decode("ascii", "replace").split("\n")
        if len(lines) <= len(self.copies):
            self.abandon(outcome.SURPRISE)
            return
        for copy, line in zip(self.copies, lines, strict=False):
            if line != "-" and copy.outcome is None:
                reply, status, room, text = line.split(" ", 3)
                copy.room = None if room == "-" else int(room)
                copy.outcome = Outcome(int(reply), status, 0 if status[0] == "2" else 75, text)

    def _end(self) -> None:
        if self._pid:
            os.close(self._orders)
            os.close(self._answers)
            os.kill(self._pid, 9)                       # it has said what counts, and its owner may have stopped it: it would never end
            os.waitpid(self._pid, 0)
            self._pid = 0


def room(uid: int, gid: int, maildir: str, quota_octets: int, need_octets: int, *, in_process: bool) -> int | None:
    """How much room a mailbox has (maildirsize.room), asked as its owner; None where that cannot be told now."""
    if in_process:
        try:
            return maildirsize.room(maildir, quota_octets, need_octets)
        except OSError:
            return None
    if clock.tick() < _hung.get(uid, 0.0):
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
    data = os.read(answer, 32) if poll.poll(_ROOM_S * 1000) else b""
    os.close(answer)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
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
