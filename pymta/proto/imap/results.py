"""results: what SEARCH and SORT say of what they found, and what they keep.                    RFC 4731, RFC 5182, RFC 5267, RFC 6203, RFC 7162, RFC 9394

    search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"
    search-return-opt  = "MIN" / "MAX" / "ALL" / "COUNT" / "SAVE" / "RELEVANCY" / "PARTIAL" SP partial-range

What is found is a list in the order of the answer; of SORT, MIN and MAX are the first and the last (RFC 5267 §3).
"""
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Sequence, TypeVar

from pymta.proto.imap.args import Args, Bad
from pymta.proto.imap.response import string, uid_set

_RANGE = re.compile(rb"(-?)([1-9]\d{0,9}):(-?)([1-9]\d{0,9})(?=[ )]|\Z)").match
_WORDS = frozenset((b"MIN", b"MAX", b"ALL", b"COUNT", b"SAVE", b"RELEVANCY"))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Partial:
    """Some of what is found: first to last counted from 1, from the end where from_end.  said: as the client wrote it."""

    said: bytes
    first: int
    last: int
    from_end: bool

    def of(self, found: Sequence[T]) -> Sequence[T]:
        if self.from_end:
            return found[max(0, len(found) - self.last):max(0, len(found) - self.first + 1)]
        return found[self.first - 1:self.last]


@dataclass(frozen=True, slots=True)
class Options:
    """names: MIN, MAX, ALL, COUNT, SAVE, RELEVANCY, as far as they were asked for."""

    names: frozenset[bytes]
    partial: Partial | None = None

    @property
    def saves(self) -> bool:
        return b"SAVE" in self.names

    @property
    def is_silent(self) -> bool:
        """SAVE alone wants no answer.  RFC 5182 §1"""
        return self.names == {b"SAVE"} and self.partial is None

    def meant(self, found: list[int]) -> list[int]:
        """Those of found that SAVE keeps and that MODSEQ is about: all, unless only some are told.
        RFC 5182 §2.4, RFC 7162 §3.1.10, RFC 9394 §3.2"""
        if self.names & {b"ALL", b"COUNT"} or self.partial is None and not self.names & {b"MIN", b"MAX"}:
            return found
        part = self.partial.of(found) if self.partial else ()
        return [*found[:1] * (b"MIN" in self.names), *found[-1:] * (b"MAX" in self.names), *part]


def options(args: Args) -> Options | None:
    """["RETURN" SP "(" ... ")" SP]; without ALL, MIN, MAX and so on it is ALL that is meant.  RFC 4731 §3.1"""
    if bytes(args.raw[args.at:args.at + 7]).upper() != b"RETURN ":
        return None
    args.at += 6
    args.space()
    ranges: list[Partial] = []

    def one() -> bytes:
        word = args.atom().upper()
        if word == b"PARTIAL":
            args.space()
            ranges.append(partial(args))
        elif word not in _WORDS:
            raise Bad("no such result option")
        return word
    names = frozenset(args.list(one))
    if len(ranges) > 1 or ranges and b"ALL" in names:
        raise Bad("one PARTIAL, or ALL, please")
    args.space()
    return Options(names - {b"PARTIAL"} or frozenset(() if ranges else (b"ALL",)), ranges[0] if ranges else None)


def partial(args: Args) -> Partial:
    """partial-range = nz-number ":" nz-number / "-" nz-number ":" "-" nz-number      RFC 9394 §4; 500:400 is 400:500"""
    found = args.take(_RANGE, "a range")
    first, last = sorted((int(found[2]), int(found[4])))
    if found[1] != found[3] or last >= 1 << 32:
        raise Bad("a range from one end, please")
    return Partial(bytes(found[0]), first, last, found[1] == b"-")


def esearch(tag: bytes, options: Options, found: list[int], *, uid: bool, modseq: int = 0, where: bytes = b"",
            scores: Sequence[int] = ()) -> bytes:
    """The ESEARCH reply.  found: numbers, UIDs if uid; modseq: 0 where nobody asked; where: correlators besides the tag;
    scores: the relevancy of each that was found, told of those that are told.

    The tag is a string: some clients insist.  MODSEQ stands last."""
    out = b"* ESEARCH (TAG %b%b)%b" % (string(tag), where, b" UID" if uid else b"")
    if found and b"MIN" in options.names:
        out += b" MIN %d" % found[0]
    if found and b"MAX" in options.names:
        out += b" MAX %d" % found[-1]
    if b"COUNT" in options.names:
        out += b" COUNT %d" % len(found)
    if found and b"ALL" in options.names:
        out += b" ALL " + uid_set(found)
    if options.partial:
        out += b" PARTIAL (%b %b)" % (options.partial.said, uid_set(options.partial.of(found)) or b"NIL")
    if scores and b"RELEVANCY" in options.names:
        told = options.partial.of(scores) if options.partial else scores
        out += b" RELEVANCY (%b)" % b" ".join([b"%d" % score for score in told])
    return out + (b" MODSEQ %d" % modseq if modseq else b"") + b"\r\n"


def highest(folder: Any, messages: Sequence[Any]) -> int:
    """The highest mod-sequence of some messages, 0 of none."""
    return max((folder.modseq_of(message) for message in messages), default=0)
