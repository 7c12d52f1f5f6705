"""folder: one Maildir directory (new, cur, tmp) as a mailbox; shared by all sessions of one process.

What is true is on the disk; a Folder is what we know of it: the scanner says which files there are, dovecot-uidlist which UID
each has.  sync() makes both meet.  The rules that keep every process's answers the same:

- A UID is on disk (fdatasync) before anybody is told it.
- After reading new entries from the uidlist the directories are looked at again: whoever wrote them had seen the files, so
  now we see them too, and messages come to all processes in the order of their UIDs.
- A UID at or below one that was spoken of never comes (back): such a file gets a new one.
- New files get their UIDs under the lock of Dovecot, in the order of their names' times.
- Our own renames are made under that lock too, so that a Dovecot that lists meanwhile loses nothing.
"""
from __future__ import annotations

import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice, repeat
from typing import Any, TypeVar

from pymta import clock, durable, log
from pymta.formats import maildir, uidlist
from pymta.formats.keywords import KeywordsFile
from pymta.formats.uidvalidity import next_uidvalidity
from pymta.index.describing import Describing
from pymta.index.files import IndexFiles
from pymta.locks import FolderLock
from pymta.mailbox import actions
from pymta.mailbox import flags as flags_of_messages
from pymta.mailbox.changelog import ChangeLog, changed_since
from pymta.mailbox.message import LIMBO, Changes, Gone, Message, count_vsize, overflow_of
from pymta.mailbox.scanner import NEW, Scanner, Vanished

LIMBO_KEEP_S = 3600.0                                   # how long a session may take to hear of an expunge and still read
TMP_KEEP_S = 36 * 3600.0                                # maildir(5): what is older was abandoned
TWIN_QUIET_S = 30.0
TIDY_BATCH = 2000
_GONE_MAX = 200_000
T = TypeVar("T")


