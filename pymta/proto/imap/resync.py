"""resync: what a client that was away has missed.                                              RFC 7162 §3.2.5, §3.2.10

Where the log of changes does not reach back so far, all UIDs that are not there count as vanished; the numbers and UIDs that a client
believes in (message sequence match data) spare it those below the last of them that still holds.
"""
from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Any

from pymta.proto.imap.args import SAVED, STAR, Args, Bad, Pairs
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job

Match = tuple[Pairs, Pairs]                             # numbers, and the UIDs that belong to them


def qresync(args: Args) -> tuple[int, int, Pairs | None, Match | None]:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"
    ->  (uidvalidity, mod-sequence, known UIDs or None, believed numbers and UIDs or None)"""
    args.need(b"(")
    uidvalidity = args.number()
    args.space()
    modseq = args.number64()
    known = match = None
    while not args.mark(b")"):
        args.space()
        if args.mark(b"("):
            if match:
                raise Bad("one set of numbers, please")
            numbers = _ascending(args.set())
            args.space()
            match = numbers, _ascending(args.set())
            args.need(b")")
            if _length(match[0]) != _length(match[1]):
                raise Bad("as many numbers as UIDs, please")
        elif known is None and match is None:
            known = args.set()
        else:
            raise Bad("one set of UIDs, please")
    return uidvalidity, modseq, known, match


def _ascending(pairs: Pairs) -> Pairs:
    last = 0
    for a, b in pairs:
        if (a, b) == SAVED or not last < a <= b < STAR:
            raise Bad("ascending numbers expected")
        last = b
    return pairs


def _length(pairs: Pairs) -> int:
    return sum(b - a + 1 for a, b in pairs)


def changed_since(view: View, modseq: int, known: Pairs | None, match: Match | None) -> Generator[Any, Any, None]:
    """UIDs that vanished, then flags of what came or changed, then what happened meanwhile."""
    vanished, changed = yield Job(lambda: (view.folder.vanished_since(modseq), view.folder.changed_since(modseq)))
    after = _holds_up_to(view, match) if match else 0
    yield vanished_earlier(view, [(max(a, after + 1), b) for a, b in vanished if b > after], known)
    chosen = None if known is None else set(view.indexes(known, True))
    for message in changed:
        position = view.index(message.uid)
        if position >= 0 and (chosen is None or position in chosen):
            yield view.flags_line(position)
    yield view.announce()                               # what vanished below the numbers just told


def _holds_up_to(view: View, match: Match) -> int:
    """The last UID that has the number the client believes: up to it nothing has gone.  0 if there is none."""
    messages, found = view.messages, 0
    for number, uid, length in _side_by_side(*match):
        for position in range(min(number + length - 1, len(messages)) - 1, number - 2, -1):
            if messages[position].uid == uid + position - number + 1:
                found = messages[position].uid
                break
    return found


def _side_by_side(numbers: Pairs, uids: Pairs) -> Iterator[tuple[int, int, int]]:
    """(first number, first UID, how many) of runs in both."""
    runs = iter(uids)
    uid, last = 1, 0
    for number, end in numbers:
        while number <= end:
            if uid > last:
                uid, last = next(runs)
            length = min(end - number, last - uid) + 1
            yield number, uid, length
            number, uid = number + length, uid + length


def vanished_earlier(view: View, vanished: Iterable[tuple[int, int]], known: Pairs | None) -> bytes:
    """The reply that tells UIDs that went before, of those in known; never one that this session still has a number for."""
    end = view.folder.uidnext - 1
    wanted = [(1, end)] if known is None else _merged(tuple(end if number == STAR else number for number in pair) for pair in known)
    out: list[tuple[int, int]] = []
    for first, last in _common(sorted(vanished), wanted):
        for message in view.messages[view.at_or_after(first):view.at_or_after(last + 1)]:
            if first < message.uid:
                out.append((first, message.uid - 1))
            first = message.uid + 1
        if first <= last:
            out.append((first, last))
    text = b",".join([b"%d" % a if a == b else b"%d:%d" % (a, b) for a, b in out])
    return b"* VANISHED (EARLIER) %b\r\n" % text if text else b""


def _merged(pairs: Iterable[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Ascending, and none within another."""
    out: list[tuple[int, int]] = []
    for first, last in sorted((min(pair), max(pair)) for pair in pairs):
        if out and first <= out[-1][1]:
            out[-1] = out[-1][0], max(last, out[-1][1])
        else:
            out.append((first, last))
    return out


def _common(ones: list[tuple[int, int]], others: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What is in both; each is ascending without overlap."""
    at = 0
    for first, last in ones:
        while at < len(others) and others[at][1] < first:
            at += 1
        for number in range(at, len(others)):
            if others[number][0] > last:
                break
            yield max(first, others[number][0]), min(last, others[number][1])
