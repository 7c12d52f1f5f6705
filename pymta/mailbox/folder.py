"""folder: one Maildir directory (new, cur, tmp) as a mailbox; shared by all sessions of one process.

What is true is on the disk; a Folder is what we know of it: the scanner says which files there are, dovecot-uidlist which UID
each has.  sync() makes both meet: see looking.
Our own renames are made under Dovecot's lock, so that a Dovecot that lists meanwhile loses nothing.
"""
from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pymta import clock, log
from pymta.formats import maildir, searchtext, uidlist
from pymta.formats.keywords import KeywordsFile
from pymta.formats.index import Entry
from pymta.index.copying import copy_known
from pymta.index.describing import Describing
from pymta.index.files import IndexFiles
from pymta.index.searching import Searching
from pymta.index.textfile import TextFile
from pymta.locks import FolderLock
from pymta.mailbox import actions, looking, reading, replacing, storing, tidying
from pymta.mailbox import flags as flags_of_messages
from pymta.mailbox.changelog import ChangeLog, changed_since
from pymta.mailbox.contents import Contents, count_letters
from pymta.mailbox.message import Changes, Message, overflow_of
from pymta.mailbox.rights import ALL
from pymta.mailbox.scanner import Scanner, Vanished


class Folder:
    """A mailbox that is open.  Obtained from MailStore.open, given back by MailStore.close.

    name: mailbox name (str); uidvalidity: int; messages: list of Message ascending by UID (do not change it; a session that
    numbers messages keeps a copy of the list).  guid: 32 hex digits, the same for the life of the mailbox, kept by a rename.
    vanished: True once the directory has been deleted, renamed or given another UIDVALIDITY: sessions must let go of it.
    OSError (disk full, permission) and TimeoutError (somebody holds dovecot-uidlist.lock) may come from every method that writes.
    """

    rights = ALL                                        # for GuardedFolder to say less

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
        self.search_files = {"h": TextFile(self.directory, searchtext.HEADERS_NAME), "t": TextFile(self.directory, searchtext.TEXTS_NAME)}
        self.changelog = ChangeLog(self)
        self.uidvalidity = 0
        self.contents = Contents(self)
        self.vanished = False
        self.users = 0
        self.opening = 0                                # threads within MailStore.open
        self.drafts: list[storing.Draft] = []           # written, and waiting for the mutex
        self.closed_at = 0.0                            # when the last user went: clock.now()
        self.look_is_due = False                        # for attach()
        self.known_flags: dict[bytes, frozenset[str]] = {}  # what stands behind the base -> flags
        self.sizes_counted: dict[int, int] = {}        # UID -> octets with CRLF, not yet in the uidlist
        self._listeners: list[Callable[[Changes], None]] = []
        self.tidied_at = 0.0

    # ---- what there is --------------------------------------------------------------------------------------------------
    @property
    def messages(self) -> list[Message]:
        return self.contents.messages

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
        return self.contents.by_uid.get(uid)

    def count_flags(self, messages: Sequence[Message]) -> tuple[int, int]:
        """How many of these are unseen, and how many are deleted."""
        if messages == self.messages:
            return self.contents.unseen_and_deleted()
        return count_letters(Counter([message.place for message in messages]))      # there are few, and counting them is fast

    def first_unseen(self, messages: Sequence[Message]) -> int:
        """Position of the first of these that is not \\Seen, -1 if all are."""
        infos = [message.place[1] for message in messages]
        return min([infos.index(info) for info in set(infos) if b"S" not in maildir.letters_of(info)], default=-1)

    def flags_behind(self, info: bytes) -> frozenset[str]:
        """The flags that a name with this behind its base says."""
        flags = self.known_flags.get(info)
        if flags is None:
            flags = self.known_flags[info] = maildir.flags_of(maildir.letters_of(info), self.letters.keywords)
        return flags

    def flags_of(self, message: Message) -> frozenset[str]:
        flags = self.flags_behind(message.place[1])
        keys = self.keys_of(message.uid)
        return flags | frozenset(overflow_of(keys)) if keys else flags

    def flags_of_all(self, messages: Sequence[Message]) -> list[frozenset[str]]:
        """The flags of each, faster than one by one."""
        if self.has_keys:
            return list(map(self.flags_of, messages))
        infos = [message.place[1] for message in messages]
        known = {info: self.flags_behind(info) for info in set(infos)}          # there are few
        return [known[info] for info in infos]

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
                looking.look(self, changes)
                if self.contents.unknown:
                    looking.settle(self, changes)
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
            looking.look(self, changes)
        except Vanished:
            self.vanished = True
            self.finish(changes)
            raise
        looking.settle_locked(self, changes)
        self.finish(changes)
        if self.vanished:
            raise Vanished(self.name)

    def finish(self, changes: Changes) -> None:
        changes.expunged.sort()
        if self.uidlist.list:
            self.contents.top = self.uidlist.list.next - 1
        if not self.vanished:
            self.changelog.record(changes)
        self.tell(changes)
        self.changelog.provide()

    # ---- reading: see reading -------------------------------------------------------------------------------------------
    def open_file(self, uid: int) -> int:
        """A descriptor to read the message from, for the caller to close.  Also one that was expunged lately.  Raises Gone."""
        return reading.open_file(self, uid)

    def read(self, uid: int, octets: int | None = None) -> bytes:
        """The message as it is on disk (LF line ends as a rule: use crlf()).  Also one that was expunged lately.  Raises Gone.

        octets: no more than that many from its beginning."""
        return reading.read(self, uid, octets)

    def searching(self, messages: Sequence[Message], key: tuple) -> Searching:
        """Which of these messages a search key about text fits (to be closed): see index/searching."""
        return Searching(self, messages, key)

    def path(self, uid: int) -> bytes:
        """Where the file lies just now (another program may rename it at any moment: prefer read).  Raises Gone."""
        return reading.path(self, uid)

    def stat(self, message: Message) -> os.stat_result:
        """Raises Gone."""
        return reading.stat(self, message)

    def count(self, message: Message) -> int:
        """Read the message to learn its size with CRLF; it will be written down when the folder is closed.  Raises Gone."""
        return reading.count(self, message)

    def known(self, message: Message) -> Entry | None:
        """What the index holds of one message, without reading the message for it."""
        self.index.refresh(self.uidvalidity)
        return self.index.read([message])[0]

    def describing(self, messages: Sequence[Message], *, whole: bool = True) -> Describing:
        """What is known of these messages without reading them (to be closed): for a command that wants it of all, some at a time."""
        return Describing(self, messages, whole=whole)

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
        return storing.append_all(self, [(data, flags, internaldate)], by)[0]

    def append_all(self, messages: Sequence[tuple[bytes, Iterable[str], float | None]], by: object = None) -> list[int]:
        """Store several, all or none, with the directory and uidlist syncs of one."""
        return storing.append_all(self, messages, by)

    def replace(self, uid: int, target: Folder, message: tuple[bytes, Iterable[str], float | None], by: object = None) -> int:
        """Store message in target (may be this folder), then take the one with this UID away.  The new UID.  Raises Gone."""
        return target.take_one_in(lambda into, what: replacing.replace(self, uid, into, what, by), message)

    def take_in(self, put: Callable[[Folder], list[tuple[int, int]]], by: object) -> list[tuple[int, int]]:
        """Let put copy or move messages here: a folder of somebody else has to be asked."""
        return put(self)

    def take_one_in(self, put: Callable[[Folder, Any], int], message: Any) -> int:
        """The same for one new message."""
        return put(self, message)

    def copy(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Copy to target (may be this folder), all or none, flags and internal date kept.  [(uid, new uid)] ascending."""
        pairs = target.take_in(lambda into: actions.copy(self, uids, into, by), by)
        copy_known(self, target, pairs)
        return pairs

    def move(self, uids: Iterable[int], target: Folder, by: object = None) -> list[tuple[int, int]]:
        """Move to target.  [(uid, new uid)] ascending; a message is at every moment in one folder or the other."""
        pairs = target.take_in(lambda into: actions.move(self, uids, into, by), by)
        copy_known(self, target, pairs)
        return pairs

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
                    tidying.heal(self.directory)
                    self.scanner.start_watching()
                self.sync()
                if self.vanished:
                    raise Vanished(self.name)
                if self.uidlist.list is None:
                    with self.lock:
                        self.sync_locked()
                if not self.guid:
                    tidying.give_guid(self)
            except BaseException:
                self.close()
                raise

    def close(self, *, stays_watched: bool = False) -> None:
        """For MailStore.close: the last user writes down what was counted, tidies, and stops the watch unless stays_watched."""
        with self.mutex:
            self.users -= 1
            if self.users:
                return
            try:
                if not self.vanished and self.uidlist.list:
                    tidying.write_counted(self)
                    self.index.tidy(len(self.messages))
                    for file in self.search_files.values():
                        file.tidy(len(self.messages))
                    tidying.tidy(self)
            except (OSError, Vanished) as error:
                log.event("trouble", mailbox=self.directory, why=str(error))
            finally:
                self.contents.forget_gone()
                self.closed_at = clock.now()
                if not stays_watched:
                    self.scanner.stop_watching()

    def rest(self) -> None:
        """Watch no longer, unless somebody uses it again."""
        with self.mutex:
            if not self.users:
                self.scanner.stop_watching()

    def forget(self) -> None:
        """Let go of descriptors; the Folder is of no use afterwards."""
        self.scanner.stop_watching()
        self.uidlist.close()
        self.index.close()
        for file in self.search_files.values():
            file.close()
        self.changelog.forget()
