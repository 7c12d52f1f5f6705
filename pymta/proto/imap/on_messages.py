"""on_messages: the commands on messages of the selected mailbox.                              RFC 3501 §6.4, RFC 4315, RFC 6851"""
from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generator

from pymta.message.transfer import UnknownEncoding
from pymta.proto.imap import asciiform
from pymta.proto.imap import fetch as fetching
from pymta.proto.imap import rows
from pymta.proto.imap.fetchitem import FetchItem
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.response import uid_set
from pymta.proto.imap.resync import vanished_earlier
from pymta.proto.imap.view import View
from pymta.proto.imap.wants import OUT_HIGH_OCTETS, Job, Refusal, Running

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

_ROWS_A_TURN = 500                                      # messages looked at before others get a turn
_TEXTS_A_TURN = 1000                                    # where that is done at one stroke
_SEEN_A_TIME = 100                                      # messages marked \Seen at one stroke during a FETCH
_BIG_OCTETS = 1 << 20
_GONE = b"OK [EXPUNGEISSUED] Some of these messages are no longer there"      # not NO: clients would try again for ever


def _selected(session: Session) -> View:
    assert session.view is not None
    return session.view


def writable(session: Session) -> View:
    view = _selected(session)
    if view.read_only:
        raise Refusal(b"NO [READ-ONLY] The mailbox was opened with EXAMINE")
    return view


def chosen(session: Session, view: View, command: Command) -> list[int]:
    try:
        return view.indexes(command.args[0], command.uid)
    except ValueError as error:
        raise Refusal(b"BAD " + str(error).encode("ascii")) from None


def fetch(session: Session, command: Command) -> Running:
    view = _selected(session)
    if command.uid:                                     # "UID FETCH n:*" is to find what has come in meanwhile
        yield view.announce(expunge=False, flags=False)
    positions = chosen(session, view, command)
    items, since, vanished, part = command.args[1:]
    if vanished and not (command.uid and session.qresync):
        return b"BAD VANISHED is for UID FETCH, after ENABLE QRESYNC"
    if part:
        if not command.uid:
            return b"BAD PARTIAL is for UID FETCH"
        positions = list(part.of(positions))            # before what has not changed is left out: RFC 9394 §3.4
    if any(item.kind == "MODSEQ" for item in items):
        session.enable_condstore()
        yield Job(lambda: view.folder.highestmodseq)        # so that the numbers are there
    if vanished:
        yield vanished_earlier(view, (yield Job(lambda: view.folder.vanished_since(since))), command.args[0])
    if since:
        modseq_of = view.folder.modseq_of
        positions = [position for position in positions if modseq_of(view.messages[position]) > since]
    return (yield from fetched(session, view, positions, items, uid=command.uid))


def fetched(session: Session, view: View, positions: list[int], items: tuple[FetchItem, ...], *, uid: bool) -> Running:
    """The FETCH replies; uid: with UID, asked for or not."""
    uid = uid and not view.uid_only                     # then it stands in front of each reply
    if fetching.wants_entry(items):
        whole = not fetching.is_of_headers(items)
        describing = yield Job(lambda: view.folder.describing([view.messages[position] for position in positions], whole=whole))
        if not session.utf8:
            describing = asciiform.Describing(describing)
        try:
            return (yield from _fetch(session, view, positions, items, uid, describing))
        finally:
            describing.close()
    return (yield from _fetch(session, view, positions, items, uid, None))


def _fetch(session: Session, view: View, positions: list[int], items: tuple[FetchItem, ...], uid: bool, describing: Any) -> Running:
    """describing: knows ENVELOPE and BODYSTRUCTURE, None where nobody asks for them."""
    if one := rows.plan(items, uid=uid, word=view.fetch_word):
        return (yield from _fetch_texts(view, positions, *one, describing))
    if fetching.is_row(items):
        return (yield from _fetch_rows(view, positions, fetching.row_plan(items, uid=uid, word=view.fetch_word), describing))
    marks_seen = not view.read_only and any(item.seen for item in items)
    plan = fetching.plan(items, uid=uid, flags=False, utf8=session.utf8)
    plan_seen = fetching.plan(items, uid=uid or session.qresync and not view.uid_only, flags=True, modseq=session.condstore, utf8=session.utf8)      # for messages that become \Seen by being fetched
    reads_all = fetching.reads_all(items)
    messages = view.messages                        # no EXPUNGE is told meanwhile: the numbers stand
    said: list[bytes] = []
    octets = missing = 0
    undecoded: list[int] = []
    for begin in range(0, len(positions), _SEEN_A_TIME if marks_seen else _ROWS_A_TURN):
        some = positions[begin:begin + (_SEEN_A_TIME if marks_seen else _ROWS_A_TURN)]
        seen: set[int] = set()
        if marks_seen:
            seen = yield from _mark_seen(session, view, [messages[position] for position in some])
        entries = (yield Job(lambda: describing.some([messages[position] for position in some]))) if describing else [None] * len(some)
        for position, entry in zip(some, entries):
            if reads_all and (source := _big(session, view, messages[position])):
                prepare = partial(source.prepare, items)
                yield Job(prepare)                      # others go on meanwhile
            row = _fetch_one(session, view, position, plan_seen if messages[position].uid in seen else plan, entry, undecoded)
            if row is None:
                missing += 1
                continue
            said.append(row)
            octets += len(row)
            if octets >= OUT_HIGH_OCTETS:
                del row
                yield _taken(said)
                octets = 0
        yield None
    yield _taken(said)
    if undecoded:
        return b"NO [UNKNOWN-CTE] A part says a Content-Transfer-Encoding that is not known here"
    if missing:
        return _GONE
    return b"OK Done"


