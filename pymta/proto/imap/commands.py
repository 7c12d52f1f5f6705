"""commands: which function runs which verb once the user is known."""
from __future__ import annotations

from typing import Callable

from pymta.proto.imap import on_acl, on_append, on_mailboxes, on_messages, on_metadata, on_multisearch, on_notify, on_quota, on_search, on_session
from pymta.proto.imap.grammar import Command
from pymta.proto.imap.search import asks_numbers
from pymta.proto.imap.wants import Running

COMMANDS: dict[bytes, Callable[..., Running]] = {
    b"CAPABILITY": on_session.capability, b"NOOP": on_session.noop, b"CHECK": on_session.noop, b"LOGOUT": on_session.logout,
    b"ID": on_session.id_, b"ENABLE": on_session.enable, b"NAMESPACE": on_session.namespace, b"IDLE": on_session.idle,
    b"COMPRESS": on_session.compress,
    b"SELECT": on_mailboxes.select, b"EXAMINE": on_mailboxes.select, b"CLOSE": on_mailboxes.close, b"UNSELECT": on_mailboxes.close,
    b"CREATE": on_mailboxes.create, b"DELETE": on_mailboxes.delete, b"RENAME": on_mailboxes.rename,
    b"SUBSCRIBE": on_mailboxes.subscribe, b"UNSUBSCRIBE": on_mailboxes.subscribe,
    b"LIST": on_mailboxes.list_, b"LSUB": on_mailboxes.lsub, b"STATUS": on_mailboxes.status, b"APPEND": on_append.append,
    b"REPLACE": on_append.replace,
    b"FETCH": on_messages.fetch, b"STORE": on_messages.store, b"COPY": on_messages.copy, b"MOVE": on_messages.copy,
    b"EXPUNGE": on_messages.expunge, b"SEARCH": on_search.search,
    b"SETACL": on_acl.set_, b"DELETEACL": on_acl.set_, b"GETACL": on_acl.get, b"LISTRIGHTS": on_acl.list_, b"MYRIGHTS": on_acl.my,
    b"GETMETADATA": on_metadata.get, b"SETMETADATA": on_metadata.set_,
    b"GETQUOTA": on_quota.get, b"GETQUOTAROOT": on_quota.get_root, b"SETQUOTA": on_quota.refuse,
    b"SORT": on_search.sort, b"THREAD": on_search.thread, b"ESEARCH": on_multisearch.esearch, b"NOTIFY": on_notify.notify,
}
# These need a mailbox that is selected.
SELECTED = frozenset((b"CHECK", b"CLOSE", b"UNSELECT", b"EXPUNGE", b"SEARCH", b"SORT", b"THREAD", b"FETCH", b"STORE", b"COPY", b"MOVE", b"REPLACE"))
# No change is told before their tagged reply: the numbers of the mailbox are not what they were, or do not matter any more.
QUIET = frozenset((b"SELECT", b"EXAMINE", b"CLOSE", b"UNSELECT", b"LOGOUT"))
# No EXPUNGE is told in answer to these without UID: RFC 3501 §7.4.1
KEEP_NUMBERS = frozenset((b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD"))
# They take messages away themselves, and answer with that whatever else is wanted.
REMOVES = frozenset((b"EXPUNGE", b"MOVE", b"REPLACE"))
# They make another tree of mailboxes, of which who did it needs no notice.  RFC 5465 §5
CHANGES_TREE = frozenset((b"CREATE", b"DELETE", b"RENAME", b"SUBSCRIBE", b"UNSUBSCRIBE"))
# Without UID they are about message numbers; with it a search key may be.
_NUMBERED = frozenset((b"FETCH", b"STORE", b"COPY", b"MOVE", b"REPLACE", b"SEARCH", b"SORT", b"THREAD"))
_SEARCHES = frozenset((b"SEARCH", b"SORT", b"THREAD", b"ESEARCH"))


def uses_numbers(command: Command) -> bool:
    """Whether a command asks for, or would be answered with, message numbers.  RFC 9586 §3"""
    if command.verb in _NUMBERED and not command.uid:
        return True
    return command.verb in _SEARCHES and asks_numbers(command.args[-1])
# These change nothing and may take long: a server that goes down does not wait for them.
LOOKS = frozenset((b"SEARCH", b"SORT", b"THREAD", b"ESEARCH"))
