"""message: one queue file as the runner sees it: envelope, records, and what may be done to it."""
from __future__ import annotations

import os
from collections.abc import Iterator

from pymta import durable
from pymta.formats import queuefile
from pymta.formats.queuefile import Envelope, Record

_CHUNK_OCTETS = 1 << 18
HEADER_MAX_OCTETS = 1 << 16         # of a header that is looked into


class Message:
    """A queue file opened for a moment.  path: relative to the spool; envelope, records: as read; use it in a `with`.

    Raises FileNotFoundError when it has gone, queuefile.Damaged when it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            self.envelope, self._head = queuefile.read_envelope(self.fd)
            self.records, self._end = queuefile.read_records(self.fd, self.envelope)
        except BaseException:
            os.close(self.fd)
            raise

    def __enter__(self) -> Message:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @property
    def id(self) -> str:
        return self.envelope.id

    @property
    def birth(self) -> float:
        """Seconds since 1970 when it was accepted; for one that was to be sent later, that time: its life begins then."""
        return max(queuefile.birth(self.envelope.id), self.release)

    @property
    def release(self) -> float:
        """Before when it is not to be sent, seconds since 1970; 0.0 if nobody said so (RFC 4865)."""
        return queuefile.release(self.envelope)

    @property
    def owed(self) -> list[int]:
        return queuefile.owed(self.envelope, self.records)

    @property
    def attempts(self) -> int:
        return queuefile.attempts(self.records)

    @property
    def null_sender(self) -> bool:
        return not self.envelope.sender

    def append(self, records: list[Record], *, sync: bool) -> None:
        """Add records, all of them or none over any crash; a torn tail that one left is cut off first."""
        if os.fstat(self.fd).st_size > self._end:
            durable.truncate(self.path, self._end)
        data = queuefile.encode_records(records)
        try:
            durable.append(self.path, data, sync=sync)
        except OSError:                                 # some may stand there all the same
            self.records, self._end = queuefile.read_records(self.fd, self.envelope)
            raise
        self._end += len(data)
        self.records += records

    def chunks(self) -> Iterator[bytes]:
        """The message below the envelope."""
        at = self.envelope.head_octets
        while at < self.envelope.size_octets:
            chunk = os.pread(self.fd, min(_CHUNK_OCTETS, self.envelope.size_octets - at), at)
            if not chunk:
                raise queuefile.Damaged("the file is shorter than its envelope says")
            yield chunk
            at += len(chunk)

    def start(self, octets: int) -> bytes:
        """At most that many octets of the message's beginning."""
        return os.pread(self.fd, min(octets, self.envelope.size_octets - self.envelope.head_octets), self.envelope.head_octets)


def copy_of(envelope: Envelope, kind: bytes, id: str, facts: dict[str, str]) -> Envelope:
    """A new envelope with those recipients that have this kind."""
    return Envelope(envelope.sender, [r for r in envelope.recipients if r.kind == kind], id, facts)


def shown(address: bytes) -> str:
    """An address for the log and for people."""
    return address.decode("utf-8", "backslashreplace")
