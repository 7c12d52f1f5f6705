"""limits: how much a login may send, and to how many it has never written before.

    worker:  verdict = await limits.ask(login, recipient)       for each RCPT of somebody who is logged in
    child:   counts for all workers, keeps state/smtpd/LOGIN.contacts (formats/contacts.py)

Over smtp.login_rate a recipient is refused for now (452 4.7.1).  Over smtp.new_recipients_per_day the message is taken, and held: a stolen
password is used to write to thousands of strangers, its owner writes to people she knows.  Both tell the admin, once an
hour at most for each login.  Strangers over the limit stay strangers.

One line of JSON a question, [login, key of the recipient], and one an answer, [fate, why, alarm or null], in the same order.  What was sent
within an hour or a day is in memory only and begins anew with the daemon, and at a reload; contacts, and so the day's strangers, are on disk.
"""
from __future__ import annotations

import asyncio
import errno
import json
import os
import select
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymta import clock, durable, log
from pymta.formats import contacts
from pymta.serve.line import Line
from pymta.settings import Settings

if TYPE_CHECKING:
    from pymta.serve import Clients, Worker

PLACE = "state/smtpd"
OK, OVER, HOLD = "ok", "over", "hold"
_SLICES = 60                                            # of a time in which is counted: what is older than all of them is forgotten
_DAY_S = 86400.0
_ALARM_EVERY_S = 3600.0
_LOGINS_MAX = 2000                                      # in memory
_CHUNK_OCTETS = 1 << 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """fate: OK, OVER or HOLD; why: for the client and the log; alarm: what the admin is to be told now, or None."""

    fate: str
    why: str = ""
    alarm: str | None = None


def wanted(settings: Settings) -> bool:
    """Whether anything is limited."""
    return bool(settings["smtp.login_rate"] or settings["smtp.new_recipients_per_day"])


# ---- counting ---------------------------------------------------------------------------------------------------------
class Rate:
    """At most so many within a time (seconds), which slides on in steps of a sixtieth."""

    def __init__(self, most: int, time_s: float) -> None:
        self.most = most
        self.time_s = time_s
        self._slices: deque[list[int]] = deque()        # [number of the slice, count]
        self._sum = 0

    def full(self, now: float) -> bool:
        slice_ = int(now * _SLICES / self.time_s)
        while self._slices and self._slices[0][0] <= slice_ - _SLICES:
            self._sum -= self._slices.popleft()[1]
        return self._sum >= self.most

    def add(self, now: float) -> None:
        slice_ = int(now * _SLICES / self.time_s)
        if not self._slices or self._slices[-1][0] != slice_:
            self._slices.append([slice_, 0])
        self._slices[-1][1] += 1
        self._sum += 1


class Ledger:
    """One login's account.  known: of contacts.decode; new: those that were not in it before and belong on disk."""

    def __init__(self, rates: tuple[tuple[int, float], ...], strangers: int, known: dict[str, int]) -> None:
        self._rates = [Rate(most, time_s) for most, time_s in rates]
        self._strangers = strangers
        self.known = known
        self._met = deque(when for when in known.values())
        self._alarmed = -_ALARM_EVERY_S

    def ask(self, login: str, recipient: str, now: float, tick: float) -> tuple[Verdict, bool]:
        """(the verdict on one more recipient, whether it has become a contact).  now: seconds since 1970; tick: of the clock that never jumps."""
        full = next((rate for rate in self._rates if rate.full(tick)), None)
        if full is not None:
            return self._alarm(OVER, f"{login} has written to {full.most} recipients within {_words(full.time_s)}, as many as smtp.login_rate "
                               "allows; more are refused for now", tick), False
        for rate in self._rates:
            rate.add(tick)
        if not self._strangers or recipient in self.known:
            return Verdict(OK), False
        while self._met and self._met[0] <= now - _DAY_S:
            self._met.popleft()
        if len(self._met) >= self._strangers:
            return self._alarm(HOLD, f"{login} has written to {self._strangers} recipients within a day to whom it never wrote before; "
                               "mail to more of them is held", tick), False
        self.known[recipient] = int(now)
        self._met.append(int(now))
        return Verdict(OK), True

    def _alarm(self, fate: str, why: str, tick: float) -> Verdict:
        if tick - self._alarmed < _ALARM_EVERY_S:
            return Verdict(fate, why)
        self._alarmed = tick
        return Verdict(fate, why, why)


