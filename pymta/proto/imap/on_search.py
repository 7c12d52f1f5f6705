"""on_search: SEARCH, SORT and THREAD.                                                           RFC 3501 §6.4.4, RFC 4731, RFC 5256, RFC 5267, RFC 5957"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Generator

from pymta.message import sortkey
from pymta.proto.imap import fetch as fetching
from pymta.proto.imap import threads
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import string, uid_set
from pymta.proto.imap.search import Program, asks_modseq
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job, Refusal, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

_ROWS_A_TURN = 10_000                                   # messages looked at before others get a turn
_READS_A_TURN = 20
_KEYS_A_TURN = 2000

_THREADERS: dict[bytes, Callable[[Sequence[int], Sequence[Any], Sequence[float]], bytes]] = {
    b"ORDEREDSUBJECT": threads.ordered_subject, b"REFERENCES": threads.references, b"REFS": threads.refs}
_TEXTS = {b"SUBJECT": "subject", b"FROM": "from_", b"TO": "to", b"CC": "cc", b"DISPLAYFROM": "show_from", b"DISPLAYTO": "show_to"}


def search(session: Session, command: Command) -> Running:
    options, known, key = command.args
    view = _view(session)
    found = yield from _found(session, view, known, key)
    yield _reply(session, b"SEARCH", command, options, _numbers(view, found, command.uid), asks_modseq(key))
    return b"OK Done"


def sort(session: Session, command: Command) -> Running:
    options, criteria, known, key = command.args
    view = _view(session)
    found = yield from _found(session, view, known, key)
    uids = _numbers(view, found, True)
    asked = (b"SORT", criteria)
    if view.arranged[:2] == (asked, uids):
        ordered = view.arranged[2]
    else:
        ordered = yield from _sorted(view, found, criteria)
        view.arranged = (asked, uids, ordered)
    yield _reply(session, b"SORT", command, options, _numbers(view, ordered, command.uid), asks_modseq(key))
    return b"OK Done"


def thread(session: Session, command: Command) -> Running:
    algorithm, known, key = command.args
    view = _view(session)
    found = yield from _found(session, view, known, key)
    numbers = _numbers(view, found, command.uid)
    asked = (b"THREAD", algorithm, command.uid)         # what the numbers are called is part of the answer
    uids = _numbers(view, found, True), (not command.uid and numbers)
    if view.arranged[:2] != (asked, uids):
        keys = yield from _keys(view, found)
        dates = [sent for sent, _ in keys]
        unpacked = [sortkey.unpack(octets) for _, octets in keys]
        view.arranged = (asked, uids, (yield Job(lambda: _THREADERS[algorithm](numbers, unpacked, dates))))
    trees = view.arranged[2]
    yield b"* THREAD %b\r\n" % trees if trees else b"* THREAD\r\n"
    return b"OK Done"


# ---- what is found ----------------------------------------------------------------------------------------------------
def _view(session: Session) -> View:
    assert session.view is not None
    return session.view


def _numbers(view: View, positions: list[int], uid: bool) -> list[int]:
    messages = view.messages
    return [messages[position].uid for position in positions] if uid else [position + 1 for position in positions]


def _found(session: Session, view: View, known: bool, key: tuple) -> Generator[Any, Any, list[int]]:
    """Positions of the messages that a search program fits."""
    if not known:
        raise Refusal(b"NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)] I do not know this character set")
    if key == ("ALL",):
        return list(range(len(view.messages)))
    try:
        program = Program(key, recent=view.recent, positions=view.indexes, now=session.setting.now())
    except ValueError as error:
        raise Refusal(b"BAD " + str(error).encode("ascii")) from None
    if asks_modseq(key):
        session.enable_condstore()
        yield Job(lambda: view.folder.highestmodseq)
    found: list[int] = []
    test, folder = program.test, view.folder
    turn = _READS_A_TURN if program.reads else _ROWS_A_TURN
    for position, message in enumerate(view.messages):
        try:
            if test(position, fetching.Source(folder, message)):
                found.append(position)
        except LookupError:
            pass                                        # gone: matches nothing
        if position % turn == turn - 1:
            yield None
    return found


# ---- in which order ---------------------------------------------------------------------------------------------------
def _sorted(view: View, found: list[int], criteria: tuple[tuple[bytes, bool], ...]) -> Generator[Any, Any, list[int]]:
    """RFC 5256 §3: what is equal in all criteria stays in the order of the mailbox, also under REVERSE."""
    keys = (yield from _keys(view, found)) if any(word in _TEXTS or word == b"DATE" for word, _ in criteria) else []
    unpacked = [sortkey.unpack(octets) for _, octets in keys] if any(word in _TEXTS for word, _ in criteria) else []
    order = list(range(len(found)))
    for word, reverse in reversed(criteria):
        if word in _TEXTS:
            column: list[Any] = [getattr(one, _TEXTS[word]) for one in unpacked]
        elif word == b"DATE":
            column = [sent for sent, _ in keys]
        elif word == b"ARRIVAL":
            column = _arrivals(view, found)
        else:
            column = [_or_nothing(view, position, "vsize") for position in found]
        order.sort(key=column.__getitem__, reverse=reverse)
    return [found[at] for at in order]


def _arrivals(view: View, found: list[int]) -> list[float]:
    return [int(_or_nothing(view, position, "internaldate")) for position in found]


def _or_nothing(view: View, position: int, name: str) -> Any:
    try:
        return getattr(view.messages[position], name)
    except LookupError:                                 # gone for good
        return 0


_NOTHING = (0, sortkey.pack(sortkey.keys({})))


def _keys(view: View, found: list[int]) -> Generator[Any, Any, list[tuple[int, bytes]]]:
    """(sent date, packed keys) of each; of a message that has gone there is nothing to know."""
    messages = [view.messages[position] for position in found]
    describing = yield Job(lambda: view.folder.describing(messages))
    out: list[tuple[int, bytes]] = []
    try:
        for begin in range(0, len(messages), _KEYS_A_TURN):
            some = yield Job(lambda: describing.keys(messages[begin:begin + _KEYS_A_TURN]))
            out += [one or _NOTHING for one in some]
    finally:
        describing.close()
    return out


# ---- what is said -----------------------------------------------------------------------------------------------------
def _reply(session: Session, word: bytes, command: Command, options: frozenset[bytes] | None, found: list[int], modseq: bool) -> bytes:
    view = _view(session)
    if options is None:
        highest = _highest(view, command, found) if modseq else b""
        return b"* %b%b%b\r\n" % (word, b"".join([b" %d" % number for number in found]), b" (%b)" % highest if highest else b"")
    told = found if options - {b"MIN", b"MAX"} else found[:1] * (b"MIN" in options) + found[-1:] * (b"MAX" in options)
    return _esearch(command, options, found, _highest(view, command, told) if modseq else b"")


def _highest(view: View, command: Command, numbers: list[int]) -> bytes:
    """RFC 7162 §3.1.5"""
    if not numbers:
        return b""
    return b"MODSEQ %d" % max(view.folder.modseq_of(view.messages[view.index(number) if command.uid else number - 1]) for number in numbers)


def _esearch(command: Command, options: frozenset[bytes], found: list[int], modseq: bytes) -> bytes:
    """RFC 4731; of SORT, MIN and MAX are the first and the last (RFC 5267 §3).  The tag is a string: some clients insist."""
    out = b"* ESEARCH (TAG %b)" % string(command.tag) + (b" UID" if command.uid else b"")
    if found and b"MIN" in options:
        out += b" MIN %d" % found[0]
    if found and b"MAX" in options:
        out += b" MAX %d" % found[-1]
    if b"COUNT" in options:
        out += b" COUNT %d" % len(found)
    if found and b"ALL" in options:
        out += b" ALL " + uid_set(found)
    return out + (b" " + modseq if modseq else b"") + b"\r\n"
