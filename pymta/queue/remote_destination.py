"""remote_destination: how many connections a destination gets, and what happens where none can be had.

A destination begins with 2 connections; each message that gets through allows one more, up to remote.concurrency.  A 421 or a
connection that fails halves the number (once a second at most), and from then on it grows by one for as many messages as there
are connections.  Connections are kept for the next message and closed where another destination has none.

Where no host lets us in, everything that waits for the destination has the same fate: definite (no such domain, null MX, 521 from
every host) or for now, and then pymta-qrun is told that the destination is down.
"""
from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass

from pymta import clock, log, outcome
from pymta.formats.transports import Route
from pymta.outcome import Outcome
from pymta.queue.remote_jobs import Jobs, Share
from pymta.queue.remote_report import Reporter
from pymta.queue.remote_session import HandshakeFailed, Session, opportunistic
from pymta.resolver import Hosts, Resolver

FIRST_WINDOW = 2.0
TRIES_MAX = 6                       # addresses tried for one connection
BAD_ADDRESS_S = 60.0                # how long an address that failed is tried last
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
        self.open_sessions: set[Session] = set()        # connected, those that are leaving among them
        self.used = 0                                   # connections that count against concurrency_all
        self.waiting: dict[Destination, None] = {}      # destinations that want one more, in order
        self.stopping = False

    def enqueue(self, share: Share) -> None:
        destination = self.destinations.get(share.destination)
        if destination is None:
            domain = share.destination
            destination = self.destinations[share.destination] = Destination(self, share.destination, self._route(share, domain))
        destination.add(share)

    def _route(self, share: Share, domain: str) -> Route:
        opened = share.opened
        assert opened is not None or domain
        return self.jobs.route_of(share)

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

    async def stop(self, wait_s: float) -> None:
        """Begin nothing new; let what is under way end, for so long; then cut it."""
        self.stopping = True
        for destination in self.destinations.values():
            destination.drop_queue()
        for session in list(self.open_sessions):
            session.leave()
        end = clock.tick() + wait_s
        while any(session.state == "busy" for session in self.open_sessions) and clock.tick() < end:
            await asyncio.sleep(0.02)
        for destination in self.destinations.values():
            for task in destination.opening:
                task.cancel()
        for session in list(self.open_sessions):
            session.give_up(outcome.CONNECTION_LOST.because("this host is stopping its service"))
        for destination in self.destinations.values():
            destination.drop_queue()