def _taken(said: list[bytes]) -> bytes:
    """What was to be said, in one piece; it is not kept here while the client takes it."""
    octets = b"".join(said)
    said.clear()
    return octets


def _fetch_rows(view: View, positions: list[int], row: fetching.Row, describing: Any) -> Running:
    """FETCH of what is known without reading messages: clients ask it of whole mailboxes."""
    messages, flags = view.messages, view.flags
    missing = False
    for begin in range(0, len(positions), _ROWS_A_TURN):
        some = positions[begin:begin + _ROWS_A_TURN]
        asked = [messages[position] for position in some]
        entries = (yield Job(lambda: describing.some(asked))) if describing else [_NO_ENTRY] * len(some)
        try:
            yield b"".join([row(number, message, flags(message), entry) for number, message, entry in zip(view.numbers(some), asked, entries)])
        except (LookupError, AttributeError):           # one of them has gone for good: the others one by one
            for number, message, entry in zip(view.numbers(some), asked, entries):
                try:
                    if entry is None:
                        raise LookupError
                    yield row(number, message, flags(message), entry)
                except LookupError:
                    missing = True
        yield None
    return _GONE if missing else b"OK Done"


_NO_ENTRY = object()


def _fetch_texts(view: View, positions: list[int], which: str, say: rows.Rows, describing: Any) -> Running:
    """FETCH of the flags, or of one text that the index holds."""
    messages = view.messages
    missing = False
    for begin in range(0, len(positions), _TEXTS_A_TURN):
        some = positions[begin:begin + _TEXTS_A_TURN]
        asked = [messages[position] for position in some]
        texts = (yield Job(lambda: describing.texts(asked, which.lower()))) if describing else view.flags_of(asked)
        if None in texts:
            missing = True
            some, asked = ([one for one, text in zip(column, texts) if text is not None] for column in (some, asked))
            texts = [text for text in texts if text is not None]
        yield say(view.numbers(some), asked, texts)
        yield None
    return _GONE if missing else b"OK Done"


def _big(session: Session, view: View, message: Any) -> fetching.Source | None:
    """A message that takes a while to read or to decode.  The one that was read last is kept: clients fetch big ones in pieces."""
    try:
        if message.vsize < _BIG_OCTETS:
            return None
    except LookupError:
        return None
    if session.source is None or session.source.message is not message:
        session.source = fetching.Source(view.folder, message)
    return session.source


def _fetch_one(session: Session, view: View, position: int, plan: list[fetching.Say], entry: Any, undecoded: list[int]) -> bytes | None:
    """One FETCH reply; None if the message has gone.  What cannot be decoded is left out, and noted in undecoded."""
    message = view.messages[position]
    source = session.source
    if source is None or source.message is not message:
        source = session.source = fetching.Source(view.folder, message, entry)
    elif entry is not None:
        source.entry = entry
    flags = view.flags(message)
    said = []
    try:
        for say in plan:
            try:
                said.append(say(source, flags))
            except UnknownEncoding:
                undecoded.append(message.uid)
    except LookupError:
        return None
    return view.fetch_line(position, b" ".join(said)) if said else b""


def _mark_seen(session: Session, view: View, messages: list[Any]) -> Generator[Any, Any, set[int]]:
    """Set \\Seen where it is not, and return whose flags that changed."""
    uids = [message.uid for message in messages if "\\Seen" not in message.flags and not message.expunged]
    if not uids:
        return set()
    try:
        changed = yield Job(lambda: view.folder.set_flags(uids, "add", ("\\Seen",), session))
    except Exception as error:                      # a mailbox that cannot be written can still be read
        if session.setting.explain(error) is None:
            raise
        return set()
    return {message.uid for message in changed}


