"""schedule: when a message is tried again.  Pure, so that it can be simulated.

The wait after the n-th failed attempt is the n-th of queue.retry (a leading 0s stands for the first attempt, which is made at
once in any case), then half as long again each time up to queue.retry_max; a tenth more or less by a hash of id and attempt,
so that what was deferred together does not come back together (RFC 5321 §4.5.4.1).
"""
from __future__ import annotations

import time
from binascii import crc32
from dataclasses import dataclass

STEP_S = 60


@dataclass(frozen=True, slots=True)
class Schedule:
    """waits_s: after the first, second, ... failed attempt.  All times in seconds."""

    waits_s: tuple[float, ...]
    wait_max_s: float
    lifetime_s: float
    bounce_lifetime_s: float
    warn_after_s: float

    @property
    def step_s(self) -> int:
        """The width of a bucket: a minute, or a second where the schedule has shorter waits."""
        return 1 if min(self.waits_s) < STEP_S else STEP_S

    def wait_s(self, attempts: int, id: str) -> float:
        """How long to wait after that many failed attempts (at least 1)."""
        known = len(self.waits_s)
        plain = self.waits_s[attempts - 1] if attempts <= known else self.waits_s[-1] * 1.5 ** min(attempts - known, 60)
        jitter = crc32(f"{id} {attempts}".encode()) % 2001 / 10000 - 0.1
        return min(plain, max(self.wait_max_s, self.waits_s[0])) * (1 + jitter)

    def lifetime(self, null_sender: bool) -> float:
        return min(self.bounce_lifetime_s, self.lifetime_s) if null_sender else self.lifetime_s

    def due(self, now: float, birth: float, attempts: int, id: str, null_sender: bool) -> float:
        """When to try next: after the wait, but once more just when the lifetime ends rather than after it."""
        end = birth + self.lifetime(null_sender)
        at = now + self.wait_s(attempts, id)
        return end if now < end < at else at

    def expired(self, now: float, birth: float, attempts: int, null_sender: bool) -> bool:
        """Whether to give up.  The age alone does not do it: a clock that jumped, or a host that was away, must not return everything at once."""
        return now >= birth + self.lifetime(null_sender) and attempts >= self.tries(null_sender)

    def tries(self, null_sender: bool) -> int:
        """How many attempts must have been made before it is given up: as many of queue.retry as fit into the lifetime."""
        lifetime_s = self.lifetime(null_sender)
        return max(2, 1 + sum(sum(self.waits_s[:number + 1]) < lifetime_s for number in range(len(self.waits_s))))

    @property
    def longest_wait_s(self) -> float:
        """Nothing is ever put off for longer than this."""
        return max(self.wait_max_s, *self.waits_s) * 1.1 + self.step_s

    def warn(self, now: float, birth: float) -> bool:
        """Whether the sender should have been told by now that the message is late."""
        return 0 < self.warn_after_s <= now - birth < self.lifetime_s


def make(settings) -> Schedule:
    """The schedule of the settings."""
    waits = settings["queue.retry"]
    waits = waits[1:] if waits and waits[0] == 0 else waits
    return Schedule(tuple(max(wait, 0.05) for wait in waits) or (300.0,), settings["queue.retry_max"], settings["queue.lifetime"],
                    settings["queue.bounce_lifetime"], settings["queue.warn_after"])


def bucket(due: float, step_s: int) -> str:
    """The name of the directory below later/ for what is due then: UTC, rounded up, sorting by time."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(-(-due // step_s) * step_s))


def bucket_time(name: str) -> float:
    """When a bucket is due.  Raises ValueError for another name."""
    import calendar
    return float(calendar.timegm(time.strptime(name, "%Y%m%dT%H%M%S")))
