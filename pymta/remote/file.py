"""file: one file of todo/remote, open for sending.  The working directory is the spool."""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta.formats import queuefile
from pymta.message import address, downgrade
from pymta.proto.smtp_client import Transaction
from pymta.queue import wishes

TODO = "todo/remote"
FIRST_OCTETS = 1 << 16              # read at once; a message that fits is kept in memory, and its file closed
CHUNK_OCTETS = 1 << 17


class Opened:
    """A queue file open for sending.  envelope, records; small: the whole message is in memory and no file is open."""

    __slots__ = ("_several", "converted", "envelope", "eight_bit", "fd", "head", "owed", "records", "small")

    def __init__(self, name: str) -> None:
        """Raises FileNotFoundError, OSError, queuefile.Damaged."""
        self.fd = os.open(f"{TODO}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self.envelope, self.head = queuefile.read_envelope(self.fd, first_octets=FIRST_OCTETS)
            if os.fstat(self.fd).st_size < self.envelope.size_octets:
                raise queuefile.Damaged("the file is shorter than its seal says")
            self.records, _ = queuefile.read_records(self.fd, self.envelope)
        except BaseException:
            os.close(self.fd)
            raise
        self.owed = queuefile.owed(self.envelope, self.records)
        self.small = len(self.head) >= self.envelope.size_octets
        self.eight_bit: bool | None = None              # not known yet
        self.converted: bytes | None = None             # what is sent in place of the message
        self._several: dict[int, tuple[int, ...]] | None = None
        if self.small:
            os.close(self.fd)
            self.fd = -1
            self.head = self.head[:self.envelope.size_octets]
            self.eight_bit = not self.head[self.envelope.head_octets:].isascii()
        elif self.envelope.facts.get("body") == "8BITMIME":
            self.eight_bit = True                       # its sender said so: it need not be looked through

    @property
    def wire_octets(self) -> int:
        """The message's size with CR LF."""
        if self.converted is not None:
            return len(self.converted) + self.converted.count(b"\n")
        head_lines = self.head.count(b"\n", 0, self.envelope.head_octets)
        return self.envelope.size_octets - self.envelope.head_octets + self.envelope.lines - head_lines

    def chunks(self, fd: int | None = None) -> Iterator[bytes]:
        """The message from its first octet.  Raises OSError if it cannot be read to its end: then nothing may end it."""
        at, end = self.envelope.head_octets, self.envelope.size_octets
        if self.converted is not None:
            yield self.converted
            return
        if self.small:
            yield self.head[at:end]
            return
        while at < end:
            chunk = os.pread(self.fd if fd is None else fd, min(CHUNK_OCTETS, end - at), at)
            if not chunk:
                raise OSError(f"queue file ends at {at} of {end} octets")
            at += len(chunk)
            yield chunk

    def scan(self, fd: int) -> None:
        """Learn whether a big message has bytes above 127.  May wait for the disk: run it in a thread, with a descriptor of its
        own, which is closed."""
        try:
            self.eight_bit = not all(chunk.isascii() for chunk in self.chunks(fd))
        finally:
            os.close(fd)

    def convert(self, fd: int) -> None:
        """Make it 7-bit.  fd: as for scan, or -1 for a small message.  Raises downgrade.Signed, downgrade.Impossible, OSError."""
        try:
            self.converted = downgrade.seven_bit(b"".join(self.chunks(fd)))
        finally:
            if fd >= 0:
                os.close(fd)

    @property
    def utf8(self) -> bool:
        """Whether it may only go where SMTPUTF8 is known: its sender said SMTPUTF8, and its header is not ASCII.  (A sender that says so of
        every mail loses nothing by it: what needs no SMTPUTF8 may go without, RFC 6531 §3.6.)"""
        if self.envelope.facts.get("utf8") != "1" or not self.eight_bit:
            return False
        end = self.head.find(b"\n\n", self.envelope.head_octets - 1)
        return end < 0 or not self.head[self.envelope.head_octets:end].isascii()

    def transaction(self, numbers: list[int]) -> Transaction:
        """What is to be said for these recipients.  Their addresses and the sender's, where only the domain is not ASCII and the header
        is, go as A-labels: so they need no SMTPUTF8."""
        envelope, utf8 = self.envelope, self.utf8
        recipients = [envelope.recipients[number] for number in numbers]
        asked = [(wishes.notify(one), wishes.orcpt(one)) for one in recipients] if any(one.notes for one in recipients) else []
        if asked:
            asked = [(wishes.without_success(wish) if number in self.several else wish, orcpt)
                     for number, (wish, orcpt) in zip(numbers, asked)]
        plain = utf8 or envelope.sender.isascii() and all(one.address.isascii() for one in recipients)
        form = bytes if plain else address.ascii_form
        ret = envelope.facts.get("ret", "").upper()
        envid = envelope.facts.get("envid", "").encode("ascii", "replace")
        return Transaction(form(envelope.sender), tuple(form(one.address) for one in recipients), self.wire_octets, bool(self.eight_bit), utf8,
                           ret.encode("ascii") if ret in ("FULL", "HDRS") else b"", envid if wishes.is_xtext(envid) else b"",
                           tuple(asked) if any(any(pair) for pair in asked) else ())

    def owes_receipt(self, number: int, passed_on: bool) -> bool:
        """Whether the sender is to be told by us that this recipient has the message.  passed_on: the wish was told to a host that knows
        DSN (RFC 3461 §5.2.2); a receipt for an alias with several targets is ours all the same."""
        recipient = self.envelope.recipients[number]
        return bool(recipient.notes) and wishes.wants(recipient, "SUCCESS") and (not passed_on or number in self.several)

    @property
    def several(self) -> dict[int, tuple[int, ...]]:
        """wishes.expanded of the envelope."""
        if self._several is None:
            self._several = wishes.expanded(self.envelope)
        return self._several

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
