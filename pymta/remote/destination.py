"""destination: how many connections a destination gets, and what happens where none can be had.

A destination begins with 2 connections; each message that gets through allows one more, up to remote.concurrency.  A 421 or a
connection that fails halves the number (once a second at most), and from then on it grows by one for as many messages as there
are connections.  Connections are kept for the next message and closed where another destination has none.

Where no host lets us in, everything that waits for the destination has the same fate: definite (no such domain, null MX, 521 from
every host) or for now, and then pymta-qrun is told that the destination is down.
"""
from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from dataclasses import dataclass

from pymta import clock, log, outcome
from pymta.formats.transports import Route
from pymta.outcome import Outcome
from pymta.remote.jobs import Jobs, Share
from pymta.remote.report import Reporter
from pymta.remote.session import HandshakeFailed, Session, opportunistic
from pymta.resolver import Hosts, Resolver

FIRST_WINDOW = 2.0
TRIES_MAX = 6                       # addresses tried for one connection
BAD_ADDRESS_S = 60.0                # how long an address that failed is tried last
KEPT_EACH = 100                     # messages at hand for one destination, so that a slow one does not use up the room of all
FAIR_MESSAGES = 10                  # what a connection may send before it makes room for another destination
FORGET_S = 300.0                    # how long an unused destination's window is remembered


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and counts from the settings."""

    connect_s: float
    reply_s: float
    reuse: int
    concurrency: int
    concurrency_all: int


class Pool:
    """All destinations and their connections.  name: what to say in EHLO; tls: False for none."""

    def __init__(self, name: str, limits: Limits, resolver: Resolver, reporter: Reporter, *, tls: bool) -> None:
        self.name = name.encode("ascii", "replace")
        self.limits = limits
        self.resolver = resolver
        self.reporter = reporter
        self.tls: ssl.SSLContext | None = opportunistic() if tls else None
        self.loop = asyncio.get_running_loop()
        self.jobs: Jobs = None                          # type: ignore[assignment]   # set once, right after
        self.destinations: dict[str, Destination] = {}
        self.down: dict[str, str] = {}                  # destinations where nobody answers -> why
        self.open_sessions: set[Session] = set()        # connected, those that are leaving among them
        self.used = 0                                   # connections that count against concurrency_all
        self.waiting: dict[Destination, None] = {}      # destinations that want one more, in order
        self.stopping = False

    def enqueue(self, share: Share, route: Route) -> bool:
        """Give a share to its destination.  Whether it will be sent soon; if not, its file is not kept at hand."""
        destination = self.destinations.get(share.destination)
        if destination is None:
            destination = self.destinations[share.destination] = Destination(self, share.destination, route)
        destination.queue.append(share)
        destination.pump()
        if len(destination.queue) <= KEPT_EACH:
            return True
        self.jobs.let_go(share)
        return False

    def may_open(self, destination: Destination) -> bool:
        """Whether there is room for one more connection; else one that is idle elsewhere is closed, and the destination waits."""
        if self.stopping:
            return False
        if self.used < self.limits.concurrency_all:
            return True
        self.waiting[destination] = None
        for session in self.open_sessions:
            if session.state == "idle" and session.destination is not destination:
                session.leave()                         # calls freed
                break
        return False

    def freed(self) -> None:
        """A connection has gone: the next in the line may have one."""
        self.used -= 1
        while self.waiting and self.used < self.limits.concurrency_all and not self.stopping:
            destination = next(iter(self.waiting))
            del self.waiting[destination]
            destination.pump()

    def forget(self) -> None:
        """Drop destinations that have not been used for long."""
        now = clock.tick()
        for key, destination in list(self.destinations.items()):
            if not destination.queue and not destination.sessions and not destination.opening and now - destination.used > FORGET_S:
                del self.destinations[key]
                self.down.pop(key, None)

    async def stop(self, wait_s: float) -> None:
        """Begin nothing new; let what is under way end, for so long; then cut it."""
        self.stopping = True
        for destination in self.destinations.values():
            destination.drop_queue()
        for task in [task for destination in self.destinations.values() for task in destination.opening]:
            task.cancel()
        for session in list(self.open_sessions):
            session.leave()
        end = clock.tick() + wait_s
        while any(session.state == "busy" for session in self.open_sessions) and clock.tick() < end:
            await asyncio.sleep(0.02)
        for session in list(self.open_sessions):
            session.give_up(outcome.CONNECTION_LOST.because("cut: this host is stopping its service"))
        for destination in self.destinations.values():
            destination.drop_queue()


class Destination:
    """key: its name; route: where it is; queue: shares that wait; sessions: connections that are idle or busy."""

    def __init__(self, pool: Pool, key: str, route: Route) -> None:
        self.pool = pool
        self.key = key
        self.route = route
        self.queue: deque[Share] = deque()
        self.sessions: set[Session] = set()
        self.idle: list[Session] = []
        self.opening: set[asyncio.Task[None]] = set()
        self.window = min(FIRST_WINDOW, float(pool.limits.concurrency))
        self.used = clock.tick()
        self._steady = False                            # it has been too many once: from now on slowly
        self._halved = 0.0
        self._hold_until = 0.0
        self._hold_s = 1.0
        self._bad: dict[str, float] = {}                # IP address -> until when it is tried last

    # ---- what the sessions ask ----------------------------------------------------------------------------------------
    def next_share(self, session: Session) -> Share | None:
        """The next thing to send; None: nothing now, the session waits."""
        if self.queue and not self.pool.stopping:
            return self.queue.popleft()
        self.idle.append(session)
        return None

    def crowded(self, sent: int) -> bool:
        """Whether a connection that has sent so many messages should make room: there are more than there should be, or another
        destination waits and this one has several."""
        mine = len(self.sessions)
        return mine > max(1, int(self.window)) or (mine > 1 and sent >= FAIR_MESSAGES and bool(self.pool.waiting))

    def give_back(self, share: Share) -> None:
        """A share that is to be sent after all, before all others."""
        self.queue.appendleft(share)
        self.pool.loop.call_soon(self.pump)

    def answered(self, share: Share, well: bool) -> None:
        """The share's recipients have their results from a host that spoke with us."""
        if share.job.history:
            self.pool.reporter.up(self.key)
        if well:
            self.window = min(self.window + (1.0 / self.window if self._steady else 1.0), float(self.pool.limits.concurrency))
            if self.queue and len(self.sessions) + len(self.opening) < int(self.window):
                self.pool.loop.call_soon(self.pump)     # after the one that asks has taken its next

    def session_over(self, session: Session, *, trouble: bool) -> None:
        """A connection is no longer of use.  Called once for each that was in sessions."""
        self.sessions.discard(session)
        if session in self.idle:
            self.idle.remove(session)
        if trouble:
            self._back_off()
            self._bad[session.address] = clock.tick() + BAD_ADDRESS_S       # the next connection goes to another host, if there is one
        self.pool.freed()
        if self.queue:
            self.pool.loop.call_soon(self.pump)

    def _back_off(self) -> None:
        now = clock.tick()
        self._steady = True
        if now - self._halved > 1.0:                    # twenty connections that break at once are one misfortune
            self._halved = now
            self.window = max(1.0, self.window / 2)

    # ---- connections --------------------------------------------------------------------------------------------------
    def pump(self) -> None:
        """Put idle connections to work, and open more if there is reason and room."""
        self.used = clock.tick()
        while self.queue and self.idle:
            self.idle.pop().work()
        while (len(self.opening) < len(self.queue) and len(self.sessions) + len(self.opening) < int(self.window)
               and self.used >= self._hold_until and self.pool.may_open(self)):
            self.pool.used += 1
            task = self.pool.loop.create_task(self._connect())
            self.opening.add(task)

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        answer: Session | Outcome = outcome.SURPRISE
        try:
            answer = await self._first_that_lets_us_in()
        except Exception as error:
            log.bug(f"connect to {self.key}", error)
        finally:
            self.opening.discard(task)
            if not isinstance(answer, Session):
                self.pool.freed()
        if isinstance(answer, Session):
            self._hold_s = 1.0
            self.pool.down.pop(self.key, None)
            self.sessions.add(answer)
            answer.work()
        elif not self.pool.stopping:
            await self._refused(answer)

    async def _first_that_lets_us_in(self) -> Session | Outcome:
        hosts = await self._locate()
        if isinstance(hosts, Outcome):
            return hosts
        now = clock.tick()
        addresses = [(host, address) for host, addresses in hosts for address in addresses]
        addresses.sort(key=lambda pair: self._bad.get(pair[1], 0.0) > now)
        endings: list[Outcome] = []
        for host, address in addresses[:TRIES_MAX]:
            answer = await self._try(host, address, self.pool.tls)
            if isinstance(answer, Session):
                self._bad.pop(address, None)
                return answer
            self._bad[address] = clock.tick() + BAD_ADDRESS_S
            endings.append(answer)
        return next((ending for ending in endings if ending.temporary), endings[0])

    async def _locate(self) -> Hosts | Outcome:
        if self.route.mx:
            return await self.pool.resolver.hosts(self.route.host)
        addresses = await self.pool.resolver.addresses(self.route.host)
        return addresses if isinstance(addresses, Outcome) else [(self.route.host, addresses)]

    async def _try(self, host: str, address: str, tls: ssl.SSLContext | None) -> Session | Outcome:
        session = Session(self, host, address, tls=tls)
        try:
            closed = await session.open(self.route.port)
        except HandshakeFailed as error:
            log.event("close", destination=self.key, host=session.where, why=f"TLS handshake failed: {error}; trying again in clear")
            return await self._try(host, address, None)
        except OSError as error:
            session.hang_up()
            return outcome.NO_HOST.because(f"{session.where} port {self.route.port}: {_why(error)}")
        except BaseException:
            session.hang_up()
            raise
        if closed is None:
            return session
        text = f"{session.where} said: {closed.outcome.text}" if closed.said else f"{session.where}: {closed.outcome.text}"
        if closed.outcome.reply == 521 or closed.outcome.temporary:      # RFC 7504 §3: 521 is meant for ever
            return closed.outcome.because(text)
        # Any other no at the door is about us, not about the recipient: mail is kept, and another host may take it
        return Outcome(451, "4" + closed.outcome.status[1:], outcome.NO_HOST.exit, outcome.clean(text))

    async def _refused(self, ending: Outcome) -> None:
        """A connection could not be had: go on with those there are, or give up for now."""
        if self.sessions:
            self._back_off()
            self._hold_until = clock.tick() + self._hold_s
            self.pool.loop.call_later(self._hold_s, self.pump)
            self._hold_s = min(60.0, self._hold_s * 2)
        elif not self.opening:                          # else those that still try decide
            self._back_off()
            await self._all(ending)

    async def _all(self, ending: Outcome) -> None:
        """The same fate for everything that waits."""
        shares, self.queue = self.queue, deque()
        jobs = self.pool.jobs
        if ending.temporary:
            self.pool.down[self.key] = ending.text
        else:
            self.pool.down.pop(self.key, None)          # a definite answer is an answer
        for count, share in enumerate(shares, 1):
            for number in share.numbers:
                jobs.result(share.job, number, ending, self.key, ending.text, "")
            jobs.ended(share)
            if count % 1000 == 0:
                await asyncio.sleep(0)

    def drop_queue(self) -> None:
        """Leave what waits for the next start of the program."""
        while self.queue:
            self.pool.jobs.ended(self.queue.popleft())


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "connection timed out"
    # asyncio puts words of its own in the place of the system's
    return os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
