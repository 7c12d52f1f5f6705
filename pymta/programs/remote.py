"""pymta-remote: deliver messages to other hosts by SMTP or LMTP.                          pymta-remote(8)"""
from __future__ import annotations

import asyncio
import os
import signal
from collections import deque

from pymta import log
from pymta.daemon import notify, reload
from pymta.formats import report
from pymta.formats.transports import Transports
from pymta.queue.begin import begin
from pymta.remote.destination import Limits, Pool
from pymta.remote.file import TODO
from pymta.remote.jobs import Jobs
from pymta.remote.report import Reporter
from pymta.resolver import Resolver, is_own
from pymta.settings import Settings
from pymta.watch import MOVED_FROM, MOVED_TO, OVERFLOW, Event, Watcher

NAME = "pymta-remote"
LOOK_S = 60.0                       # a lost event is made good for after so long
ADMIT_A_TURN = 16
ADMIT_WAIT_S = 0.01                 # between turns, while what is admitted has to wait anyway
NAMES_MAX = 200_000                 # known at a time; the rest is found by the next look
STOP_S = 4.0


class Remote:
    """The program's life: names come from todo/remote and are admitted a few at a time."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        limits = Limits(config["remote.connect_timeout"], config["remote.timeout"], max(1, config["remote.reuse"]),
                        max(1, config["remote.concurrency"]), max(1, config["remote.concurrency_all"]))
        ports = frozenset((25, *(port for _, port in config["smtp.listen"])))
        resolver = Resolver(config.host, server=config["dns.server"], timeout_s=config["dns.timeout"], port=config["remote.port"],
                            own_ports=ports, own_addresses=config["host.addresses"])
        transports = Transports(os.path.join(config.etc, "transports"), config["remote.smarthost"], config["remote.port"])
        self.reporter = Reporter()
        self.pool = Pool(config.host, limits, resolver, self.reporter, tls=config["remote.tls"] != "never")
        self.jobs = Jobs(transports, self.pool.enqueue, self.reporter, recipients_max=config["remote.recipients_max"], is_own=is_own,
                         down=self.pool.down)
        self.pool.jobs = self.jobs
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(_surprise)
        self.names: deque[str] = deque()
        self._admitting = self._again = False
        self._stop = asyncio.Event()

    async def run(self) -> bool:
        """Work until a signal says stop (False), or until a SIGHUP finds another configuration that is right (True: begin again)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._stop.set)
        self.loop.add_signal_handler(signal.SIGHUP, self._reload)
        watcher = Watcher()
        watcher.add(TODO, self._told, mask=MOVED_FROM | MOVED_TO)
        self.loop.add_reader(watcher.fileno(), watcher.drain)
        report.tidy(".", "remote")
        self.jobs.read_unread()
        self._look()
        notify.notify("READY=1")
        log.event("start", pid=os.getpid())
        self._live(notify.watch_s())
        await self._stop.wait()
        self.loop.remove_reader(watcher.fileno())
        self.names.clear()
        await self.pool.stop(STOP_S)
        await self.reporter.flush()
        self.jobs.unlinker.flush()
        return self._again

    def _reload(self) -> None:
        if reload.reread(self.config) is not None:
            self._again = True
            self._stop.set()

    def _live(self, every_s: float | None) -> None:
        """Say that the loop goes round, where somebody wants to know."""
        if every_s is not None:
            notify.alive()
            self.loop.call_later(every_s, self._live, every_s)

    # ---- names --------------------------------------------------------------------------------------------------------
    def _told(self, event: Event) -> None:
        _, mask, _, raw = event
        name = os.fsdecode(raw)
        if mask & OVERFLOW:
            self._take(self.jobs.look())
        elif mask & MOVED_FROM:
            self.jobs.moved_out(name)
        elif self.jobs.moved_in(name):
            self._take([name])

    def _look(self) -> None:
        """See what lies there, now and once in a while."""
        self.loop.call_later(LOOK_S, self._look)
        try:
            self._take(self.jobs.look())
        except OSError as error:
            log.event("trouble", what=f"cannot list {TODO}", why=error.strerror or str(error))
        self.pool.forget()

    def _take(self, names: list[str]) -> None:
        if len(names) > 1:
            waiting = set(self.names)
            names = [name for name in names if name not in waiting]
        self.names.extend(names[:max(0, NAMES_MAX - len(self.names) - len(self.jobs.running))])
        if self.names and not self._admitting:
            self._admitting = True
            self.loop.call_soon(self._admit)

    def _admit(self) -> None:
        """Open the next few.  While they can be kept at hand there is no pause; else most would be read twice."""
        kept = True
        for _ in range(min(ADMIT_A_TURN, len(self.names))):
            name = self.names.popleft()
            try:
                kept = self.jobs.admit(name) and kept
            except Exception as error:
                self.jobs.reported.add(name)            # left alone until the next look finds no report to wait for
                log.bug(f"{TODO}/{name}", error)
        self._admitting = bool(self.names)
        if self.names and not self._stop.is_set():
            self.loop.call_later(0 if kept else ADMIT_WAIT_S, self._admit)


def _surprise(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """What asyncio would print on standard error in a shape of its own."""
    error = context.get("exception")
    if isinstance(error, Exception) and not isinstance(error, OSError):     # an OSError is a peer's; its session has been told
        log.bug(str(context.get("message", "loop")), error)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when asked to stop, 78 for a setting it cannot work with; else as begin() says."""
    config, instance = begin(NAME, "Deliver messages to other hosts by SMTP or LMTP.", argv, account=NAME, umask=0o027)
    with instance:
        another = asyncio.run(_run(config))
    if another is None:
        return 78
    if another:
        reload.again()
    log.event("stop")
    return 0


async def _run(config: Settings) -> bool | None:
    """Whether to begin again; None for a setting it cannot work with."""
    try:
        remote = Remote(config)
    except ValueError as error:
        log.event("trouble", what="dns.server", why=str(error), remedy="write an IP address and a port: dns.server = 127.0.0.1:53")
        return None
    return await remote.run()
