"""view: what one session was told of its mailbox, and what it must still be told.             RFC 3501 §5.2, §5.5, §7.4.1

A Folder belongs to all sessions; the numbers 1 to n belong to one.  A view keeps the list of messages as announced and a
queue of changes, which `told` may fill from any thread.  Only `announce` moves the numbers, and the session calls it only where
the RFC lets an EXPUNGE stand: never in answer to FETCH, STORE and SEARCH without UID, never between commands outside IDLE.
"""
from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Callable, Iterable

from pymta.proto.imap.args import SAVED, STAR, Pairs
from pymta.proto.imap.response import flag_list, flags_and_permanent, uid_set

_uid = attrgetter("uid")
_TEXTS_MAX = 1000
_AGAIN = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client wants to hear of the mailbox that is selected.  RFC 5465 §6.1

    delayed: expunges only where a command allows them; items: what a new message is fetched with."""

    new: bool = False
    expunge: bool = False
    flags: bool = False
    delayed: bool = False
    items: tuple[Any, ...] = ()


ALL_WANTED = Wanted(True, True, True, delayed=True)     # until NOTIFY is said


class View:
    """folder: what the store opened; owner: what marks changes of this session; read_only: EXAMINE; wake: called, in
    whatever thread, when there is something to tell."""

    def __init__(self, name: str, folder: Any, owner: object, *, read_only: bool, wake: Callable[[], None], rev2: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.owner = owner
        self.read_only = read_only
        self.wake = wake
        self.rev2 = rev2                                # nothing is \\Recent: RFC 9051 §2.3.2
        self.condstore = self.qresync = False           # RFC 7162: tell mod-sequences; tell UIDs that vanished instead of numbers
        self.uid_only = False                           # RFC 9586: no message has a number, only its UID
        self.wanted = ALL_WANTED
        self.fresh: list[int] = []                      # UIDs that were announced and are to be fetched for the client
        self.arranged: tuple[Any, ...] = ()             # the last SORT or THREAD: what was asked, of which UIDs, the answer
        self.saved: frozenset[int] = frozenset()        # UIDs that SEARCH RETURN (SAVE) kept: "$".  RFC 5182
        self._queue: deque[Any] = deque()
        self._gone: set[int] = set()
        self._flags: set[int] = set()
        self._late: list[Any] = []
        self._own: set[int] = set()                     # UIDs that came by this very session
        self._texts: dict[frozenset[str], bytes] = {}
        folder.add_listener(self.told)
        self.messages: list[Any] = list(folder.messages)
        self.recent: set[int] = set()
        self.claim_recent()
        self._recent_told = len(self.recent)
        self.keywords: list[str] = list(folder.keywords)

    def close(self) -> None:
        self.folder.remove_listener(self.told)

    def move_to(self, name: str, folder: Any) -> None:
        """The mailbox has another name, and so another Folder: go on where we are."""
        self.close()
        self.name, self.folder = name, folder
        folder.add_listener(self.told)
        now = {message.uid: message for message in folder.messages}
        last = self.messages[-1].uid if self.messages else 0
        self._gone.update(message.uid for message in self.messages if message.uid not in now)
        self._late += [message for uid, message in now.items() if uid > last]
        self.messages = [now.get(message.uid, message) for message in self.messages]

    def told(self, changes: Any) -> None:
        """The folder's listener."""
        self._queue.append(changes)
        self.wake()

    def claim_recent(self) -> None:
        """What nobody has seen yet is \\Recent for us; only a read-write session takes it from the others."""
        if self.read_only:
            found = [message.uid for message in self.messages if message.new]
        else:
            found = self.folder.claim_recent(self.owner)
        if not self.rev2:
            self.recent.update(found)

    def forget_recent(self) -> None:
        """The client has said that it is of a kind that knows no \\Recent."""
        self.rev2 = True
        self.recent.clear()
        self._recent_told = 0

    # ---- numbers ------------------------------------------------------------------------------------------------------
    def indexes(self, pairs: Pairs, uid: bool) -> list[int]:
        """Positions in messages that a set names, ascending, each once.  Raises ValueError for a sequence number that is not there."""
        messages, count = self.messages, len(self.messages)
        last_uid = messages[-1].uid if messages else 0
        ranges = []
        if SAVED in pairs:
            ranges = [(position, position + 1) for position, message in enumerate(messages) if message.uid in self.saved]
            pairs = tuple(pair for pair in pairs if pair != SAVED)
        for a, b in pairs:
            if not uid and count < max(a, b) != STAR:
                raise ValueError("no such message number")
            if not count:
                continue
            star = last_uid if uid else count
            first, last = (star if a == STAR else a), (star if b == STAR else b)
            if first > last:
                first, last = last, first
            if uid:
                first, last = bisect_left(messages, first, key=_uid), bisect_right(messages, last, key=_uid)
            else:
                first, last = min(first, count) - 1, min(last, count)
            if first < last:
                ranges.append((first, last))
        if len(ranges) == 1:
            return list(range(*ranges[0]))
        out: list[int] = []
        reached = 0
        for first, last in sorted(ranges):
            out.extend(range(max(first, reached), last))
            reached = max(reached, last)
        return out

    def index(self, uid: int) -> int:
        """Position of a UID, -1 if it is not in the view."""
        at = bisect_left(self.messages, uid, key=_uid)
        return at if at < len(self.messages) and self.messages[at].uid == uid else -1

    def at_or_after(self, uid: int) -> int:
        """Position of the first message with this UID or a higher one."""
        return bisect_left(self.messages, uid, key=_uid)

    @property
    def fetch_word(self) -> bytes:
        return b"UIDFETCH" if self.uid_only else b"FETCH"

    def numbers(self, positions: list[int]) -> list[int]:
        """What stands in front of FETCH, or of UIDFETCH."""
        messages = self.messages
        return [messages[position].uid for position in positions] if self.uid_only else [position + 1 for position in positions]

    def fetch_line(self, position: int, said: bytes) -> bytes:
        """One FETCH reply, or UIDFETCH.  said: what stands between the parentheses."""
        return b"* %d %b (%b)\r\n" % (self.messages[position].uid if self.uid_only else position + 1, self.fetch_word, said)

    def flags_line(self, position: int) -> bytes:
        """The FETCH reply about flags that have changed."""
        message = self.messages[position]
        uid = b"" if self.uid_only else b"UID %d " % message.uid
        modseq = self.modseq(message)                   # first: old flags under a new number would never be put right
        return self.fetch_line(position, b"%bFLAGS (%b)%b" % (uid, self.flags(message), modseq))

    # ---- what is to be told -------------------------------------------------------------------------------------------
    def announce(self, *, expunge: bool = True, flags: bool = True, own: bool = False) -> bytes:
        """What happened since the last time, as untagged replies.  expunge: whether messages may vanish now; own: whether the
        client has just removed some itself.  What nobody wants to hear stays as if it had not happened.

        A client takes the highest mod-sequence it sees here for all it knows: what came while this was said is said as well."""
        out = self._announce(expunge, flags, own)
        for _ in range(_AGAIN):
            if not (self.condstore and expunge and self._queue):
                break
            out += self._announce(expunge, flags, own)
        return out

    def _announce(self, expunge: bool, flags: bool, own: bool) -> bytes:
        arrived = self._absorb()
        expunge, flags = expunge and (own or self.wanted.expunge), flags and self.wanted.flags
        if arrived and not self.wanted.new:
            self._late, arrived = arrived, []
        if not (arrived or self._gone or self._flags):
            return b""
        out: list[bytes] = []
        if expunge and self._gone:
            out += self._expunge()
        if arrived:
            self.messages += arrived
            if self.wanted.items:
                self.fresh += [message.uid for message in arrived if message.uid not in self._own]
            self._own.clear()
            self.claim_recent()
            out.append(b"* %d EXISTS\r\n" % len(self.messages))
        if self._recent_told != len(self.recent):
            self._recent_told = len(self.recent)
            out.append(b"* %d RECENT\r\n" % self._recent_told)
        if flags and self._flags:
            out += self._flag_lines()
        return b"".join(out)

    def _absorb(self) -> list[Any]:
        """Fold the queue in; the messages that are new to this view."""
        arrived, self._late = self._late, []
        last = arrived[-1].uid if arrived else self.messages[-1].uid if self.messages else 0
        queue = self._queue
        while queue:
            changes = queue.popleft()
            self._gone.update(changes.expunged)
            for message in changes.arrived:
                if message.uid > last:
                    arrived.append(message)
                    last = message.uid
                    if changes.by is self.owner:
                        self._own.add(message.uid)
            if changes.by is not self.owner or changes.by is None:
                self._flags.update(message.uid for message in changes.flags)
        if arrived and self._gone:                      # came and went while we did not look
            arrived = [message for message in arrived if message.uid not in self._gone]
        return arrived

    def _expunge(self) -> list[bytes]:
        gone, self._gone = self._gone, set()
        self._flags -= gone
        self.recent -= gone
        positions = sorted(position for position in map(self.index, gone) if position >= 0)
        if self.qresync or self.uid_only:
            vanished = uid_set(self.messages[position].uid for position in positions)
            out = [b"* VANISHED %b\r\n" % vanished] if positions else []
        else:
            out = [b"* %d EXPUNGE\r\n" % (position + 1 - before) for before, position in enumerate(positions)]
        if len(positions) < 20:
            for position in reversed(positions):
                del self.messages[position]
        else:
            self.messages = [message for message in self.messages if message.uid not in gone]
        return out

    def _flag_lines(self) -> Iterable[bytes]:
        out = list(self.new_keywords())
        for uid in sorted(self._flags - self._gone):
            position = self.index(uid)
            if position >= 0:
                out.append(self.flags_line(position))
        self._flags &= self._gone
        return out

    def new_keywords(self) -> Iterable[bytes]:
        """The FLAGS and PERMANENTFLAGS replies, if keywords came up that this session has not heard of."""
        if len(self.keywords) != len(self.folder.keywords):
            self.keywords = list(self.folder.keywords)
            yield flags_and_permanent(self.keywords, self.read_only, self.folder.rights)

    def modseq(self, message: Any) -> bytes:
        """What stands behind flags that have changed."""
        return b" MODSEQ (%d)" % self.folder.modseq_of(message) if self.condstore else b""

    def count(self) -> tuple[int, int]:
        """How many messages are unseen, and how many are deleted."""
        return self.folder.count_flags(self.messages)

    def flags_of(self, messages: list[Any]) -> list[bytes]:
        """The flags of each as they stand in a reply."""
        if self.recent:
            return [self.flags(message) for message in messages]
        return list(map(self._text, self.folder.flags_of_all(messages)))

    def flags(self, message: Any) -> bytes:
        """A message's flags as they stand in a reply."""
        text = self._text(message.flags)
        if self.recent and message.uid in self.recent:
            return b"\\Recent " + text if text else b"\\Recent"
        return text

    def _text(self, flags: frozenset[str]) -> bytes:
        text = self._texts.get(flags)
        if text is None:
            if len(self._texts) > _TEXTS_MAX:
                self._texts.clear()
            text = self._texts[flags] = flag_list(flags)
        return text
