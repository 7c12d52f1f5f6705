"""searchtext: what SEARCH looks through, of the messages of one folder (pymta-search-headers, pymta-search-texts).   pymta-maildir(5)

    file    = head *block                               ; little-endian
    head    = "pymtatxt" version UIDVALIDITY zeros      ; 64 octets
    block   = "TEXT" count octets crc crc row*count text            ; the crc of count, octets and rows; the crc of the text
    row     = uid base first second                     ; crc of the message's base; octets of its two sections
    text    = *(section %xFF section %xFF)              ; of the messages, in the order of the rows

In pymta-search-headers the first section is the message's header and the second is empty; in pymta-search-texts the first is the
headers of parts, the second what its parts of text say: see message/searchable.  %xFF stands nowhere in UTF-8, so nothing is found across it.

Writers: whoever had to read the messages for a SEARCH, holding flock(2) on the file.  Readers need no lock.  Whole blocks are
appended, nothing is synced; a block that is not all there yet is not there.  The text's crc is checked when a process first reads it.
Both files may be removed at any moment, and are removed by whoever finds them damaged.
If lost: messages are read once more.
"""
from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple
from zlib import crc32

HEADERS_NAME, TEXTS_NAME = b"pymta-search-headers", b"pymta-search-texts"
VERSION = 1
HEAD_OCTETS = 64
BLOCK_HEAD_OCTETS = 20
ROW_OCTETS = 16

base_crc = crc32                                        # what a row says of a message's base
_HEAD = struct.Struct("<8sII48x")
_BLOCK = struct.Struct("<4sIIII")
_COUNTS = struct.Struct("<II")
_MAGIC, _BLOCK_MAGIC = b"pymtatxt", b"TEXT"
assert _HEAD.size == HEAD_OCTETS and _BLOCK.size == BLOCK_HEAD_OCTETS


class Said(NamedTuple):
    """One message on its way into a block.  base: of its file name."""

    uid: int
    base: bytes
    first: bytes
    second: bytes = b""


class Block:
    """Rows of a block, and where its text begins in the file."""

    __slots__ = ("uids", "bases", "firsts", "seconds", "octets", "crc", "offset", "whole", "file")

    def __init__(self, rows: bytes, octets: int, crc: int, offset: int) -> None:
        numbers = array("I", rows)
        self.uids, self.bases, self.firsts, self.seconds = numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4]
        self.octets = octets
        self.crc = crc
        self.offset = offset
        self.whole = False                              # whether the text has been seen to be right
        self.file: object = None                        # which file it stands in, for whoever reads it

    def starts(self) -> list[int]:
        """Where each message begins in the text, and where the last one ends."""
        return list(accumulate(map(int.__add__, self.firsts, self.seconds), initial=0))

    def is_right(self, text: bytes) -> bool:
        self.whole = len(text) == self.octets and (self.whole or crc32(text) == self.crc)
        return self.whole


def new_head(uidvalidity: int) -> bytes:
    return _HEAD.pack(_MAGIC, VERSION, uidvalidity)


def fits(head: bytes, uidvalidity: int) -> bool:
    """Whether this is the head of a file that this program and this UIDVALIDITY can use."""
    return head == new_head(uidvalidity)


def encode(messages: Sequence[Said]) -> bytes:
    """A block of some messages."""
    rows = array("I")
    text = []
    for uid, base, first, second in messages:
        rows.extend((uid, base_crc(base), len(first) + 1, len(second) + 1))
        text += [first, b"\xff", second, b"\xff"]
    joined = b"".join(text)
    counts = _COUNTS.pack(len(messages), len(joined))
    return b"".join((_BLOCK_MAGIC, counts, crc32(rows, crc32(counts)).to_bytes(4, "little"), crc32(joined).to_bytes(4, "little"), rows, joined))


def decode_head(octets: bytes) -> tuple[int, int, int, int] | None:
    """(count, octets of the text, the two crcs) of the head of a block; None if it is none."""
    if len(octets) != BLOCK_HEAD_OCTETS:
        return None
    magic, count, length, crc, text_crc = _BLOCK.unpack(octets)
    return (count, length, crc, text_crc) if magic == _BLOCK_MAGIC else None


def decode(octets: bytes, offset: int = 0) -> tuple[Block, int] | None:
    """The block whose head and rows begin octets, which begin at this offset of a file; and where the next one begins.
    None if they are not right."""
    head = decode_head(octets[:BLOCK_HEAD_OCTETS])
    if head is None:
        return None
    count, length, crc, text_crc = head
    rows = octets[BLOCK_HEAD_OCTETS:BLOCK_HEAD_OCTETS + count * ROW_OCTETS]
    if len(rows) != count * ROW_OCTETS or crc32(rows, crc32(_COUNTS.pack(count, length))) != crc:
        return None
    begin = offset + BLOCK_HEAD_OCTETS + len(rows)
    return Block(rows, length, text_crc, begin), begin + length
