"""on_search: SEARCH, SORT and THREAD.                                                           RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 5256, RFC 5267, RFC 5957, RFC 6203"""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Generator

from pymta.message import sortkey
from pymta.proto.imap import progress, results, threads
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.progress import Progress
from pymta.proto.imap.search import Sieve, asks_modseq, looks
from pymta.proto.imap.searchkey import is_fuzzy
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job, Refusal, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

_KEYS_A_TURN = 2000

_THREADERS: dict[bytes, Callable[[Sequence[int], Sequence[Any], Sequence[float]], bytes]] = {
    b"ORDEREDSUBJECT": threads.ordered_subject, b"REFERENCES": threads.references, b"REFS": threads.refs}
_TEXTS = {word: at for at, word in enumerate((b"SUBJECT", b"FROM", b"TO", b"CC", b"DISPLAYFROM", b"DISPLAYTO"))}      # as sortkey packs them


def search(session: Session, command: Command) -> Running:
    options, known, key = command.args
    if session.rev2 and options is None:                # RFC 9051 §6.4.4
        options = results.Options(frozenset((b"ALL",)))
    view = _view(session)
    said = progress.of(session, command.tag, looks(key))
    scores: dict[int, int] = {}
    found = yield from keeping(view, options, found_in(session, view, known, key, said, scores))
    yield _reply(session, b"SEARCH", command, options, found, asks_modseq(key), scores)
    return b"OK Done"


def sort(session: Session, command: Command) -> Running:
    options, criteria, known, key = command.args
    view = _view(session)
    said = progress.of(session, command.tag, looks(key) + 1)
    scores: dict[int, int] = {}
    found = yield from keeping(view, options, found_in(session, view, known, key, said, scores))
    uids = _numbers(view, found, True)
    asked = (b"SORT", criteria, scores)
    if view.arranged[:2] == (asked, uids):
        ordered = view.arranged[2]
    else:
        ordered = yield from _sorted(view, found, criteria, said, scores)
        view.arranged = (asked, uids, ordered)
    yield _reply(session, b"SORT", command, options, ordered, asks_modseq(key), scores)
    return b"OK Done"


def thread(session: Session, command: Command) -> Running:
    algorithm, known, key = command.args
    view = _view(session)
    said = progress.of(session, command.tag, looks(key) + 1)
    found = yield from found_in(session, view, known, key, said)
    numbers = _numbers(view, found, command.uid)
    asked = (b"THREAD", algorithm, command.uid)         # what the numbers are called is part of the answer
    uids = _numbers(view, found, True), (not command.uid and numbers)
    if view.arranged[:2] != (asked, uids):
        dates, unpacked = yield from _keys(view, found, said, sortkey.unpack)
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


def found_in(session: Session, view: View, known: bool, key: tuple, said: Progress,
             scores: dict[int, int] | None = None) -> Generator[Any, Any, list[int]]:
    """Positions of the messages that a search program fits.  scores: gets the relevancy of each by its UID, where FUZZY was asked."""
    if not known:
        raise Refusal(b"NO [BADCHARSET (US-ASCII UTF-8 ISO-8859-1)] I do not know this character set")
    if key == ("ALL",):
        return list(range(len(view.messages)))
    try:
        sieve = Sieve(key, view, session.setting.now())
    except ValueError as error:
        raise Refusal(b"BAD " + str(error).encode("ascii")) from None
    if asks_modseq(key):
        session.enable_condstore()
        yield Job(lambda: view.folder.highestmodseq)
    found = yield from sieve.sift(said)
    if scores is not None and is_fuzzy(key):
        scores.update((message.uid, sieve.relevancy(message.uid)) for message in [view.messages[position] for position in found])
    return found


def keeping(view: View, options: results.Options | None, finding: Generator[Any, Any, list[int]]) -> Generator[Any, Any, list[int]]:
    """A search that was to be kept and ends in NO leaves nothing behind; after BAD all is as it was.  RFC 5182 §2.1"""
    try:
        return (yield from finding)
    except Exception as error:
        if options and options.saves and not (isinstance(error, Refusal) and error.text.startswith(b"BAD")):
            view.saved = frozenset()
        raise


# ---- in which order ---------------------------------------------------------------------------------------------------
def _sorted(view: View, found: list[int], criteria: tuple[tuple[bytes, bool], ...], said: Progress,
            scores: dict[int, int]) -> Generator[Any, Any, list[int]]:
    """RFC 5256 §3: what is equal in all criteria stays in the order of the mailbox, also under REVERSE.  RELEVANCY begins with the
    highest (RFC 6203 §6)."""
    words = {word for word, _ in criteria}
    texts = sorted(_TEXTS[word] for word in words if word in _TEXTS)
    read = sortkey.texts(texts) if texts else None
    dates, keys = (yield from _keys(view, found, said, read)) if texts or b"DATE" in words else ([], [])
    order = list(range(len(found)))
    for word, reverse in reversed(criteria):
        if word in _TEXTS:
            at = texts.index(_TEXTS[word])
            column: list[Any] = keys if len(texts) == 1 else [one[at] for one in keys]
        elif word == b"DATE":
            column = dates
        elif word == b"ARRIVAL":
            column = _arrivals(view, found)
        elif word == b"RELEVANCY":
            column = [-scores[uid] for uid in _numbers(view, found, True)]
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


_NOTHING = sortkey.pack(sortkey.keys({}))


def _keys(view: View, found: list[int], said: Progress, read: Callable[[bytes], Any] | None) -> Generator[Any, Any, tuple[list[int], list[Any]]]:
    """When each was sent and, where read is given, what that makes of its packed keys; of a message that has gone there is nothing to know."""
    messages = [view.messages[position] for position in found]
    describing = yield Job(lambda: view.folder.describing(messages, whole=False))
    dates: list[int] = []
    keys: list[Any] = []

    def look(some: list[Any]) -> None:
        dates.extend([sent or 0 for sent in describing.sent(some)])
        if read:
            keys.extend([read(packed or _NOTHING) for packed in describing.texts(some, "keys")])
    said.begin()
    try:
        for begin in range(0, len(messages), _KEYS_A_TURN):
            yield Job(lambda: look(messages[begin:begin + _KEYS_A_TURN]))
            yield said.at(len(dates), len(messages)) or None
    finally:
        describing.close()
    return dates, keys


# ---- what is said -----------------------------------------------------------------------------------------------------
def _reply(session: Session, word: bytes, command: Command, options: results.Options | None, found: list[int], modseq: bool,
           scores: dict[int, int]) -> bytes:
    """found: positions in the order of the answer.  What is to be kept is kept here."""
    view = _view(session)
    messages = view.messages
    numbers = _numbers(view, found, command.uid)
    meant = [messages[position] for position in (options.meant(found) if options else found)] if modseq or options and options.saves else []
    highest = results.highest(view.folder, meant) if modseq else 0
    if options is None:
        return b"* %b%b%b\r\n" % (word, b"".join([b" %d" % number for number in numbers]), b" (MODSEQ %d)" % highest if highest else b"")
    if options.saves:
        view.saved = frozenset([message.uid for message in meant])
    return b"" if options.is_silent else results.esearch(
        command.tag, options, numbers, uid=command.uid, modseq=highest, scores=[scores[uid] for uid in _numbers(view, found, True)] if scores else [])
