"""deflate: what COMPRESS=DEFLATE puts under a session: compressed octets on both ways.            RFC 4978

What the client sent stays compressed until it is asked for, a little at a time: a few octets that would become gigabytes
never are more than TURN_OCTETS here, and the limits of framing apply to what comes out.
"""
from __future__ import annotations

import zlib

TURN_OCTETS = 1 << 16                                   # inflated at one go
_LEVEL, _MEMORY = 6, 5                                  # of zlib: some 150 KiB for a session instead of 270, a few per cent more on the wire


class BadStream(Exception):
    """What the client sends is not deflated."""


class Deflate:
    """Both directions of one connection."""

    __slots__ = ("_out", "_in", "_waiting")

    def __init__(self) -> None:
        self._out = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, _MEMORY)
        self._in = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""

    @property
    def pending(self) -> int:
        """Compressed octets that have not been looked at."""
        return len(self._waiting)

    def feed(self, data: bytes) -> None:
        self._waiting += data

    def read(self) -> bytes:
        """Up to TURN_OCTETS of what the client said, b"" until more is fed.  Raises BadStream."""
        try:
            data = self._in.decompress(self._waiting, TURN_OCTETS)
        except zlib.error as error:
            raise BadStream(str(error)) from None
        self._waiting = self._in.unconsumed_tail
        if self._in.unused_data:
            raise BadStream("more behind its end")
        return data

    def pack(self, data: bytes) -> bytes:
        """data compressed, so that the other side can read all of it at once."""
        return self._out.compress(data) + self._out.flush(zlib.Z_SYNC_FLUSH) if data else b""
