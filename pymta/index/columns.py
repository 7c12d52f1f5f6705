"""columns: fields of many rows of an index at once (formats/index): where their texts lie, when they were sent.

rows: the rows as they stand in the file, without its head; numbers: which of them.  Rows that follow each other, which is how a
whole mailbox is asked for, are read a field at a time: a tenth of the time.
"""
from __future__ import annotations

import struct
from collections.abc import Sequence

from pymta.formats.index import ROW_OCTETS

ENVELOPE, BODYSTRUCTURE, PARTS, KEYS, PREVIEW = range(5)         # the texts of a row, in the order in which they stand
_LENGTHS = struct.Struct("<Q8xIIII28xI")
_SENT = struct.Struct("<48xq")
_OFFSET_WORD, _SENT_WORD = 0, 6                         # places in a row, in words of eight octets
_LENGTH_WORDS = (4, 5, 6, 7, 15)                        # in words of four


def spans(rows: bytearray, numbers: Sequence[int], which: int) -> tuple[list[int], list[int]]:
    """(offset, octets) of one text of each, as two lists."""
    if run := _run(numbers):
        first, behind = run
        with memoryview(rows) as octets, octets.cast("Q") as wide, octets.cast("I") as words:
            starts = wide[first * 8 + _OFFSET_WORD:behind * 8:8].tolist()
            lengths = [words[first * 16 + word:behind * 16:16].tolist() for word in _LENGTH_WORDS[:which + 1]]
        for before in lengths[:-1]:
            starts = list(map(int.__add__, starts, before))
        return starts, lengths[-1]
    all_of = [_LENGTHS.unpack_from(rows, number * ROW_OCTETS) for number in numbers]
    return [sum(one[:which + 1]) for one in all_of], [one[which + 1] for one in all_of]


def has_structure(rows: bytearray, number: int) -> bool:
    """Whether there is a BODYSTRUCTURE."""
    at = number * ROW_OCTETS + 4 * _LENGTH_WORDS[BODYSTRUCTURE]
    return rows[at:at + 4] != b"\0\0\0\0"


def sent(rows: bytearray, numbers: Sequence[int]) -> list[int]:
    """When they were sent."""
    if run := _run(numbers):
        with memoryview(rows) as octets, octets.cast("q") as wide:
            return wide[run[0] * 8 + _SENT_WORD:run[1] * 8:8].tolist()
    return [_SENT.unpack_from(rows, number * ROW_OCTETS)[0] for number in numbers]


def _run(numbers: Sequence[int]) -> tuple[int, int] | None:
    """(first, the one behind the last) where each number is one more than that before it."""
    if numbers and numbers[-1] - numbers[0] + 1 == len(numbers) and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return numbers[0], numbers[-1] + 1
    return None
