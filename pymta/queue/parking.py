"""parking: a destination that does not answer is parked as a whole, not touched once per message.

    parked/<destination>/<id>.remote

One message at a time is sent as a probe, at the times the schedule gives for one that has failed as often; when it gets through, all the
others follow.  Listing the directory at each probe also finds those whose lifetime is over: their names tell their age.
After a restart every parked destination is probed at once; nothing else is remembered.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from pymta import clock, durable, log
from pymta.formats import queuefile
from pymta.formats.queuefile import Record
from pymta.queue.message import Message
from pymta.queue.schedule import Schedule

TOP = "parked"
PROBE_PATIENCE_S = 1800.0   # longer than any honest attempt takes


@dataclass
class Dead:
    """fails: probes that failed in a row; next_probe: seconds since 1970; probing: a message of it is in todo/ (should nothing
    be heard of it, another follows at next_probe); why: the last answer; next_end: when a lifetime ends or a warning is due; late: whether
    the lifetime of some has ended that have not been tried often enough (the clock jumped, the host was away): another probe decides."""

    fails: int
    next_probe: float
    why: str
    probing: bool = False
    next_end: float | None = None
    late: bool = False


class Parking:
    """destination_of: Message -> key or None; give_up: (path, why) returns an expired message to its sender."""

    def __init__(self, schedule: Schedule, destination_of: Callable[[Message], str | None], give_up: Callable[[str, str], None]) -> None:
        self.schedule = schedule
        self.destination_of = destination_of
        self.give_up = give_up
        self.dead: dict[str, Dead] = {}

    def __bool__(self) -> bool:
        return bool(self.dead)

    def __contains__(self, destination: object) -> bool:
        return destination in self.dead

    def start(self, now: float) -> None:
        for name in os.listdir(TOP):
            if name[0] != ".":
                self.dead[name] = Dead(0, now, "no answer before the last restart")

    def park(self, path: str, destination: str) -> None:
        """Put a message with its dead destination."""
        dead = self.dead[destination]
        name = os.path.basename(path)
        durable.mkdir(f"{TOP}/{destination}", 0o750)
        durable.rename(path, f"{TOP}/{destination}/{name}")
        end = self._end(name)
        if dead.next_end is None or end < dead.next_end:
            dead.next_end = end

    def _end(self, name: str) -> float:
        """The earliest time at which something must be said about a message of this name."""
        birth = _birth(name)
        warn = [birth + self.schedule.warn_after_s] if self.schedule.warn_after_s and birth + self.schedule.warn_after_s > clock.now() else []
        return min([birth + self.schedule.lifetime(True), birth + self.schedule.lifetime(False), *warn],
                   key=lambda at: at if at > clock.now() else at + 1e12)

    def down(self, destination: str, why: str, now: float) -> None:
        """No host of the destination could be reached."""
        dead = self.dead.get(destination)
        if dead is None:
            dead = self.dead[destination] = Dead(0, 0.0, why)
            log.event("park", destination=destination, why=why)
        elif dead.next_probe > now and not dead.probing:
            return                                      # messages that were under way when it died say the same
        dead.why, dead.probing = why, False
        dead.fails += 1
        dead.next_probe = now + self.schedule.wait_s(dead.fails, destination)
        if dead.late:
            dead.next_end = now

    def up(self, destination: str) -> None:
        """It answers again: let everything go."""
        if destination not in self.dead:
            return
        log.event("unpark", destination=destination)
        for name in self._names(destination):
            self._release(destination, name)
        durable.rmdir(f"{TOP}/{destination}")
        del self.dead[destination]                      # not before: what the disk refuses is tried again

    def _names(self, destination: str) -> list[str]:
        try:
            return sorted(name for name in os.listdir(f"{TOP}/{destination}") if name[0] != ".")
        except FileNotFoundError:
            return []

    def _release(self, destination: str, name: str) -> None:
        try:
            durable.rename(f"{TOP}/{destination}/{name}", f"todo/remote/{name}")
        except FileNotFoundError:
            pass

    def due(self, now: float, repeatable: Callable[..., bool], warn: Callable[[str, Message], None]) -> None:
        """Send the probes whose time has come; return or announce what is too late."""
        self._correct(now)
        for destination, dead in list(self.dead.items()):
            if (dead.next_end is not None and dead.next_end <= now) or dead.next_probe <= now:
                self._look(destination, dead, now, repeatable, warn)

    def _look(self, destination: str, dead: Dead, now: float, repeatable: Callable[..., bool],
              warn: Callable[[str, Message], None]) -> None:
        names = self._names(destination)
        left = []
        was_late, dead.late = dead.late, False
        for name in names:
            path = f"{TOP}/{destination}/{name}"
            age = now - _birth(name)
            if age >= self.schedule.lifetime(True) or 0 < self.schedule.warn_after_s <= age:
                repeatable(lambda path: self._old(path, dead, now, warn), path)
                if not os.path.lexists(path):
                    continue
            left.append(name)
        dead.next_end = min(map(self._end, left), default=None)
        if dead.next_end is not None and dead.next_end <= now:
            dead.next_end = None                        # bounces' end has passed for mail that is none: the probes look again
        if dead.late and not was_late and not dead.probing:
            dead.next_probe = min(dead.next_probe, now)
        if not left:
            del self.dead[destination]
            repeatable(durable.rmdir, f"{TOP}/{destination}")
        elif dead.next_probe <= now:
            repeatable(lambda path: self._probe(path, destination, dead), f"{TOP}/{destination}/{left[0]}")

    def _old(self, path: str, dead: Dead, now: float, warn: Callable[[str, Message], None]) -> None:
        with Message(path) as message:
            over = self.schedule.expired(now, message.birth, max(dead.fails, message.attempts), message.null_sender)
            dead.late |= not over and now >= message.birth + self.schedule.lifetime(message.null_sender)
            if not over and self.schedule.warn(now, message.birth):
                if not any(record.word == "deferred" for record in message.records):
                    message.append([Record(message.attempts, int(now), number, "deferred", "4.4.1", dead.why) for number in message.owed],
                                   sync=False)
                warn(path, message)
        if over:
            self.give_up(path, dead.why)

    def _probe(self, path: str, destination: str, dead: Dead) -> None:
        with Message(path) as message:
            message.append([Record(message.attempts, int(clock.now()), None, "probe")], sync=False)
        dead.probing = True
        dead.next_probe = clock.now() + PROBE_PATIENCE_S
        durable.rename(path, f"todo/remote/{os.path.basename(path)}")

    def _correct(self, now: float) -> None:
        """After the clock was set back, what was to be in minutes would be in days."""
        for dead in self.dead.values():
            if dead.next_probe > now + max(self.schedule.longest_wait_s, PROBE_PATIENCE_S):
                dead.next_probe = now

    def next_due(self) -> float | None:
        self._correct(clock.now())
        times = [dead.next_probe for dead in self.dead.values()]
        times += [dead.next_end for dead in self.dead.values() if dead.next_end is not None]
        return min(times, default=None)


def _birth(name: str) -> float:
    try:
        return queuefile.birth(name)
    except ValueError:
        return clock.now()
