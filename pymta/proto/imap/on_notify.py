"""on_notify: NOTIFY, and what is told because of it: at any time, between commands.                RFC 5465

Of the selected mailbox its view tells; of the others a STATUS where a number has changed, and a LIST where a name has.  What a client
does itself in a mailbox that is not selected is told as well: with other sessions about, nobody knows whose doing a number is.
"""
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generator

from pymta.proto.imap import listing
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.notify import Box, Noted, Notify, affected, renamed
from pymta.proto.imap.notifyargs import EVENTS, FLAGS, NAME, SUBSCRIPTION
from pymta.proto.imap.on_messages import fetched
from pymta.proto.imap.response import mailbox, string
from pymta.proto.imap.view import ALL_WANTED
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session


class Overflow(Exception):
    """More mailboxes than one session may watch."""


def notify(session: Session, command: Command) -> Running:
    groups, with_status = command.args
    if unknown := [name for group in groups or () for name in group.unknown]:
        return b"NO [BADEVENT (%b)] No such event as %b" % (" ".join(EVENTS).encode(), unknown[0][:40].encode())
    asked = Notify(groups or (), session.wake, session.store.is_own)
    try:
        if asked.looks_elsewhere:
            yield Job(lambda: _watch(session, asked))
        for name in list(asked.boxes):                  # also where no STATUS is wanted: what changes from here on is told
            line = yield from _status_line(session, asked, name, first=True)
            if with_status and (session.view is None or session.view.name != name):
                yield line
            yield None
    except Overflow:
        asked.stop()
        return b"NO [NOTIFICATIONOVERFLOW] That is more than %d mailboxes, the most a session may watch (imap.notify_mailboxes)" % (
            session.setting.notify_mailboxes)
    except BaseException:
        asked.stop()
        raise
    session.set_notify(asked)
    view = session.view
    if view is not None:                                # an implicit NOOP: RFC 5465 §3.1
        yield Job(view.folder.sync)
        view.wanted = ALL_WANTED
        yield view.announce()
        view.fresh.clear()
        view.wanted = asked.selected
    return b"OK Done"


def _watch(session: Session, asked: Notify) -> None:
    """Watch the tree and the mailboxes that are wanted.  Raises Overflow."""
    asked.tree = _watch_tree(session, asked)
    _watch_wanted(session, asked)


def _watch_tree(session: Session, asked: Notify) -> Any:
    """Watch the tree as it is now, and which tree that is."""
    before, others = asked.tree_watch, asked.may_reach(session.store.prefixes)
    asked.tree_watch = session.store.watch_tree(asked.stir_tree, others=others, most=session.setting.notify_mailboxes)
    if before is not None:
        before.stop()
    return session.store.tree(others=others)


def _watch_wanted(session: Session, asked: Notify) -> None:
    """Begin and end watches until they are those that are wanted in the tree as it is.  Raises Overflow."""
    wanted, wanted_notes, mailboxes = asked.wanted(asked.tree), asked.wanted_notes(asked.tree), asked.tree.mailboxes
    if len({*wanted, *wanted_notes}) > session.setting.notify_mailboxes:
        raise Overflow
    for name, box in list(asked.boxes.items()):
        if name not in wanted or mailboxes[name] != box.identity or box.watch.is_over:
            asked.boxes.pop(name).watch.stop()
    for name, events in wanted.items():
        if name in asked.boxes:
            asked.boxes[name].events = events
            continue
        try:
            watch = session.store.watch(name, partial(asked.stir, name))
        except Exception as error:                      # gone just now, as the tree will say, or it may be seen and not read
            if session.setting.explain(error) is None:
                raise
            continue
        asked.boxes[name] = Box(watch, events, mailboxes[name])
    for name, noted in list(asked.noted.items()):
        if name not in wanted_notes or wanted_notes[name] != noted.identity or noted.watch.is_over:
            asked.noted.pop(name).watch.stop()
    for name in wanted_notes.keys() - asked.noted.keys():
        try:
            asked.noted[name] = Noted(session.store.watch_notes(name, partial(asked.stir_notes, name)), wanted_notes[name])
            asked.noted[name].entries = session.store.noted(name)
        except Exception as error:                      # the same
            if session.setting.explain(error) is None:
                raise


