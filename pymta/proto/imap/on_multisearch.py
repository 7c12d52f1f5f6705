"""on_multisearch: ESEARCH, a search of several mailboxes at once.                              RFC 7377

One mailbox after the other is opened, searched in pieces and closed again; others have their turn between the pieces.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generator

from pymta.proto.imap import progress, results
from pymta.proto.imap.args import SAVED, STAR, Pairs
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.mailboxfilter import Filter
from pymta.proto.imap.on_search import found_in, keeping
from pymta.proto.imap.progress import Progress
from pymta.proto.imap.response import mailbox
from pymta.proto.imap.search import asks_modseq, looks
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

_SELECTED = (Filter(b"SELECTED"),)


def esearch(session: Session, command: Command) -> Running:
    sources, options, known, key = command.args
    sources, options = sources or _SELECTED, options or results.Options(frozenset((b"ALL",)))
    only_selected = all(source.is_selected for source in sources)
    if session.view is None and any(source.is_selected for source in sources):
        return b"BAD Select a mailbox first"
    if options.saves and not only_selected:
        return b"BAD SAVE is for the selected mailbox alone"
    names = [] if only_selected else (yield Job(lambda: _names(session, sources)))
    said = progress.of(session, command.tag, looks(key) * max(len(names), 1))
    view = session.view
    if view is not None and (view.name in names or any(source.is_selected for source in sources)):
        names = [name for name in names if name != view.name]
        scores: dict[int, int] = {}
        found = yield from keeping(view, options, found_in(session, view, known, _by_uid(key, view), said, scores))
        meant = [view.messages[position] for position in options.meant(found)]
        if options.saves:
            view.saved = frozenset([message.uid for message in meant])
        yield _said(session, command, view, options, found, asks_modseq(key), scores)
    for name in names:
        try:
            yield (yield from _elsewhere(session, command, name, options, known, key, said))
        except Exception as error:                      # gone since, or it cannot be read: the others are searched all the same
            if session.setting.explain(error) is None:
                raise
    return b"OK Done"


def _names(session: Session, sources: tuple[Filter, ...]) -> list[str]:
    """The mailboxes that are meant, each once; those that do not exist are passed over."""
    subscribed = frozenset(session.store.subscriptions())
    return [name for name in session.store.list() if any(source.takes(name, subscribed, session.store.is_own(name)) for source in sources)]


def _elsewhere(session: Session, command: Command, name: str, options: results.Options, known: bool, key: tuple,
               said: Progress) -> Generator[Any, Any, bytes]:
    """Search a mailbox that is not selected."""
    folder = yield Job(lambda: session.store.open(name))
    try:
        view = View(name, folder, session, read_only=True, wake=_nothing)
        try:
            scores: dict[int, int] = {}
            found = yield from found_in(session, view, known, _by_uid(key, view), said, scores)
            return _said(session, command, view, options, found, asks_modseq(key), scores)
        finally:
            view.close()
    finally:
        session.store.close(folder)


def _nothing() -> None:
    """What happens there meanwhile is not told."""


def _said(session: Session, command: Command, view: View, options: results.Options, found: list[int], modseq: bool, scores: dict[int, int]) -> bytes:
    """The ESEARCH reply, where anything was found.  RFC 7377 §2.1"""
    if not found or options.is_silent:
        return b""
    messages = view.messages
    highest = results.highest(view.folder, [messages[position] for position in options.meant(found)]) if modseq else 0
    where = b" MAILBOX %b UIDVALIDITY %d" % (mailbox(view.name, session.utf8), view.folder.uidvalidity)
    uids = [messages[position].uid for position in found]
    return results.esearch(command.tag, options, uids, uid=True, modseq=highest, where=where, scores=[scores[uid] for uid in uids] if scores else [])


def _by_uid(key: tuple, view: View) -> tuple:
    """The key with UIDs for numbers; numbers beyond the end are no error here, and name nothing.  RFC 7377 §2"""
    if key[0] in ("AND", "OR", "NOT", "FUZZY"):
        return (key[0], *(_by_uid(one, view) for one in key[1:]))
    return ("UID", tuple(_uids(key[1], view))) if key[0] == "SEQ" else key


def _uids(pairs: Pairs, view: View) -> list[tuple[int, int]]:
    out, count = [], len(view.messages)
    for pair in pairs:
        first, last = sorted(count if number == STAR else number for number in pair)
        if pair == SAVED:
            out.append(SAVED)
        elif 0 < first <= count:
            out.append((view.messages[first - 1].uid, view.messages[min(last, count) - 1].uid))
    return out
