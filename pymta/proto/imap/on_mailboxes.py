"""on_mailboxes: the commands on mailboxes as a whole.                                         RFC 3501 §6.3, RFC 3691, RFC 5819"""
from __future__ import annotations

from typing import TYPE_CHECKING

from pymta.proto.imap import listing
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import flags_and_permanent, mailbox
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import Job, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session


def select(session: Session, command: Command) -> Running:
    (name,) = command.args
    session.leave()                                   # also where the next one cannot be opened
    read_only = command.verb == b"EXAMINE"
    folder = yield Job(lambda: session.store.open(name))
    try:
        view = View(name, folder, session, read_only=read_only, wake=session.setting.wake)
    except BaseException:
        session.store.close(folder)
        raise
    session.view = view
    yield flags_and_permanent(view.keywords, read_only)
    yield b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(view.messages), len(view.recent))
    for position, message in enumerate(view.messages):
        if "\\Seen" not in message.flags:
            yield b"* OK [UNSEEN %d] The first unseen message\r\n" % (position + 1)
            break
    yield (b"* OK [UIDVALIDITY %d] UIDs valid\r\n* OK [UIDNEXT %d] The next UID\r\n"
           % (folder.uidvalidity, max(folder.uidnext, view.messages[-1].uid + 1 if view.messages else 1)))
    return b"OK [READ-ONLY] Selected" if read_only else b"OK [READ-WRITE] Selected"


def close(session: Session, command: Command) -> Running:
    """CLOSE expunges without a word; UNSELECT does not."""
    view = session.view
    assert view is not None
    if command.verb == b"CLOSE" and not view.read_only:
        uids = [message.uid for message in view.messages if "\\Deleted" in message.flags]
        if uids:
            gone = yield Job(lambda: view.folder.expunge(uids, session))
            session.setting.expunged(view.name, len(gone))
    session.leave()
    return b"OK Done"


def create(session: Session, command: Command) -> Running:
    name = command.args[0]
    yield Job(lambda: session.store.create(name.removesuffix(listing.SEPARATOR)))       # RFC 3501 §6.3.3: children will follow
    return b"OK Created"


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
    return b"OK Renamed"


def subscribe(session: Session, command: Command) -> Running:
    name = command.args[0]
    yield Job(lambda: (session.store.subscribe if command.verb == b"SUBSCRIBE" else session.store.unsubscribe)(name))
    return b"OK Done"


def _mailboxes(session: Session) -> listing.Mailboxes:
    return listing.Mailboxes(tuple(session.store.list()), tuple(session.store.subscriptions()), session.store.special_use)


def list_(session: Session, command: Command) -> Running:
    reference, patterns, selection, returns, items = command.args
    all_of = yield Job(lambda: _mailboxes(session))
    for name, can_select, line in listing.list_(all_of, reference, patterns, selection, returns):
        yield line
        if items and can_select:
            try:
                yield (yield from _status_line(session, name, items))
            except Exception as error:              # one mailbox that cannot be read does not end the list
                if session.setting.explain(error) is None:
                    raise
    return b"OK Done"


def lsub(session: Session, command: Command) -> Running:
    reference, patterns, _, _, _ = command.args
    all_of = yield Job(lambda: _mailboxes(session))
    yield b"".join(listing.lsub(all_of, reference, patterns[0]))
    return b"OK Done"


def status(session: Session, command: Command) -> Running:
    name, items = command.args
    yield (yield from _status_line(session, name, items))
    return b"OK Done"


def _status_line(session: Session, name: str, items: tuple[bytes, ...]) -> Running:
    view = session.view
    if view is not None and view.name == name:
        yield Job(view.folder.sync)                 # what is told here must not disagree with what was announced
        yield view.announce()
        values = _count(view, items)
    else:
        status = yield Job(lambda: session.store.status(name, size=b"SIZE" in items))
        values = {b"MESSAGES": status.messages, b"RECENT": status.recent, b"UIDNEXT": status.uidnext, b"UNSEEN": status.unseen,
                  b"UIDVALIDITY": status.uidvalidity, b"DELETED": status.deleted, b"SIZE": status.size or 0}
    pairs = b" ".join([b"%b %d" % (item, values[item]) for item in dict.fromkeys(items)])
    return b"* STATUS %b (%b)\r\n" % (mailbox(name), pairs)


def append(session: Session, command: Command) -> Running:
    name, flags, when, data = command.args
    octets = data.replace(b"\r\n", b"\n")
    flags = tuple(flag for flag in flags if flag != "\\Recent")

    def append() -> tuple[int, int]:
        folder = session.store.open(name)
        try:
            return folder.uidvalidity, folder.append(octets, flags, when, session)
        finally:
            session.store.close(folder)
    try:
        uidvalidity, uid = yield Job(append)
    except LookupError:
        return b"NO [TRYCREATE] No such mailbox"
    return b"OK [APPENDUID %d %d] Stored" % (uidvalidity, uid)


def _count(view: View, items: tuple[bytes, ...]) -> dict[bytes, int]:
    """The STATUS of the mailbox that is selected, as its session was told it."""
    messages = view.messages
    values = {b"MESSAGES": len(messages), b"RECENT": len(view.recent), b"UIDVALIDITY": view.folder.uidvalidity,
              b"UIDNEXT": max(view.folder.uidnext, messages[-1].uid + 1 if messages else 1)}
    if b"UNSEEN" in items or b"DELETED" in items:
        values[b"UNSEEN"], values[b"DELETED"] = view.count()
    if b"SIZE" in items:
        values[b"SIZE"] = sum([message.vsize for message in messages])
    return values
