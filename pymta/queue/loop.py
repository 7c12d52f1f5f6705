"""loop: how a queue program waits: for names in directories, for a time, for the end.

inotify only wakes; what is worked on is what the directories hold.  A slow look now and then makes a lost event harmless.  One blocking
select, no asyncio: an idle program wakes once in LOOK_S seconds and has nothing but this in memory.
"""
from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable

from pymta import clock, watch
from pymta.daemon import notify, reload
from pymta.settings import Settings

LOOK_S = 60.0


class Loop:
    """directories: path -> work, called with the names (str) that came.  look: works on everything that stands anywhere; called at
    overflow and every LOOK_S.  work returns nothing; its exceptions end the program (a surprise is a bug: the supervisor starts it again)."""

    def __init__(self, directories: dict[str, Callable[[Iterable[str]], None]], look: Callable[[], None]) -> None:
        self.directories = directories
        self.look = look
        self.ending = self._reload = False
        self._came: dict[str, dict[str, None]] = {path: {} for path in directories}
        self._overflow = False
        self._watcher = watch.Watcher()
        for path in directories:
            self._watcher.add(path, self._told, path, watch.MOVED_TO)
        self._wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, self._asked_to_reload)

    def _end(self, number: int, frame: object) -> None:
        self.ending = True

    def _asked_to_reload(self, number: int, frame: object) -> None:
        self._reload = True

    def _told(self, event: watch.Event) -> None:
        path, mask, _, name = event
        if mask & watch.OVERFLOW:
            self._overflow = True
        elif mask & watch.MOVED_TO and name[:1] != b".":
            self._came[str(path)][os.fsdecode(name)] = None

    def run(self, in_force: Settings, due: Callable[[float], None] = lambda now: None,
            next_due: Callable[[], float | None] = lambda: None) -> bool:
        """Work until SIGTERM or SIGINT (False), or until a SIGHUP finds another configuration that is right (True: begin again).
        due(now) is called when next_due() (seconds since 1970) has come."""
        looked = clock.tick()
        longest_s = min(LOOK_S, notify.watch_s() or LOOK_S)
        while not self.ending:
            notify.alive()
            soon = next_due()
            wait_s = longest_s if soon is None else min(longest_s, max(0.0, soon - clock.now()))
            ready = select.select([self._watcher.fileno(), self._wake], [], [], wait_s)[0]
            if self._wake in ready:
                os.read(self._wake, 512)
            if self.ending:
                break
            if self._reload:
                self._reload = False
                if reload.reread(in_force) is not None:
                    return True
            self._watcher.drain()
            for path, names in self._came.items():
                if names:
                    self._came[path] = {}
                    self.directories[path](names)
            if self._overflow or clock.tick() - looked >= LOOK_S - 1:
                self._overflow, looked = False, clock.tick()
                self.look()
            if soon is not None and soon <= clock.now():
                due(clock.now())
        return False
