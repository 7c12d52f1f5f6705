"""file: one file of todo/remote, open for sending.  The working directory is the spool."""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta.formats import queuefile

TODO = "todo/remote"
FIRST_OCTETS = 1 << 16              # read at once; a message that fits is kept in memory, and its file closed
CHUNK_OCTETS = 1 << 17


class Opened:
    """A queue file open for sending.  envelope, records; small: the whole message is in memory and no file is open."""

    __slots__ = ("envelope", "eight_bit", "fd", "head", "owed", "records", "small")

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
        if self.small:
            os.close(self.fd)
            self.fd = -1
            self.head = self.head[:self.envelope.size_octets]
            self.eight_bit = not self.head[self.envelope.head_octets:].isascii()

    @property
    def wire_octets(self) -> int:
        """The message's size with CR LF."""
        head_lines = self.head.count(b"\n", 0, self.envelope.head_octets)
        return self.envelope.size_octets - self.envelope.head_octets + self.envelope.lines - head_lines

    def chunks(self, fd: int | None = None) -> Iterator[bytes]:
        """The message from its first octet.  Raises OSError if it cannot be read to its end: then nothing may end it."""
        at, end = self.envelope.head_octets, self.envelope.size_octets
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

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
