"""contents: the messages of a folder: the files that have a UID.

The scanner says which files there are, the uidlist which UID each has; here stands what follows from both, and it is changed only
by what they say and by what our own actions did.  Every method wants folder.mutex.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice, repeat
from typing import TYPE_CHECKING

from pymta.mailbox.message import Changes, Message
from pymta.mailbox.scanner import NEW

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_GONE_MAX = 200_000


class Contents:
    """messages: ascending by UID (a list is not changed but by appending: a session may hold it); in_new: UIDs whose files lie in
    new/; unknown: bases of files without a UID; top: no UID at or below it may come any more; built: whether there was a first look.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.messages: list[Message] = []
        self.by_base: dict[bytes, Message] = {}
        self.by_uid: dict[int, Message] = {}
        self.in_new: set[int] = set()
        self.unknown: set[bytes] = set()
        self.top = 0
        self.built = False
        self._gone: dict[int, Message] = {}             # by UID

    def find(self, uid: int) -> Message | None:
        """The message with this UID, also one that was expunged lately."""
        return self.by_uid.get(uid) or self._gone.get(uid)

    def forget_gone(self) -> None:
        """Nobody is left who may ask for what was expunged."""
        self._gone.clear()

    def build(self) -> None:
        """The first look: messages from nothing, fast.  What a cold open of a big folder costs."""
        self.built = True
        uids = self.folder.uidlist.list.uids if self.folder.uidlist.list else {}
        names = self.folder.scanner.names
        bases: Sequence[bytes] = list(uids)
        if not uids.keys() <= names.keys():
            bases = [base for base in bases if base in names]
        numbers = [uids[base] for base in bases] if len(bases) < len(uids) else list(uids.values())
        self.messages = list(map(Message, repeat(self.folder), numbers, bases, map(names.__getitem__, bases)))
        self.by_base = dict(zip(bases, self.messages))
        self.by_uid = dict(zip(numbers, self.messages))
        self.in_new = {message.uid for message in self.messages if message.where[0]}
        self.unknown = set(names).difference(bases) if len(bases) < len(names) else set()

    def apply(self, touched: Iterable[bytes], changes: Changes) -> None:
        """What the scanner saw, for messages that have a UID; others are only noted."""
        names, by_base, went = self.folder.scanner.names, self.by_base, []
        for base in touched:
            where, message = names.get(base), by_base.get(base)
            if where is None:
                self.unknown.discard(base)
                if message is not None:
                    went.append(message)
            elif message is None:
                self.unknown.add(base)
            elif message.where != where:
                self.place(message, where, changes)
        self.drop(went, changes)

    def check_uids(self, changes: Changes) -> None:
        """The uidlist is another file: what it gives another UID than we know, goes and comes anew."""
        assert self.folder.uidlist.list is not None
        uids = self.folder.uidlist.list.uids
        wrong = [message for base, message in self.by_base.items() if uids.get(base) != message.uid]
        for message in wrong:
            self.unknown.add(message.base)
        self.drop(wrong, changes)

    def keywords_changed(self, changes: Changes) -> None:
        before, self.folder.known_flags = self.folder.known_flags, {}
        for message in self.messages:
            info = message.where[1][len(message.base):]
            if info in before and self.folder.flags_of(message) != before[info]:
                changes.flags.append(message)

    def place(self, message: Message, where: tuple[bool, bytes], changes: Changes) -> None:
        """The message's file lies there now."""
        before = self.folder.flags_of(message)
        message.where = where
        if where[0] == NEW:
            self.in_new.add(message.uid)
        else:
            self.in_new.discard(message.uid)
        if self.folder.flags_of(message) != before:
            changes.flags.append(message)

    def renamed(self, base: bytes, fresh: bytes, where: tuple[bool, bytes]) -> None:
        """The message of this base has another one now, and is the same message."""
        message = self.by_base.pop(base)
        message.base, message.where = fresh, where
        message.forget_sizes()
        self.by_base[fresh] = message

    def drop(self, went: Sequence[Message], changes: Changes) -> None:
        if not went:
            return
        for message in went:
            message.expunged = True
            del self.by_base[message.base], self.by_uid[message.uid]
            self.in_new.discard(message.uid)
            self._gone[message.uid] = message
            changes.expunged.append(message.uid)
        self.messages = [message for message in self.messages if not message.expunged]
        if len(self._gone) > _GONE_MAX:
            for uid in list(islice(self._gone, len(self._gone) - _GONE_MAX)):
                del self._gone[uid]

    def arrive(self, pairs: Iterable[tuple[int, bytes]], changes: Changes) -> None:
        """Files with their UIDs, ascending and above all that were told."""
        if not self.messages and not self.folder.changelog.loaded:
            return self._arrive_first(list(pairs), changes)
        for uid, base in pairs:
            message = Message(self.folder, uid, base, self.folder.scanner.names[base])
            self.by_base[base] = message
            self.by_uid[uid] = message
            self.messages.append(message)
            if message.where[0] == NEW:
                self.in_new.add(uid)
            self.unknown.discard(base)
            changes.arrived.append(message)
        if self.folder.uidlist.list:
            self.top = max(self.top, self.messages[-1].uid if self.messages else 0)

    def _arrive_first(self, pairs: list[tuple[int, bytes]], changes: Changes) -> None:
        """The same where nothing was before: a folder that is new to us may be big."""
        names = self.folder.scanner.names
        self.messages = [Message(self.folder, uid, base, names[base]) for uid, base in pairs]
        self.by_base = {message.base: message for message in self.messages}
        self.by_uid = {message.uid: message for message in self.messages}
        self.in_new.update([message.uid for message in self.messages if message.where[0]])
        self.unknown.difference_update(self.by_base)
        changes.arrived += self.messages
        if self.folder.uidlist.list and self.messages:
            self.top = max(self.top, self.messages[-1].uid)

    def take_known(self, changes: Changes) -> None:
        """Files to which somebody else gave a UID."""
        uids = self.folder.uidlist.list.uids if self.folder.uidlist.list else {}
        self.arrive(sorted((uids[base], base) for base in self.unknown if uids.get(base, 0) > self.top), changes)
