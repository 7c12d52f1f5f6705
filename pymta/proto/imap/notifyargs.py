"""notifyargs: the arguments of NOTIFY.                                                          RFC 5465 §8

    notify       = "NOTIFY" SP ("SET" [SP "STATUS"] 1*(SP event-group) / "NONE")
    event-group  = "(" filter-mailboxes SP ("(" event *(SP event) ")" / "NONE") ")"
    event        = "MessageNew" [SP "(" fetch-att *(SP fetch-att) ")"] / "MessageExpunge" / "FlagChange" / "MailboxName"
                 / "SubscriptionChange" / "MailboxMetadataChange" / "ServerMetadataChange" / atom
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from pymta.proto.imap import fetchitem, mailboxfilter
from pymta.proto.imap.args import Args, Bad
from pymta.proto.imap.fetchitem import FetchItem
from pymta.proto.imap.mailboxfilter import Filter

NEW, EXPUNGE, FLAGS, NAME, SUBSCRIPTION = "MessageNew", "MessageExpunge", "FlagChange", "MailboxName", "SubscriptionChange"
NOTES, SERVER_NOTES = "MailboxMetadataChange", "ServerMetadataChange"
EVENTS = (NEW, EXPUNGE, FLAGS, NAME, SUBSCRIPTION, NOTES, SERVER_NOTES)
MESSAGE_EVENTS = frozenset((NEW, EXPUNGE, FLAGS))
_GROUPS_MAX = 100
_BY_WORD = {event.upper().encode(): event for event in EVENTS}


@dataclass(frozen=True, slots=True)
class Group:
    """events: of EVENTS, and such as nobody here knows, as the client wrote them.  items: what a new message is fetched with, or none."""

    filter: Filter
    events: frozenset[str] = frozenset()
    items: tuple[FetchItem, ...] = ()

    @property
    def unknown(self) -> frozenset[str]:
        return self.events.difference(EVENTS)


def notify(args: Args) -> tuple:
    """->  (groups or None for NONE, whether STATUS is wanted)"""
    args.space()
    word = args.atom().upper()
    if word == b"NONE":
        return None, False
    if word != b"SET":
        raise Bad("SET or NONE expected")
    args.space()
    status = args.peek() != 40
    if status:
        if args.atom().upper() != b"STATUS":
            raise Bad("STATUS expected")
        args.space()
    groups = [_group(args)]
    while args.more():
        args.space()
        groups.append(_group(args))
        if len(groups) > _GROUPS_MAX:
            raise Bad("too many groups")
    if sum(group.filter.is_selected for group in groups) > 1:
        raise Bad("the selected mailbox is named twice")
    return tuple(groups), status


def _group(args: Args) -> Group:
    args.need(b"(")
    which = mailboxfilter.of_notify(args)
    args.space()
    items: list[FetchItem] = []
    events: frozenset[str] = frozenset()
    if args.peek() == 40:
        events = frozenset(args.list(lambda: _event(args, items)))
        if not events:
            raise Bad("an event expected")
    elif args.atom().upper() != b"NONE":
        raise Bad("events or NONE expected")
    args.need(b")")
    group = Group(which, events, tuple(items))
    _check(group)
    return group


def _event(args: Args, items: list[FetchItem]) -> str:
    word = args.atom()
    event = _BY_WORD.get(word.upper(), word.decode("ascii"))
    if event == NEW and bytes(args.raw[args.at:args.at + 2]) == b" (":
        args.space()
        items += [replace(item, seen=False) for item in fetchitem.atts(args)]       # nobody has read it yet: RFC 5465 §5.2
    return event


def _check(group: Group) -> None:
    """RFC 5465 §5, §6.1, §8"""
    events = group.events
    if (NEW in events) != (EXPUNGE in events) or FLAGS in events and NEW not in events:
        raise Bad("MessageNew and MessageExpunge go together, and FlagChange with them")
    if group.filter.is_selected and events.difference(MESSAGE_EVENTS) & {*EVENTS}:
        raise Bad("of the selected mailbox only its messages are told")
    if group.items and not group.filter.is_selected:
        raise Bad("only messages of the selected mailbox are fetched")