def _words(time_s: float) -> str:
    return {3600.0: "an hour", 86400.0: "a day", 60.0: "a minute"}.get(time_s, f"{time_s:g} s")


# ---- the worker's end -------------------------------------------------------------------------------------------------
class Limits:
    def __init__(self, worker: "Worker", helper: str = "limits") -> None:
        self._loop = worker.loop
        self._asked: deque[asyncio.Future[Verdict]] = deque()
        self._line = Line(worker, helper, self._heard, self._gone)

    async def ask(self, login: str, recipient: bytes) -> Verdict:
        """Whether login may write to recipient, which counts as done.  Raises OSError while the child is away."""
        if self._line.away:
            raise OSError(errno.EAGAIN, "the child that counts is away")
        answer: asyncio.Future[Verdict] = self._loop.create_future()
        self._asked.append(answer)
        self._line.say(json.dumps([login, contacts.key(recipient)]).encode("ascii") + b"\n")
        return await answer

    def _gone(self) -> None:
        while self._asked:
            if not (answer := self._asked.popleft()).done():
                answer.set_exception(OSError(errno.EAGAIN, "the child that counts ended"))

    def _heard(self, lines: list[bytes]) -> None:
        for line in lines:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_result(Verdict(*json.loads(line)))


# ---- the child --------------------------------------------------------------------------------------------------------
def helper_main(settings: Settings, clients: "Clients") -> None:
    """The child's life: answer every worker until the parent is gone."""
    book = _Book(settings)
    poll = select.epoll()
    poll.register(clients.fileno(), select.EPOLLIN)
    workers: dict[int, tuple[socket.socket, bytes]] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == clients.fileno():
                worker = clients.next()
                if worker is None:
                    return
                workers[worker.fileno()] = worker, b""
                poll.register(worker.fileno(), select.EPOLLIN)
                continue
            sock, rest = workers[fd]
            try:
                data = sock.recv(_CHUNK_OCTETS)
                *lines, rest = (rest + data).split(b"\n")
                if data:
                    sock.sendall(b"".join(json.dumps(book.answer(*json.loads(line))).encode("ascii") + b"\n" for line in lines))
            except (OSError, ValueError, TypeError):
                data = b""                              # it has died, or talks nonsense
            workers[fd] = sock, rest
            if not data:
                poll.unregister(fd)
                workers.pop(fd)[0].close()


class _Book:
    """The ledgers of all logins; those asked for lately are in memory."""

    def __init__(self, settings: Settings) -> None:
        self._rates: tuple[tuple[int, float], ...] = settings["smtp.login_rate"]
        self._strangers: int = settings["smtp.new_recipients_per_day"]
        self._ledgers: dict[str, Ledger] = {}
        self._troubled = False

    def answer(self, login: str, recipient: str) -> list[object]:
        ledger = self._ledgers.pop(login, None)
        if ledger is None:
            ledger = Ledger(self._rates, self._strangers, self._read(login) if self._strangers else {})
        self._ledgers[login] = ledger                   # the last used stand last
        if len(self._ledgers) > _LOGINS_MAX:
            del self._ledgers[next(iter(self._ledgers))]
        verdict, met = ledger.ask(login, recipient, clock.now(), clock.tick())
        if met:
            self._write(login, recipient, ledger)
        return [verdict.fate, verdict.why, verdict.alarm]

    def _read(self, login: str) -> dict[str, int]:
        try:
            with open(f"{PLACE}/{contacts.file_name(login)}", "rb") as file:
                return contacts.decode(file.read())
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._trouble(error)
            return {}

    def _write(self, login: str, recipient: str, ledger: Ledger) -> None:
        path = f"{PLACE}/{contacts.file_name(login)}"
        try:
            if len(ledger.known) > contacts.KEEP:
                for old in list(ledger.known)[:contacts.KEEP // 2]:
                    del ledger.known[old]
                durable.replace(path, b"".join(contacts.encode(when, key) for key, when in ledger.known.items()), 0o600)
                return
            if not os.path.exists(path):
                durable.create(path, b"", 0o600, sync=False)
            durable.append(path, contacts.encode(ledger.known[recipient], recipient), sync=False)
            self._troubled = False
        except OSError as error:
            self._trouble(error)

    def _trouble(self, error: OSError) -> None:
        """Counting goes on in memory."""
        if not self._troubled:
            self._troubled = True
            log.event("trouble", what=f"cannot keep contacts in {PLACE}", why=error.strerror or str(error), remedy="mend the place")