# ---- telling ----------------------------------------------------------------------------------------------------------
def tell(session: Session) -> Running:
    """Everything that has happened and is wanted."""
    asked = session.notify
    assert asked is not None
    yield from _tell_selected(session)
    try:
        if asked.tree_stirred:
            asked.tree_stirred = False
            yield from _tell_tree(session, asked)
    except Overflow:
        session.set_notify(Notify((), session.wake))
        yield (b"* OK [NOTIFICATIONOVERFLOW] There are more than %d mailboxes now: nothing is told any more\r\n"
               % session.setting.notify_mailboxes)
        return b""
    for name in list(asked.stirred):
        asked.stirred.pop(name, None)                   # what happens from here on stirs it again
        if session.view is None or session.view.name != name:
            yield (yield from _status_line(session, asked, name))
            yield None
    yield from _tell_notes(session, asked)
    return b""


def _tell_selected(session: Session) -> Generator[Any, Any, None]:
    view = session.view
    if view is None:
        return
    yield view.announce(expunge=session.is_idle or not view.wanted.delayed)
    fresh, view.fresh = view.fresh, []
    positions = [position for position in map(view.index, fresh) if position >= 0]
    if positions:
        yield from fetched(session, view, positions, view.wanted.items, uid=True)


def _status_line(session: Session, asked: Notify, name: str, *, first: bool = False) -> Generator[Any, Any, bytes]:
    """The STATUS reply, empty if the client knows it all.  first: in answer to NOTIFY SET."""
    box = asked.boxes.get(name)
    if box is None:
        return b""
    with_flags = FLAGS in box.events
    with_modseq = session.condstore or first and with_flags             # RFC 5465 §3.1, §5.1
    try:
        status, modseq = yield Job(lambda: box.watch.status(with_modseq=with_modseq))
    except Exception as error:                          # gone, or it cannot or may not be read now; if it can be again, it is told anew
        if session.setting.explain(error) is None:
            raise
        box.told = None
        return b""
    known, box.told = box.told, (status.messages, status.uidnext, status.uidvalidity, status.unseen * with_flags,
                                 modseq * (with_flags and session.condstore))
    if not first and (known == box.told or known is None and not status.messages):
        return b""
    said = b"MESSAGES %d UIDNEXT %d" % (status.messages, status.uidnext)
    if first or with_flags or known is None or known[2] != status.uidvalidity:
        said += b" UIDVALIDITY %d" % status.uidvalidity
    if with_flags:
        said += b" UNSEEN %d" % status.unseen
    if modseq:
        said += b" HIGHESTMODSEQ %d" % modseq
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, session.utf8), said)


def _tell_notes(session: Session, asked: Notify) -> Generator[Any, Any, None]:
    """The names of annotations that have changed.  RFC 5465 §5.6, §5.7, RFC 5464 §4.4.2"""
    own, asked.own_notes = asked.own_notes, set()
    for name in list(asked.notes_stirred):
        asked.notes_stirred.pop(name, None)
        noted = asked.noted.get(name)
        if noted is None:
            continue
        try:
            now: dict[str, int] = yield Job(partial(session.store.noted, name))
        except Exception as error:                      # gone, or it cannot be read now
            if session.setting.explain(error) is None:
                raise
            continue
        before, noted.entries = noted.entries, now
        changed = [entry for entry in sorted(before.keys() | now.keys()) if before.get(entry) != now.get(entry) and (name, entry) not in own]
        if changed:
            yield b"* METADATA %b %b\r\n" % (mailbox(name, session.utf8), b" ".join([string(entry.encode("ascii")) for entry in changed]))


def _tell_tree(session: Session, asked: Notify) -> Generator[Any, Any, None]:
    """Names that came and went, and subscriptions; from here on the mailboxes that are wanted now are watched.  Raises Overflow."""
    own, asked.own = asked.own | {name.rpartition(listing.SEPARATOR)[0] for name in asked.own}, set()
    before, now = asked.tree, (yield Job(lambda: _watch_tree(session, asked)))
    asked.tree = now
    moved = renamed(before, now)
    told = {name: box.told for name, box in asked.boxes.items()}        # also of a name where another mailbox stands now
    told |= {new: told[old] for new, old in moved.items() if old in told}
    yield Job(lambda: _watch_wanted(session, asked))
    for name, box in asked.boxes.items():
        if box.told is None:
            box.told = told.get(name)
            asked.stirred[name] = None
    uses = yield Job(lambda: session.store.special_uses(now.mailboxes))
    all_of = listing.Mailboxes(tuple(now.mailboxes), tuple(now.subscribed), uses.get, rev2=session.rev2, utf8=session.utf8)
    subscribed = before.subscribed | now.subscribed
    for name, old in affected(before, now, moved):
        events = asked.events(name, subscribed) | (asked.events(old, subscribed) if old else frozenset())
        if name not in own and (SUBSCRIPTION if old is None else NAME) in events:
            yield listing.news(all_of, name, old)
