"""rates: what one client, and one network, asks of a daemon, counted by all its workers together.

A table in shared memory, made before the workers are forked.  Each worker has a part of its own, which it alone writes; to know a
total it reads the same key in the parts of the others.  So there is no lock, no message between processes, and no process more:
a look-up is one bytes.find in 64 octets for each worker.  Workers that look at the same moment may each let in the last one.

    part = used, keys of 8 octets, rows:   open now | for each of EVENTS: (level, when)
    key  = keyed hash of what is counted, "192.0.2.7" or "192.0.2.0/24", in one of the WAYS places that the hash allows

A level is a bucket that leaks in proportion to what is in it: it falls to 1/e within its time.  Such levels can be added up, so
the sum over the workers is the level of the whole; at a limit of N a client may come N times at once and then N times within the time.

The memory is fixed.  Where all places of a key are taken, the one with the least in it is given away: who floods the table from
many addresses makes it forget the quiet ones, never those who are connected while there is another place.
"""
from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from math import exp
from struct import Struct

CONNECTS, MESSAGES, ERRORS = 0, 1, 2
TIMES_S = (60.0, 60.0, 600.0)                           # of connections, messages and errors
SLOTS, WAYS = 4096, 8

_ROW = Struct("<qdddddd")
_LEVEL = Struct("<dd")
_OPEN = Struct("<q")
_CROWD = Struct("<qdd")
_KEY_OCTETS = 8
_HEAD_OCTETS = 8


class Table:
    """The memory.  workers: how many parts."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.part_octets = _HEAD_OCTETS + SLOTS * (_KEY_OCTETS + _ROW.size)
        self.memory = mmap.mmap(-1, workers * self.part_octets)
        self.secret = os.urandom(16)


class Counts:
    """A worker's view of the table.  number: of its part; now: a clock that all workers share (seconds)."""

    def __init__(self, table: Table, number: int, now: Callable[[], float]) -> None:
        self._memory = table.memory
        self._now = now
        self._secret = table.secret
        self.workers = table.workers
        self._parts = [at * table.part_octets for at in range(table.workers)]
        self._mine = self._parts[number]
        if self._memory[self._mine]:                    # the worker before us died: its connections are gone
            self._memory[self._mine:self._mine + table.part_octets] = bytes(table.part_octets)
        self._memory[self._mine] = 1

    def key(self, name: str) -> bytes:
        """Where name is counted."""
        return blake2b(name.encode("ascii", "replace"), digest_size=_KEY_OCTETS, key=self._secret).digest()

    def open(self, key: bytes) -> int:
        """Connections that are open now."""
        total = 0
        for part in self._parts:
            if (row := self._find(part, key)) is not None:
                total += _OPEN.unpack_from(self._memory, row)[0]
        return total

    def level(self, key: bytes, event: int) -> float:
        """How often event came lately."""
        now, total = self._now(), 0.0
        for part in self._parts:
            if (row := self._find(part, key)) is not None:
                level, when = _LEVEL.unpack_from(self._memory, row + 8 + 16 * event)
                if level:
                    total += level * exp(min(0.0, when - now) / TIMES_S[event])
        return total

    def crowd(self, key: bytes) -> tuple[int, float]:
        """(open, level of CONNECTS) with one look."""
        now, total, connects = self._now(), 0, 0.0
        for part in self._parts:
            if (row := self._find(part, key)) is not None:
                open_, level, when = _CROWD.unpack_from(self._memory, row)
                total += open_
                connects += level * exp(min(0.0, when - now) / TIMES_S[CONNECTS])
        return total, connects

    def enter(self, key: bytes) -> None:
        """A connection was opened."""
        row = self._place(key)
        _OPEN.pack_into(self._memory, row, _OPEN.unpack_from(self._memory, row)[0] + 1)
        self._add(row, CONNECTS, 1.0)

    def leave(self, key: bytes) -> None:
        """A connection has gone; one that was forgotten meanwhile does not count."""
        row = self._find(self._mine, key)
        if row is not None:
            _OPEN.pack_into(self._memory, row, max(0, _OPEN.unpack_from(self._memory, row)[0] - 1))

    def add(self, key: bytes, event: int, times: float = 1.0) -> None:
        self._add(self._place(key), event, times)

    # ---- places -------------------------------------------------------------------------------------------------------
    def _add(self, row: int, event: int, times: float) -> None:
        at, now = row + 8 + 16 * event, self._now()
        level, when = _LEVEL.unpack_from(self._memory, at)
        _LEVEL.pack_into(self._memory, at, level * exp(min(0.0, when - now) / TIMES_S[event]) + times, now)

    def _find(self, part: int, key: bytes) -> int | None:
        """Where the row of a key is."""
        first = _first(key)
        begin = part + _HEAD_OCTETS + first * _KEY_OCTETS
        end, at = begin + WAYS * _KEY_OCTETS, begin
        while (at := self._memory.find(key, at, end)) >= 0:
            if (at - begin) % _KEY_OCTETS == 0:
                return self._row(part, first + (at - begin) // _KEY_OCTETS)
            at += 1
        return None

    def _place(self, key: bytes) -> int:
        """The row of a key in our part; made where it is missing."""
        row = self._find(self._mine, key)
        if row is not None:
            return row
        first, now = _first(key), self._now()
        slot = min(range(first, first + WAYS), key=lambda slot: self._weight(self._row(self._mine, slot), now))
        row = self._row(self._mine, slot)
        self._memory[row:row + _ROW.size] = bytes(_ROW.size)
        at = self._mine + _HEAD_OCTETS + slot * _KEY_OCTETS
        self._memory[at:at + _KEY_OCTETS] = key
        return row

    def _weight(self, row: int, now: float) -> float:
        """How much would be forgotten."""
        open_, *levels = _ROW.unpack_from(self._memory, row)
        return open_ * 1e9 + sum(levels[2 * event] * exp(min(0.0, levels[2 * event + 1] - now) / time_s) for event, time_s in enumerate(TIMES_S))

    @staticmethod
    def _row(part: int, slot: int) -> int:
        return part + _HEAD_OCTETS + SLOTS * _KEY_OCTETS + slot * _ROW.size


def _first(key: bytes) -> int:
    """The first of the places a key may have."""
    return int.from_bytes(key[:4], "little") % (SLOTS // WAYS) * WAYS


@lru_cache(4096)
def network(address: str, ipv4_bits: int, ipv6_bits: int) -> str:
    """The network of an address, "192.0.2.0/24"; what is no address is its own network."""
    try:
        ip = ip_address(address)
        return str(ip_network((ip, ipv4_bits if ip.version == 4 else ipv6_bits), strict=False))
    except ValueError:
        return address
