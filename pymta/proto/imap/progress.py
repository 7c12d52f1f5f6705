"""progress: what a client that waits is told of a long command.                                       RFC 9585

    * OK [INPROGRESS ("tag" 1000 50000)] Still at it

Said when a command has taken EVERY_S, and each EVERY_S from then on; without the code where the capability is switched off.  A client that has closed its half of the connection is told at
every turn: if it is there no more, the answer of its host to that ends the command.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymta.proto.imap.response import string

EVERY_S = 10.0
EVERY_IF_GONE_S = 0.2


class Progress:
    """tag: of the command; now: the clock; rounds: how many times all is gone through; ended: whether the client says no more;
    coded: whether it is to be told in numbers."""

    def __init__(self, tag: bytes, now: Callable[[], float], rounds: int, ended: Callable[[], bool], coded: bool = True) -> None:
        self._tag = tag
        self._now = now
        self._rounds = rounds
        self._ended = ended
        self._coded = coded
        self._round = -1
        self._said_at = now()
        self._done = 0                                  # never goes back

    def begin(self) -> None:
        """Another round begins."""
        self._round = min(self._round + 1, self._rounds - 1)

    def at(self, done: int, of: int) -> bytes:
        """What to say, where anything: done of so many in this round."""
        now = self._now()
        if abs(now - self._said_at) < (EVERY_IF_GONE_S if self._ended() else EVERY_S):
            return b""
        self._said_at = now
        goal = max(of, 1) * self._rounds
        self._done = max(self._done, (self._round * max(of, 1) + done) * 1000 // goal)
        code = b"[INPROGRESS (%b %d 1000)] " % (string(self._tag), min(self._done, 999)) if self._coded else b""
        return b"* OK %bStill at it\r\n" % code


def of(session: Any, tag: bytes, rounds: int) -> Progress:
    return Progress(tag, session.setting.now, max(rounds, 1), lambda: session.client_ended, b"INPROGRESS" not in session.off)
