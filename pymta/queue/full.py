"""full: mailboxes without room, told by pymta-local to those who take mail.                  pymta-queue(5)

    state/local/full/NAME    "room=" octets SP "need=" octets SP "quota=" octets SP "address=" address LF

NAME is the mailbox's address, or a hash of it where it is too long for a name.  room: what fits still; need: the size of the message
that did not fit.  pymta-local alone writes here, and looks again once a minute; a mailbox whose file has gone has room.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from pymta import clock, durable, log

PLACE = "state/local/full"
LOOK_EVERY_S = 1.0
_NAME_MAX = 200


@dataclass(frozen=True, slots=True)
class Mark:
    address: str
    room: int
    need: int
    quota: int

    def fits(self, octets: int) -> bool:
        return self.room >= max(octets, low(self.quota))


def low(quota_octets: int) -> int:
    """With less room than this a mailbox is full, whatever the size of the next message."""
    return min(64 << 10, quota_octets // 16)


def name_of(address: str) -> str:
    plain = address.isascii() and address.isprintable() and "/" not in address and len(address) <= _NAME_MAX and address[:1] != "."
    return address if plain else sha256(address.encode("utf-8", "surrogateescape")).hexdigest()


def encode(mark: Mark) -> bytes:
    return f"room={mark.room} need={mark.need} quota={mark.quota} address={mark.address}\n".encode("utf-8", "surrogateescape")


def decode(data: bytes) -> Mark:
    """Raises ValueError."""
    values = dict(word.split("=", 1) for word in data.decode("utf-8", "surrogateescape").rstrip("\n").split(" ", 3))
    try:
        return Mark(values["address"], int(values["room"]), int(values["need"]), int(values["quota"]))
    except KeyError as error:
        raise ValueError(f"no {error.args[0]}") from None


def _read_all() -> dict[str, Mark]:
    """address -> mark; what is being written or cannot be read is left out.  Raises OSError for the directory."""
    marks = {}
    for name in os.listdir(PLACE):
        try:
            with open(f"{PLACE}/{name}", "rb") as file:
                mark = decode(file.read(4096))
        except (OSError, ValueError):
            continue
        if name == name_of(mark.address):
            marks[mark.address] = mark
    return marks


class Marks:
    """For pymta-local, which writes them."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        try:
            self.marks = _read_all()
        except OSError:
            pass                                        # layout makes it; nobody is full then

    def note(self, address: str, room: int, quota: int, need: int = 0) -> None:
        """What is known of a mailbox now."""
        before = self.marks.get(address)
        need = max(need, before.need if before else 0)
        mark = Mark(address, room, need, quota)
        if room >= max(low(quota), need):
            if before is not None:
                self.drop(address)
        elif before is None or (before.room, before.quota, before.need) != (room, quota, need):
            try:
                durable.replace(f"{PLACE}/{name_of(address)}", encode(mark), 0o644)
                self.marks[address] = mark
            except OSError as error:
                log.event("trouble", what=f"cannot write in {PLACE}", why=error.strerror or str(error), remedy="make the places, see pymta(7)")

    def drop(self, address: str) -> None:
        try:
            durable.unlink_if_there(f"{PLACE}/{name_of(address)}")
            self.marks.pop(address, None)
        except OSError as error:
            log.event("trouble", what=f"cannot remove {PLACE}/{name_of(address)}", why=error.strerror or str(error))

    def look(self, again: Callable[[Mark], int | None], limit: int = 100) -> None:
        """Ask again of each how much room there is; None: it is no mailbox with a quota any more.  The rest next time."""
        for address, mark in list(self.marks.items())[:limit]:
            room = again(mark)
            if room is None:
                self.drop(address)
            else:
                self.note(address, room, mark.quota)
            if address in self.marks:                   # to the end of the line
                self.marks[address] = self.marks.pop(address)


class Full:
    """For who takes mail: looked at once a second at most, and read when something has changed."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self._looked = -10.0
        self._version = 0

    def __bool__(self) -> bool:
        """Whether any mailbox is full."""
        now = clock.tick()
        if now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            try:
                version = os.stat(PLACE).st_mtime_ns
                if version != self._version:
                    self.marks = _read_all()
                    self._version = version if clock.now() - version / 1e9 > 0.1 else 0     # it may change again within one tick
            except OSError:
                self.marks, self._version = {}, 0
        return bool(self.marks)