def store(session: Session, command: Command) -> Running:
    view = writable(session)
    positions = chosen(session, view, command)
    _, mode, silent, flags, unchanged = command.args
    uids = [view.messages[position].uid for position in positions]
    modified: list[int] = []
    if unchanged is None:
        yield Job(lambda: view.folder.set_flags(uids, mode, flags, session))
    else:
        session.enable_condstore()
        modified = yield Job(lambda: view.folder.set_flags_unchanged(uids, mode, flags, unchanged, session))
        left_out = set(modified)
        positions = [position for position in positions if view.messages[position].uid not in left_out]
    yield b"".join(view.new_keywords())
    if not silent or session.condstore:
        with_uid = (command.uid or session.qresync) and not view.uid_only
        for begin in range(0, len(positions), _TEXTS_A_TURN):
            some = [position for position in positions[begin:begin + _TEXTS_A_TURN] if not view.messages[position].expunged]
            yield _stored(session, view, some, with_uid, silent)
    if modified:
        numbers = modified if command.uid else [view.index(uid) + 1 for uid in modified]
        return b"OK [MODIFIED %b] Some have changed since" % uid_set(numbers)
    if not command.uid and any(view.messages[position].expunged for position in positions):
        return _GONE
    return b"OK Done"


def _stored(session: Session, view: View, positions: list[int], uid: bool, silent: bool) -> bytes:
    """What STORE says of the messages it was asked to change."""
    messages = [view.messages[position] for position in positions]
    if not session.condstore:
        return rows.of("FLAGS", uid=uid, word=view.fetch_word)(view.numbers(positions), messages, view.flags_of(messages))
    out = []
    for position, message in zip(positions, messages):
        said = [b"UID %d" % message.uid] if uid else []
        modseq = view.folder.modseq_of(message)         # before the flags: see View.flags_line
        if not silent:
            said.append(b"FLAGS (%b)" % view.flags(message))
        out.append(view.fetch_line(position, b" ".join([*said, b"MODSEQ (%d)" % modseq])))
    return b"".join(out)


def copy(session: Session, command: Command) -> Running:
    """COPY and MOVE.  UIDs that are not there are passed over: OK, and no COPYUID if none is left."""
    moves = command.verb == b"MOVE"
    view = writable(session) if moves else _selected(session)
    name = command.args[1]
    positions = chosen(session, view, command)
    uids = [view.messages[position].uid for position in positions]
    if not uids:
        return b"OK No such message"

    def copy() -> tuple[int, list[tuple[int, int]]]:
        target = session.store.open(name, "i")
        try:
            octets = _octets(view, positions)
            session.store.need_room(name, octets, freed=octets * moves, of=view.name)
            pairs = (view.folder.move if moves else view.folder.copy)(uids, target, session)
            return target.uidvalidity, pairs
        finally:
            session.store.close(target)
    try:
        uidvalidity, pairs = yield Job(copy)
    except LookupError:
        return b"NO [TRYCREATE] No such mailbox"
    if not pairs:
        return _GONE
    code = b"[COPYUID %d %b %b]" % (uidvalidity, uid_set(old for old, _ in pairs), uid_set(new for _, new in pairs))
    if moves:
        yield b"* OK %b Moved\r\n" % code           # RFC 6851 §4.3: before the EXPUNGEs
        return (yield from removed(session, view, b"Moved"))
    return b"OK %b Copied" % code


def _octets(view: View, positions: list[int]) -> int:
    """What these messages hold; one that has gone holds nothing."""
    octets = 0
    for position in positions:
        try:
            octets += view.messages[position].size
        except LookupError:
            pass
    return octets


def expunge(session: Session, command: Command) -> Running:
    view = writable(session)
    if command.uid:
        messages = [view.messages[position] for position in chosen(session, view, command)]
    else:
        messages = view.messages
    uids = [message.uid for message, flags in zip(messages, view.folder.flags_of_all(messages)) if "\\Deleted" in flags and not message.expunged]
    if uids:
        gone = yield Job(lambda: view.folder.expunge(uids, session))
        session.setting.expunged(view.name, len(gone))
        return (yield from removed(session, view, b"Expunged"))
    return b"OK Expunged"


def removed(session: Session, view: View, text: bytes) -> Running:
    """The tagged reply of what has taken messages away.  RFC 7162 §3.2.7"""
    if not session.condstore:
        return b"OK " + text
    highest = yield Job(lambda: view.folder.highestmodseq)      # all up to it is in the view's queue, and told before the tagged reply
    return b"OK [HIGHESTMODSEQ %d] %b" % (highest, text)