class Folder:
    """A mailbox that is open.  Obtained from MailStore.open, given back by MailStore.close.

    name: mailbox name (str); uidvalidity: int; messages: list of Message ascending by UID (do not change it; a session that
    numbers messages keeps a copy of the list).  guid: 32 hex digits, the same for the life of the mailbox, kept by a rename.
    vanished: True once the directory has been deleted, renamed or given another UIDVALIDITY: sessions must let go of it.
    OSError (disk full, permission) and TimeoutError (somebody holds dovecot-uidlist.lock) may come from every method that writes.
    """

    def __init__(self, root: bytes, name: str, *, watched: bool = True) -> None:
        self.root = root
        self.name = name
        self.directory = os.path.join(root, maildir.folder_of(name)) if maildir.folder_of(name) else root
        self.mutex = threading.RLock()
        self.lock = FolderLock(self.directory)
        self.scanner = Scanner(self.directory, watched=watched)
        self.uidlist = uidlist.UidlistFile(self.directory)
        self.letters = KeywordsFile(self.directory)
        self.index = IndexFiles(self.directory)
        self.changelog = ChangeLog(self)
        self.uidvalidity = 0
        self.messages: list[Message] = []
        self.vanished = False
        self.users = 0
        self.opening = 0                                # threads within MailStore.open
        self.version = 0                                # rises with every change
        self.counted: tuple[int, Any] | None = None     # (version, what STATUS said then)
        self.look_is_due = False                        # for attach()
        self.in_new: set[int] = set()                   # UIDs whose files lie in new/
        self._by_base: dict[bytes, Message] = {}
        self._by_uid: dict[int, Message] = {}
        self._unknown: set[bytes] = set()               # files without a UID
        self._gone: dict[int, Message] = {}
        self._built = False
        self._top = 0                                   # no UID at or below it may come any more
        self.known_flags: dict[bytes, frozenset[str]] = {}  # what stands behind the base -> flags
        self._counted: dict[int, int] = {}              # UID -> octets with CRLF, not yet in the uidlist
        self._listeners: list[Callable[[Changes], None]] = []
        self._tidied_at = 0.0

    # ---- what there is --------------------------------------------------------------------------------------------------
    @property
    def uidnext(self) -> int:
        return self.uidlist.list.next if self.uidlist.list else 1

    @property
    def guid(self) -> bytes:
        return self.uidlist.list.guid if self.uidlist.list else b""

    @property
    def keywords(self) -> list[str]:
        """Keywords that exist in this folder."""
        names = dict.fromkeys(keyword for keyword in self.letters.keywords if keyword)
        if self.uidlist.list:
            for keys in self.uidlist.list.keys.values():
                names.update(dict.fromkeys(overflow_of(keys)))
        return list(names)

    def get(self, uid: int) -> Message | None:
        """The message with this UID, None if it is not there (any more)."""
        return self._by_uid.get(uid)

    def count_flags(self, messages: Iterable[Message]) -> tuple[int, int]:
        """How many of these are unseen, and how many are deleted."""
        kinds = Counter([message.where[1][len(message.base):] for message in messages])     # there are few, and counting them is fast
        letters = [(maildir.letters_of(info), count) for info, count in kinds.items()]
        return sum(count for some, count in letters if b"S" not in some), sum(count for some, count in letters if b"T" in some)

    def flags_of(self, message: Message) -> frozenset[str]:
        info = message.where[1][len(message.base):]
        flags = self.known_flags.get(info)
        if flags is None:
            flags = self.known_flags[info] = maildir.flags_of(maildir.letters_of(info), self.letters.keywords)
        keys = self.keys_of(message.uid)
        return flags | frozenset(overflow_of(keys)) if keys else flags

    @property
    def has_keys(self) -> bool:
        return bool(self.uidlist.list and self.uidlist.list.keys)

    def keys_of(self, uid: int) -> bytes:
        return self.uidlist.list.keys.get(uid, b"") if self.uidlist.list else b""

    def clear_flags(self) -> None:
        """Letters mean something else now."""
        self.known_flags.clear()

    # ---- mod-sequences: RFC 7162 ----------------------------------------------------------------------------------------
    @property
    def highestmodseq(self) -> int:
        """All changes up to this number have been told to the listeners; 0 where nothing can be written down."""
        with self.mutex:
            self.changelog.refresh()
            return self.changelog.highest

    def modseq_of(self, message: Message) -> int:
        """Once highestmodseq has been asked for."""
        return self.changelog.modseq_of(message)

    def changed_since(self, modseq: int) -> list[Message]:
        """Messages that came, or whose flags changed, after this number."""
        with self.mutex:
            self.changelog.refresh()
            return changed_since(self.changelog, self.messages, modseq)

    def vanished_since(self, modseq: int) -> tuple[tuple[int, int], ...]:
        """UIDs that went after this number, as (first, last) ascending; all that are not there where that is not known."""
        with self.mutex:
            self.changelog.refresh()
            return self.changelog.gone_since(modseq)

    # ---- listeners ------------------------------------------------------------------------------------------------------
    def add_listener(self, told: Callable[[Changes], None]) -> None:
        """told is called with every change of this folder, in order, within the call that made or found it.

        It may be called in any thread, and must not call back into the folder's writing methods.  Whoever wants messages and
        the changes since as one step holds folder.mutex while it copies the one and asks for the other.
        """
        self._listeners.append(told)

    def remove_listener(self, told: Callable[[Changes], None]) -> None:
        if told in self._listeners:
            self._listeners.remove(told)

    def tell(self, changes: Changes) -> None:
        self.version += bool(changes)
        if changes or self.vanished:                    # that it has vanished is news too
            for told in list(self._listeners):
                try:
                    told(changes)
                except Exception as error:
                    log.bug(f"listener of {self.name}", error)

    # ---- looking at the disk ----------------------------------------------------------------------------------------------
    def sync(self) -> Changes:
        """Look at the disk, give UIDs to what is new, tell the listeners (all of them) and return what changed.

        Does not move new/.  Nothing changed: one read and four stats.  OSError when the folder cannot be read; where it cannot
        be written, what has no UID yet is left out and the reason is logged."""
        with self.mutex:
            changes = Changes()
            if self.vanished:
                return changes
            try:
                self._look(changes)
                if self._unknown:
                    self._settle(changes)
            except Vanished:
                self.vanished = True
            self.finish(changes)
            return changes

    def sync_locked(self) -> None:
        """The same while the caller holds self.lock; every file has a UID afterwards.  Raises Vanished, OSError."""
        changes = Changes()
        try:
            if self.vanished:
                raise Vanished(self.name)
            self._look(changes)
        except Vanished:
            self.vanished = True
            self.finish(changes)
            raise
        self.settle_locked(changes)
        self.finish(changes)
        if self.vanished:
            raise Vanished(self.name)

    def finish(self, changes: Changes) -> None:
        changes.expunged.sort()
        if self.uidlist.list:
            self._top = self.uidlist.list.next - 1
        if not self.vanished:
            self.changelog.record(changes)
        self.tell(changes)
        self.changelog.provide()

    def _look(self, changes: Changes) -> None:
        """Files and uidlist as they are now; files without a UID are in _unknown afterwards."""
        if self._built:
            return self._look_on(changes)
        with _no_collecting():
            self._look_on(changes)

    def _look_on(self, changes: Changes) -> None:
        touched = self.scanner.look()
        state = self.uidlist.refresh()
        if state != "same":
            touched |= self.scanner.look()              # who wrote the entries had seen the files
            if self.uidlist.list and not self.lock.held and self.lock.taken:
                self.uidlist.sync()                     # whoever writes may not have come to that yet, and we are going to tell
        if self.letters.refresh():
            self._keywords_changed(changes)
        if state == "other":
            self._check_identity()
            if self.vanished:
                return
            self._check_uids(changes)
        if not self._built:
            self._build()
        else:
            self._apply(touched, changes)
        if state != "same" and self._unknown:
            self._take_known(changes)

    def _check_identity(self) -> None:
        assert self.uidlist.list is not None
        if self.uidvalidity and self.uidlist.list.uidvalidity != self.uidvalidity:
            self.vanished = True
        self.uidvalidity = self.uidvalidity or self.uidlist.list.uidvalidity
        for number, reason in self.uidlist.list.complaints[:5]:
            log.event("trouble", file=self.uidlist.path, line=number, why=reason)

    def _check_uids(self, changes: Changes) -> None:
        """The uidlist is another file: what it gives another UID than we know, goes and comes anew."""
        assert self.uidlist.list is not None
        uids = self.uidlist.list.uids
        wrong = [message for base, message in self._by_base.items() if uids.get(base) != message.uid]
        for message in wrong:
            self._unknown.add(message.base)
        self.drop(wrong, changes)

    def _build(self) -> None:
        """The first look: messages from nothing, fast.  What a cold open of a big folder costs."""
        self._built = True
        uids = self.uidlist.list.uids if self.uidlist.list else {}
        names = self.scanner.names
        bases: Sequence[bytes] = list(uids)
        if not uids.keys() <= names.keys():
            bases = [base for base in bases if base in names]
        numbers = [uids[base] for base in bases] if len(bases) < len(uids) else list(uids.values())
        self.messages = list(map(Message, repeat(self), numbers, bases, map(names.__getitem__, bases)))
        self._by_base = dict(zip(bases, self.messages))
        self._by_uid = dict(zip(numbers, self.messages))
        self.in_new = {message.uid for message in self.messages if message.where[0]}
        self._unknown = set(names).difference(bases) if len(bases) < len(names) else set()

    def _apply(self, touched: Iterable[bytes], changes: Changes) -> None:
        """What the scanner saw, for messages that have a UID; others are only noted."""
        names, by_base, went = self.scanner.names, self._by_base, []
        for base in touched:
            where, message = names.get(base), by_base.get(base)
            if where is None:
                self._unknown.discard(base)
                if message is not None:
                    went.append(message)
            elif message is None:
                self._unknown.add(base)
            elif message.where != where:
                self.place(message, where, changes)
        self.drop(went, changes)

    def place(self, message: Message, where: tuple[bool, bytes], changes: Changes) -> None:
        """The message's file lies there now."""
        before = self.flags_of(message)
        message.where = where
        if where[0] == NEW:
            self.in_new.add(message.uid)
        else:
            self.in_new.discard(message.uid)
        if self.flags_of(message) != before:
            changes.flags.append(message)

    def drop(self, went: Sequence[Message], changes: Changes) -> None:
        if not went:
            return
        for message in went:
            message.expunged = True
            del self._by_base[message.base], self._by_uid[message.uid]
            self.in_new.discard(message.uid)
            self._gone[message.uid] = message
            changes.expunged.append(message.uid)
        self.messages = [message for message in self.messages if not message.expunged]
        if len(self._gone) > _GONE_MAX:
            for uid in list(islice(self._gone, len(self._gone) - _GONE_MAX)):
                del self._gone[uid]

    def _arrive(self, pairs: Iterable[tuple[int, bytes]], changes: Changes) -> None:
        """Files with their UIDs, ascending and above all that were told."""
        if not self.messages and not self.changelog.loaded:
            return self._arrive_first(list(pairs), changes)
        for uid, base in pairs:
            message = Message(self, uid, base, self.scanner.names[base])
            self._by_base[base] = message
            self._by_uid[uid] = message
            self.messages.append(message)
            if message.where[0] == NEW:
                self.in_new.add(uid)
            self._unknown.discard(base)
            changes.arrived.append(message)
        if self.uidlist.list:
            self._top = max(self._top, self.messages[-1].uid if self.messages else 0)

    def _arrive_first(self, pairs: list[tuple[int, bytes]], changes: Changes) -> None:
        """The same where nothing was before: a folder that is new to us may be big."""
        names = self.scanner.names
        self.messages = [Message(self, uid, base, names[base]) for uid, base in pairs]
        self._by_base = {message.base: message for message in self.messages}
        self._by_uid = {message.uid: message for message in self.messages}
        self.in_new.update([message.uid for message in self.messages if message.where[0]])
        self._unknown.difference_update(self._by_base)
        changes.arrived += self.messages
        if self.uidlist.list and self.messages:
            self._top = max(self._top, self.messages[-1].uid)

    def _take_known(self, changes: Changes) -> None:
        """Files to which somebody else gave a UID."""
        uids = self.uidlist.list.uids if self.uidlist.list else {}
        self._arrive(sorted((uids[base], base) for base in self._unknown if uids.get(base, 0) > self._top), changes)

    def _settle(self, changes: Changes) -> None:
        self._take_known(changes)
        if not self._unknown and self.uidlist.list:
            return
        try:
            with self.lock, _no_collecting():
                self._look(changes)
                self.settle_locked(changes)
        except Vanished:
            raise
        except OSError as error:
            if self.uidlist.list is None:
                raise
            log.event("trouble", mailbox=self.directory, why=f"cannot give UIDs to {len(self._unknown)} messages: {error}")

    def settle_locked(self, changes: Changes, ours: Sequence[bytes] = (), keys: dict[bytes, bytes] | None = None) -> None:
        """Under the lock, after _look: UIDs for what has none, in the order of time, then for ours (then the caller syncs)."""
        if self.uidlist.list is None:
            self._make_uidlist()
        self._take_known(changes)
        bases = sorted(self._unknown.difference(ours), key=maildir.order_of)
        for base in [base for base in bases if b"\n" in base]:          # cannot be written in a uidlist
            bases.remove(base)
        if bases or ours:
            given = self.uidlist.append([*bases, *ours], keys, sync=not ours)
            self._arrive(((uid, base) for base, uid in given.items()), changes)

    def _make_uidlist(self) -> None:
        why = self.uidlist.why_unreadable()
        if why:
            log.event("trouble", file=self.uidlist.path, why=why, remedy="a new UIDVALIDITY; clients fetch again")
        made = None if why else self.uidlist.adopt_courier()
        self.uidlist.list = made or uidlist.Uidlist(next_uidvalidity(self.root))
        self.uidlist.list.more += self.changelog.first_ceiling()
        self.uidlist.rewrite()
        self._check_identity()

    def _keywords_changed(self, changes: Changes) -> None:
        before, self.known_flags = self.known_flags, {}
        for message in self.messages:
            info = message.where[1][len(message.base):]
            if info in before and self.flags_of(message) != before[info]:
                changes.flags.append(message)

    # ---- reading --------------------------------------------------------------------------------------------------------
    def open_file(self, uid: int) -> int:
        """A descriptor to read the message from, for the caller to close.  Also one that was expunged lately.  Raises Gone."""
        message = self._by_uid.get(uid) or self._gone.get(uid)
        if message is None:
            raise Gone(f"{self.name}: no message {uid}")
        return self._reach(message, lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def read(self, uid: int, octets: int | None = None) -> bytes:
        """The message as it is on disk (LF line ends as a rule: use crlf()).  Also one that was expunged lately.  Raises Gone.

        octets: no more than that many from its beginning."""
        fd = self.open_file(uid)
        try:
            size = os.fstat(fd).st_size
            if octets is not None:
                size = min(size, octets)
            data = os.read(fd, size)
            while len(data) < size and (more := os.read(fd, size - len(data))):
                data += more                            # read(2) gives at most 2 GiB at once
            return data
        finally:
            os.close(fd)

    def describing(self, messages: Sequence[Message]) -> Describing:
        """What is known of these messages without reading them (to be closed): for a command that wants it of all, some at a time."""
        return Describing(self, messages)

    def path(self, uid: int) -> bytes:
        """Where the file lies just now (another program may rename it at any moment: prefer read).  Raises Gone."""
        message = self._by_uid.get(uid) or self._gone.get(uid)
        if message is None:
            raise Gone(f"{self.name}: no message {uid}")
        return self._reach(message, _there)

    def stat(self, message: Message) -> os.stat_result:
        return self._reach(message, os.stat)

    def count(self, message: Message) -> int:
        """Read the message to learn its size with CRLF; it will be written down when the folder is closed."""
        fd = self._reach(message, lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        try:
            vsize = count_vsize(fd)
        finally:
            os.close(fd)
        self._counted[message.uid] = vsize
        return vsize

    def _reach(self, message: Message, act: Callable[[bytes], T]) -> T:
        """act on the message's file, wherever somebody has renamed it to meanwhile."""
        for _ in range(10):
            try:
                return act(message.path)
            except FileNotFoundError:
                if message.expunged or self.vanished:
                    break
                self.sync()
        return self._reach_in_limbo(message, act)

    def _reach_in_limbo(self, message: Message, act: Callable[[bytes], T]) -> T:
        limbo = os.path.join(self.directory, LIMBO)
        try:
            for name in os.listdir(limbo):
                if maildir.base_of(name) == message.base:
                    return act(os.path.join(limbo, name))
        except FileNotFoundError:
            pass
        raise Gone(f"{self.name}: message {message.uid} is gone")

    # ---- writing: see actions ---------------------------------------------------------------------------------------------
    def claim_recent(self, by: object = None) -> list[int]:
        """Move what lies in new/ to cur/ and return its UIDs: they are \\Recent for the caller, and for nobody else.

        For a read-write SELECT and after each sync of such a session; EXAMINE and STATUS never call it.  Messages that are
        \\Recent for them are those with message.new.  What cannot be moved stays in new/ and is served from there.
        """
        return flags_of_messages.claim_recent(self)

    def set_flags(self, uids: Iterable[int], mode: str, flags: Iterable[str], by: object = None) -> list[Message]:
        """mode: "add", "remove" or "replace".  Returns the messages whose flags changed; UIDs that are gone are passed over.

        Keywords are compared without regard to case and keep the case they first had.  \\Recent is ignored.
        """
        return flags_of_messages.set_flags(self, uids, mode, flags, by)

    def set_flags_unchanged(self, uids: Iterable[int], mode: str, flags: Iterable[str], since: int, by: object = None) -> list[int]:
        """The same, but for messages that have changed after this mod-sequence: their UIDs."""
        return flags_of_messages.set_flags_unchanged(self, uids, mode, flags, since, by)

    def append(self, data: bytes, flags: Iterable[str] = (), internaldate: float | None = None, by: object = None) -> int:
        """Store one message (LF line ends) and return its UID; file, name and UID are durable."""
        return actions.append_all(self, [(data, flags, internaldate)], by)[0]

    def append_all(self, messages: Sequence[tuple[bytes, Iterable[str], float | None]], by: object = None) -> list[int]:
        """Store several, all or none, with the directory and uidlist syncs of one."""
        return actions.append_all(self, messages, by)

    def copy(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Copy to target (may be this folder), all or none, flags and internal date kept.  [(uid, new uid)] ascending."""
        return actions.copy(self, uids, target, by)

    def move(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Move to target.  [(uid, new uid)] ascending; a message is at every moment in one folder or the other."""
        return actions.move(self, uids, target, by)

    def expunge(self, uids: Iterable[int], by: object = None) -> list[int]:
        """Take messages out of the mailbox (whatever their flags) and return the UIDs that went now.

        They lie in limbo for a while: read() goes on working for sessions that have not been told yet.
        """
        return actions.expunge(self, uids, by)

    # ---- opening and closing ------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """For MailStore.open: heal what is missing, watch, sync.  Raises Vanished, OSError."""
        with self.mutex:
            self.users += 1
            try:
                if self.users == 1:
                    heal(self.directory)
                    self.scanner.start_watching()
                self.sync()
                if self.vanished:
                    raise Vanished(self.name)
                if self.uidlist.list is None:
                    with self.lock:
                        self.sync_locked()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """For MailStore.close: the last user stops the watch, writes down what was counted and tidies."""
        with self.mutex:
            self.users -= 1
            if self.users:
                return
            try:
                if not self.vanished and self.uidlist.list:
                    self._write_counted()
                    self.index.tidy(len(self.messages))
                    self.tidy()
            except (OSError, Vanished) as error:
                log.event("trouble", mailbox=self.directory, why=str(error))
            finally:
                self._gone.clear()
                self.scanner.stop_watching()

    def forget(self) -> None:
        """Let go of descriptors; the Folder is of no use afterwards."""
        self.scanner.stop_watching()
        self.uidlist.close()
        self.index.close()
        self.changelog.forget()

    def _write_counted(self) -> None:
        """Sizes that had to be counted go into the uidlist (key W), so that nobody counts again."""
        if not self._counted:
            return
        with self.lock:
            self.sync_locked()
            assert self.uidlist.list is not None
            keys = self.uidlist.list.keys
            for uid, vsize in self._counted.items():
                if uid in self._by_uid:
                    keys[uid] = uidlist.with_key(keys.get(uid, b""), b"W", b"%d" % vsize)
            self.rewrite_uidlist()
        self._counted.clear()

    def rewrite_uidlist(self) -> None:
        """Under the lock: write the uidlist whole, without entries whose files are gone for certain."""
        assert self.uidlist.list is not None
        names, listed = self.scanner.names, self.uidlist.list
        dead = [base for base in listed.uids if base not in names]
        for base in dead:
            listed.keys.pop(listed.uids.pop(base), None)
        self.uidlist.rewrite()

    def compress_uidlist(self) -> None:
        """Under the lock: rewrite when a quarter of the lines are dead, as Dovecot does."""
        if self.uidlist.list and len(self.uidlist.list.uids) > 64 + len(self._by_base) * 4 // 3:
            self.rewrite_uidlist()

    def make_room(self) -> bool:
        """The disk is full: empty limbo at once.  Whether there was anything."""
        return _sweep(os.path.join(self.directory, LIMBO), float("inf"), limit=1_000_000) > 0

    def tidy(self) -> None:
        """Remove what is old in limbo and tmp (some at a time), and one of two names of one message.  At most once in a while."""
        now = clock.now()
        if abs(now - self._tidied_at) < 600:
            return
        self._tidied_at = now
        _sweep(os.path.join(self.directory, LIMBO), now - LIMBO_KEEP_S)
        _sweep(os.path.join(self.directory, b"tmp"), now - TMP_KEEP_S)
        if any(base in self.scanner.names for base in self.scanner.twins):
            actions.part_twins(self, now - TWIN_QUIET_S)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """While a folder is read: nothing of it is garbage, and looking for it takes half as long again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _there(path: bytes) -> bytes:
    os.lstat(path)
    return path


def heal(directory: bytes) -> None:
    """Make tmp, new and cur where they are missing."""
    for sub in maildir.SUBDIRS:
        path = os.path.join(directory, sub)
        if not os.path.isdir(path) and durable.mkdir(path, 0o700):
            log.event("tidy", mailbox=directory, made=sub)


def _sweep(directory: bytes, before: float, limit: int = TIDY_BATCH) -> int:
    """Unlink up to limit files that nobody has touched (created, renamed, written) since before.  How many that were."""
    count = 0
    try:
        with os.scandir(directory) as entries:
            for entry in islice(entries, limit):
                status = entry.stat(follow_symlinks=False)
                if max(status.st_ctime, status.st_mtime) < before and entry.is_file(follow_symlinks=False):
                    count += durable.unlink_if_there(entry.path)
    except FileNotFoundError:
        pass
    return count
