"""contents: the messages of a folder: the files that have a UID.

The scanner says which files there are, the uidlist which UID each has; here stands what follows from both, and it is changed only
by what they say and by what our own actions did.  Every method wants folder.mutex.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, repeat
from typing import TYPE_CHECKING

from pymta.formats.maildir import letters_of
from pymta.mailbox.message import Changes, Message
from pymta.mailbox.scanner import NEW, Place

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_GONE_MAX = 200_000


class Contents:
    """messages: ascending by UID (a list is not changed but by appending: a session may hold it); in_new: UIDs whose files lie in
    new/; places: how many lie where, with which flags; unknown: bases of files without a UID; top: no UID at or below it may come any
    more; built: whether there was a first look.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.messages: list[Message] = []
        self.by_uid: dict[int, Message] = {}
        self.in_new: set[int] = set()
        self.places: Counter[Place] = Counter()
        self.unknown: set[bytes] = set()
        self.top = 0
        self.built = False
        self._octets: int | None = None                 # of all messages with CRLF, None where nobody has asked yet
        self._gone: dict[int, Message] = {}             # by UID

    # ---- asking -------------------------------------------------------------------------------------------------------
    def find(self, uid: int) -> Message | None:
        """The message with this UID, also one that was expunged lately."""
        return self.by_uid.get(uid) or self._gone.get(uid)

    def unseen_and_deleted(self) -> tuple[int, int]:
        """How many messages are unseen, and how many are deleted."""
        return count_letters(self.places)

    def octets(self) -> int:
        """Of all messages with CRLF line ends.  Raises Gone, OSError."""
        if self._octets is None:
            self._octets = sum([message.vsize for message in self.messages])
        return self._octets

    def deleted_octets(self) -> int:
        """Of the messages that are deleted.  Raises Gone, OSError."""
        places = {place for place in list(self.places) if b"T" in letters_of(place[1])}
        return sum([message.vsize for message in self.messages if message.place in places]) if places else 0

    # ---- what the disk says -------------------------------------------------------------------------------------------
    def build(self) -> None:
        """The first look: messages from nothing, fast.  What a cold open of a big folder costs."""
        self.built = True
        uids = self.folder.uidlist.list.uids if self.folder.uidlist.list else {}
        names = self.folder.scanner.names
        bases = list(uids) if uids.keys() <= names.keys() else [base for base in uids if base in names]
        self.unknown = set(names).difference(bases) if len(bases) < len(names) else set()
        if not self.unknown:                            # each name is kept once: a fifth of what a message takes
            self.folder.scanner.names = dict(zip(bases, map(names.__getitem__, bases)))
        self._fill(bases, list(map(uids.__getitem__, bases)))

    def _fill(self, bases: Sequence[bytes], uids: Sequence[int]) -> None:
        """These are the messages, ascending by UID."""
        places = list(map(self.folder.scanner.names.__getitem__, bases))
        self.messages = list(map(Message, repeat(self.folder), uids, bases, places))
        self.by_uid = dict(zip(uids, self.messages))
        self.places = Counter(places)
        self.in_new = {uid for uid, place in zip(uids, places) if place[0]} if any(place[0] for place in self.places) else set()
        self._octets = None

    def apply(self, touched: Iterable[bytes], changes: Changes) -> None:
        """What the scanner saw, for messages that have a UID; others are only noted."""
        names, went = self.folder.scanner.names, []
        for base in touched:
            place, message = names.get(base), self._named(base)
            if place is None:
                self.unknown.discard(base)
                if message is not None:
                    went.append(message)
            elif message is None:
                self.unknown.add(base)
            elif message.place != place:
                self.place(message, place, changes)
        self.drop(went, changes)

    def _named(self, base: bytes) -> Message | None:
        listed = self.folder.uidlist.list
        return self.by_uid.get(listed.uids.get(base, 0)) if listed else None

    def check_uids(self, changes: Changes) -> None:
        """The uidlist is another file: what it gives another UID than we know, goes and comes anew."""
        assert self.folder.uidlist.list is not None
        uids = self.folder.uidlist.list.uids
        wrong = [message for message in self.messages if uids.get(message.base) != message.uid]
        self.unknown.update([message.base for message in wrong])
        self.drop(wrong, changes)

    def keywords_changed(self, changes: Changes) -> None:
        before, self.folder.known_flags = self.folder.known_flags, {}
        changes.flags += [message for message in self.messages
                          if (info := message.place[1]) in before and self.folder.flags_of(message) != before[info]]

    def take_known(self, changes: Changes) -> None:
        """Files to which somebody else gave a UID."""
        uids = self.folder.uidlist.list.uids if self.folder.uidlist.list else {}
        if uids:
            self.arrive(sorted([(uids[base], base) for base in self.unknown if uids.get(base, 0) > self.top]), changes)

    # ---- one step -----------------------------------------------------------------------------------------------------
    def place(self, message: Message, place: Place, changes: Changes) -> None:
        """The message's file lies there now, and that is news if its flags are others."""
        before = self.folder.flags_of(message)
        self.put(message, place)
        if self.folder.flags_of(message) != before:
            changes.flags.append(message)

    def put(self, message: Message, place: Place) -> None:
        """The message's file lies there now."""
        self._left(message)
        message.place = place
        self.places[place] += 1
        if place[0] == NEW:
            self.in_new.add(message.uid)

    def _left(self, message: Message) -> None:
        left = self.places[message.place] - 1
        if left:
            self.places[message.place] = left
        else:
            del self.places[message.place]
        self.in_new.discard(message.uid)

    def renamed(self, uid: int, base: bytes, place: Place) -> None:
        """The message has this base now, and is the same message; what was said of its size was wrong."""
        message = self.by_uid[uid]
        self.put(message, place)
        message.base = base
        message.forget_sizes()
        self._octets = None

    def drop(self, went: Iterable[Message], changes: Changes) -> None:
        """These are gone; of one that is known to be gone this is no news."""
        went = [message for message in went if not message.expunged]
        if not went:
            return
        for message in went:
            self._left(message)
            message.expunged = True
            del self.by_uid[message.uid]
            self._gone[message.uid] = message
            changes.expunged.append(message.uid)
        self.messages = [message for message in self.messages if not message.expunged]
        self._count_octets(went, -1)
        if len(self._gone) > _GONE_MAX:
            for uid in list(islice(self._gone, len(self._gone) - _GONE_MAX)):
                del self._gone[uid]

    def arrive(self, pairs: Sequence[tuple[int, bytes]], changes: Changes) -> None:
        """Files with their UIDs, ascending and above all that were told."""
        if not pairs:
            return
        names = self.folder.scanner.names
        if not self.messages:                           # a folder that is new to us may be big
            self._fill([base for _, base in pairs], [uid for uid, _ in pairs])
            arrived = self.messages.copy()
        else:
            arrived = [Message(self.folder, uid, base, names[base]) for uid, base in pairs]
            self.messages += arrived
            for message in arrived:
                self.by_uid[message.uid] = message
                self.places[message.place] += 1
                if message.place[0] == NEW:
                    self.in_new.add(message.uid)
            self._count_octets(arrived, 1)
        self.unknown.difference_update([base for _, base in pairs])
        changes.arrived += arrived
        self.top = max(self.top, pairs[-1][0])

    def _count_octets(self, messages: Iterable[Message], sign: int) -> None:
        if self._octets is not None:
            for message in messages:
                vsize = message.known_vsize
                if vsize is None:                       # has to be read for it: once somebody asks
                    self._octets = None
                    return
                self._octets += sign * vsize

    def forget_gone(self) -> None:
        """Nobody is left who may ask for what was expunged."""
        self._gone.clear()


def count_letters(places: Mapping[Place, int]) -> tuple[int, int]:
    """How many are unseen, and how many are deleted."""
    letters = [(letters_of(info), count) for (_, info), count in list(places.items())]   # others may be at work on them
    return sum(count for some, count in letters if b"S" not in some), sum(count for some, count in letters if b"T" in some)
