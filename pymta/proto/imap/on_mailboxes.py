"""on_mailboxes: the commands on mailboxes as a whole.                                         RFC 3501 §6.3, RFC 3691, RFC 5819"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generator

from pymta.proto.imap import listing, objectid, on_acl, on_metadata, resync
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import flags_and_permanent, mailbox
from pymta.proto.imap.view import ALL_WANTED, View
from pymta.proto.imap.wants import UID_REQUIRED, Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session


CHANGING = frozenset("swtei")                           # without any of them a mailbox is READ-ONLY: RFC 4314 §5.2


def select(session: Session, command: Command) -> Running:
    name, condstore, known = command.args
    if known and not session.qresync:
        return b"BAD Say ENABLE QRESYNC first"
    if known and known[3] and session.uid_only:
        return UID_REQUIRED
    if (session.qresync or session.rev2) and session.view is not None:
        yield b"* OK [CLOSED] The mailbox before is closed\r\n"
    session.leave()                                   # also where the next one cannot be opened
    folder = yield Job(lambda: session.store.open(name))
    rights = folder.rights
    read_only = command.verb == b"EXAMINE" or not rights & CHANGING
    highest = yield from _highest(session, folder)
    try:
        view = View(name, folder, session, read_only=read_only, wake=session.wake, rev2=session.rev2)
    except BaseException:
        session.store.close(folder)
        raise
    session.view = view
    view.uid_only = session.uid_only
    view.wanted = session.notify.selected if session.notify else ALL_WANTED
    if condstore or session.condstore:
        session.enable_condstore()
    yield flags_and_permanent(view.keywords, read_only, rights)
    yield b"* %d EXISTS\r\n" % len(view.messages)
    if session.rev2:
        yield (yield from _listed(session, name))       # RFC 9051 §6.3.2
    else:
        yield b"* %d RECENT\r\n" % len(view.recent)
    if not view.uid_only and not session.rev2 and (first := folder.first_unseen(view.messages)) >= 0:
        yield b"* OK [UNSEEN %d] The first unseen message\r\n" % (first + 1)
    yield (b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] The next UID\r\n"
           % (folder.uidvalidity, max(folder.uidnext, view.messages[-1].uid + 1 if view.messages else 1)))
    yield b"* OK [MAILBOXID (%b)] This mailbox\r\n" % objectid.mailbox(folder.guid, folder.uidvalidity)
    yield b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % highest if highest else b"* OK [NOMODSEQ] Nothing can be written down here\r\n"
    if known and known[0] == folder.uidvalidity and highest:
        yield from resync.changed_since(view, *known[1:])
    if folder.vanished:                                 # while it was opened: what was said of it may be what was left
        session.leave()
        return b"NO [NONEXISTENT] The mailbox has just been deleted or renamed"
    return b"OK [READ-ONLY] Selected" if read_only else b"OK [READ-WRITE] Selected"


def _highest(session: Session, folder: Any) -> Generator[Any, Any, int]:
    """HIGHESTMODSEQ of a folder that has just been opened."""
    try:
        return (yield Job(lambda: folder.highestmodseq))
    except BaseException:
        session.store.close(folder)
        raise


def close(session: Session, command: Command) -> Running:
    """CLOSE expunges without a word, but for how far the client is now (RFC 7162 §3.2.8); UNSELECT does not."""
    view, reply = session.view, b"OK Done"
    assert view is not None
    if command.verb == b"CLOSE" and not view.read_only and "e" in view.folder.rights:
        uids = [message.uid for message in view.messages if "\\Deleted" in message.flags]
        if uids:
            gone = yield Job(lambda: view.folder.expunge(uids, session))
            session.setting.expunged(view.name, len(gone))
            if session.condstore and gone:
                highest = yield Job(lambda: view.folder.highestmodseq)
                reply = b"OK [HIGHESTMODSEQ %d] Done" % highest
    session.leave()
    return reply


def create(session: Session, command: Command) -> Running:
    name = command.args[0].removesuffix(listing.SEPARATOR)          # RFC 3501 §6.3.3: children will follow
    yield Job(lambda: session.store.create(name, command.args[1]))
    try:
        status = yield Job(lambda: session.store.status(name))
    except Exception as error:                          # somebody has removed it, or who may make it may not read it
        if session.setting.explain(error) is None:
            raise
        return b"OK Created"
    return b"OK [MAILBOXID (%b)] Created" % objectid.mailbox(status.guid, status.uidvalidity)


def delete(session: Session, command: Command) -> Running:
    name = command.args[0]
    if session.view is not None and session.view.name == name:
        session.leave()
    yield Job(lambda: session.store.delete(name))
    return b"OK Deleted"


def rename(session: Session, command: Command) -> Running:
    old, new = command.args[0], command.args[1].removesuffix(listing.SEPARATOR)
    view = session.view
    moves = view is not None and old != "INBOX" and (view.name + listing.SEPARATOR).startswith(old + listing.SEPARATOR)
    if view is not None and moves:
        yield view.announce()                           # while the old name still leads there
    yield Job(lambda: session.store.rename(old, new))
    if view is not None and moves:
        name = new + view.name[len(old):]
        before = view.folder
        view.move_to(name, (yield Job(lambda: session.store.open(name))))
        session.store.close(before)
    if session.rev2 and new != old:
        yield listing.news((yield Job(lambda: _mailboxes(session))), new, old)       # RFC 9051 §6.3.9.7
    return b"OK Renamed"


def subscribe(session: Session, command: Command) -> Running:
    name = command.args[0]
    yield Job(lambda: (session.store.subscribe if command.verb == b"SUBSCRIBE" else session.store.unsubscribe)(name))
    return b"OK Done"


def _listed(session: Session, name: str) -> Generator[Any, Any, bytes]:
    """The LIST reply of one mailbox."""
    all_of = yield Job(lambda: _mailboxes(session))
    return b"".join([line for found, _, line in listing.list_(all_of, "", (name,), frozenset(), frozenset()) if found == name])


def _mailboxes(session: Session) -> listing.Mailboxes:
    names = session.store.list()
    return listing.Mailboxes(tuple(names), tuple(session.store.subscriptions()), session.store.special_uses(names).get,
                             rev2=session.rev2, utf8=session.utf8)


def list_(session: Session, command: Command) -> Running:
    reference, patterns, selection, returns, items, entries = command.args
    all_of = yield Job(lambda: _mailboxes(session))
    for name, can_select, line in listing.list_(all_of, reference, patterns, selection, returns):
        yield line
        if can_select and (items or entries or b"MYRIGHTS" in returns):
            try:
                if b"MYRIGHTS" in returns:
                    yield (yield from on_acl.my_line(session, name))
                if entries:
                    yield on_metadata.line(name, (yield from on_metadata.values(session, name, entries, 0)), session.utf8)
                if items:
                    yield (yield from _status_line(session, name, items))
            except Exception as error:              # one mailbox that cannot be read does not end the list
                if session.setting.explain(error) is None:
                    raise
    return b"OK Done"


def lsub(session: Session, command: Command) -> Running:
    reference, patterns, *_ = command.args
    all_of = yield Job(lambda: _mailboxes(session))
    yield b"".join(listing.lsub(all_of, reference, patterns[0]))
    return b"OK Done"


def status(session: Session, command: Command) -> Running:
    name, items = command.args
    yield (yield from _status_line(session, name, items))
    return b"OK Done"


def _status_line(session: Session, name: str, items: tuple[bytes, ...]) -> Running:
    view = session.view
    if b"HIGHESTMODSEQ" in items:
        session.enable_condstore()
    if view is not None and view.name == name:
        yield Job(view.folder.sync)                 # what is told here must not disagree with what was announced
        yield view.announce()
        values = _count(view, items)
        guid = view.folder.guid
        if b"HIGHESTMODSEQ" in items:
            values[b"HIGHESTMODSEQ"] = yield Job(lambda: view.folder.highestmodseq)
    else:
        status = yield Job(lambda: session.store.status(name, size=b"SIZE" in items or b"DELETED-STORAGE" in items))
        values = {b"MESSAGES": status.messages, b"RECENT": status.recent, b"UIDNEXT": status.uidnext, b"UNSEEN": status.unseen,
                  b"UIDVALIDITY": status.uidvalidity, b"DELETED": status.deleted, b"SIZE": status.size or 0,
                  b"DELETED-STORAGE": status.deleted_octets}
        guid = status.guid
        if b"HIGHESTMODSEQ" in items:
            values[b"HIGHESTMODSEQ"] = yield Job(lambda: _highest_of(session, name))
    values[b"APPENDLIMIT"] = session.setting.limits.append_octets
    said = {item: b"%d" % value for item, value in values.items()}
    said[b"MAILBOXID"] = b"(%b)" % objectid.mailbox(guid, values[b"UIDVALIDITY"])
    pairs = b" ".join([b"%b %b" % (item, said[item]) for item in dict.fromkeys(items)])
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, session.utf8), pairs)


def _highest_of(session: Session, name: str) -> int:
    folder = session.store.open(name)
    try:
        return folder.highestmodseq
    finally:
        session.store.close(folder)


def _count(view: View, items: tuple[bytes, ...]) -> dict[bytes, int]:
    """The STATUS of the mailbox that is selected, as its session was told it."""
    messages = view.messages
    values = {b"MESSAGES": len(messages), b"RECENT": len(view.recent), b"UIDVALIDITY": view.folder.uidvalidity,
              b"UIDNEXT": max(view.folder.uidnext, messages[-1].uid + 1 if messages else 1)}
    if b"UNSEEN" in items or b"DELETED" in items:
        values[b"UNSEEN"], values[b"DELETED"] = view.count()
    if b"SIZE" in items:
        values[b"SIZE"] = sum([message.vsize for message in messages])
    if b"DELETED-STORAGE" in items:                     # RFC 9208 §4.1.4: in octets
        values[b"DELETED-STORAGE"] = sum([message.vsize for message in messages if "\\Deleted" in message.flags])
    return values
