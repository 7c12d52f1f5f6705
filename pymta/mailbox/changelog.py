"""changelog: mod-sequences of a folder's messages.                                             RFC 7162

Read when somebody first asks; from then on every change that the folder finishes is written down before it is told.  What
happened while nobody looked shows when the log is compared with the directories, and gets its number then.

Law: who was told HIGHESTMODSEQ has been told every change up to it, and it never falls.  Numbers are given below a ceiling that is
on disk (the header key M of dovecot-uidlist) before the first of them is told; a log that cannot be trusted begins again above it.
"""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pymta import clock, durable, log
from pymta.formats import changes as format
from pymta.formats.changes import GONE, Line, Ranges
from pymta.formats.maildir import letters_of
from pymta.mailbox.scanner import Vanished
from pymta.mailbox.tidying import rewrite_uidlist

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder
    from pymta.mailbox.message import Changes, Message

STRIDE = 1000
_SPARE = 100                                            # numbers left when the next stride is leased
_LOG_OCTETS_MAX = 1 << 22                               # a longer log is begun anew
_COMPACT_OCTETS = 1 << 20                               # one that is longer, and four times what it was after the last time, is compacted
_GONE_KEEP_S = 30 * 86400.0                             # expunges are told one by one for so long,
_GONE_MAX = 10_000                                      # and so many of them
_KEY = b"M"


def boot_id() -> bytes:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip()
    except OSError:
        return b""


def state_of(message: Message) -> bytes:
    """Its letters: a move from new/ to cur/ changes none."""
    return letters_of(message.place[1])


def _states(messages: list[Message]) -> list[bytes]:
    infos = [message.place[1] for message in messages]
    known = {info: letters_of(info) for info in set(infos)}
    return [known[info] for info in infos]


class ChangeLog:
    """floor: nothing is known of before it; highest: what may be told as HIGHESTMODSEQ.  Every method wants folder.mutex."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.path = os.path.join(folder.directory, format.NAME)
        self.floor = self.highest = 0
        self.loaded = False
        self._last = 0                                  # the highest number in the log
        self._fd = -1
        self._offset = 0
        self._compact_at = _COMPACT_OCTETS
        self._gone: list[tuple[int, Ranges]] = []
        self._unseen: dict[int, tuple[int, bytes | None]] = {}  # UID -> (number, state) that others wrote down and we do not see yet
        self._leasing = self._numbered = False
        self.untouched = 0                              # a ceiling below which nobody has been told any number

    # ---- asking -------------------------------------------------------------------------------------------------------
    def modseq_of(self, message: Message) -> int:
        return max(1, getattr(message, "modseq", self.floor))

    def gone_since(self, modseq: int) -> Ranges:
        """UIDs that went after this number; where nobody knows that any more, all that are not there."""
        if modseq < self.floor:
            return format.all_but([message.uid for message in self.folder.messages], self.folder.uidnext)
        uids: set[int] = set()
        for number, ranges in self._gone:
            if number > modseq:
                for first, last in ranges:
                    uids.update(range(first, last + 1))
        return format.ranges_of(sorted(uids))

    def first_ceiling(self) -> list[bytes]:
        """For a uidlist that is being made: what it has to say of the ceiling."""
        self.untouched = int(clock.now()) + STRIDE
        return [_KEY + b"%d" % self.untouched]

    # ---- the ceiling --------------------------------------------------------------------------------------------------
    def _ceiling(self) -> int:
        listed = self.folder.uidlist.list
        words = [word[1:] for word in listed.more if word[:1] == _KEY] if listed else []
        return max((int(word) for word in words if word.isdigit() and len(word) < 19), default=0)

    def _lease(self) -> None:
        """See that there are numbers to give.  Raises OSError, Vanished."""
        if self._leasing or self._last + _SPARE < self._ceiling():
            return
        self._leasing = True
        try:
            with self.folder.lock:
                self.folder.sync_locked()
                listed = self.folder.uidlist.list
                assert listed is not None
                ceiling = max(self._last, self._ceiling()) + STRIDE
                listed.more = [word for word in listed.more if word[:1] != _KEY] + [_KEY + b"%d" % ceiling]
                rewrite_uidlist(self.folder)
        finally:
            self._leasing = False

    def provide(self) -> None:
        """Once a change has been told: see that there are numbers for the next ones."""
        if self.loaded and not self._leasing:
            try:
                self._lease()
            except (OSError, Vanished) as error:
                log.event("trouble", mailbox=self.folder.directory, why=f"no further mod-sequences: {error}")

    # ---- reading ------------------------------------------------------------------------------------------------------
    def load(self) -> None:
        """Read the log, or begin it, and write down what happened meanwhile.  Where that cannot be done highest is 0."""
        if self.loaded:
            return
        try:
            self.folder.sync()                          # the ceiling, too, as it is now
            if not self._take_up():
                with self.folder.lock:                  # of two who find no log, one begins it
                    self.folder.sync_locked()
                    if not self._take_up():
                        self._begin()
            self.loaded = True
        except (OSError, Vanished) as error:
            log.event("trouble", mailbox=self.folder.directory, why=f"no mod-sequences: {error}")
            self.forget()

    def _take_up(self) -> bool:
        """Go on with the log that stands there; False if there is none that can be used."""
        self.forget()
        self._open()
        try:
            state = self._read_all()
            if state is not None:
                self._lease()
                self._catch_up(state)
            return state is not None
        finally:
            self._unlock()

    def _open(self) -> None:
        """Open and lock the log that stands there, if one does."""
        for _ in range(10):
            try:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._stands():
                return
            os.close(self._fd)
            self._fd = -1

    def _stands(self) -> bool:
        """Whether what we have open is what has the name."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def _unlock(self) -> None:
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _read_all(self) -> dict[int, tuple[int, bytes | None]] | None:
        """UID -> (number, state) of the whole log; None if there is none that can be used."""
        if self._fd < 0:
            return None
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        first, newline, rest = data.partition(b"\n")
        floor = format.decode_head(first, self.folder.uidvalidity, boot_id())
        if floor is None or not newline or rest[-1:] not in (b"\n", b"") or len(data) > _LOG_OCTETS_MAX:
            return None
        self.floor = self._last = floor
        self._offset = len(data)
        state: dict[int, tuple[int, bytes | None]] = {}
        try:
            for line in format.decode(rest):
                self._note(line, state)
        except ValueError:
            return None
        if self._last > self._ceiling():
            return None                                 # another's uidlist, or another's log
        return state

    def _note(self, line: Line, state: dict[int, tuple[int, bytes | None]]) -> None:
        self._last = max(self._last, line.modseq)
        if line.info is GONE:
            self._gone.append((line.modseq, line.uids))
        told = line.modseq, line.info
        for first, last in line.uids:
            state.update(dict.fromkeys(range(first, last + 1), told))

    def _begin(self) -> None:
        """A new log, with everything as it stands, above all that was ever told.  Wants folder.lock."""
        folder = self.folder
        self.forget()
        if not self.untouched or self._ceiling() != self.untouched:
            self._last = self._ceiling() or int(clock.now())
            self._lease()
        self.untouched = 0
        self.floor = self._ceiling() - STRIDE + 1
        by_state: dict[bytes, list[int]] = {}
        for message, state in zip(folder.messages, _states(folder.messages)):
            by_state.setdefault(state, []).append(message.uid)
        self._strip()
        now = int(clock.now())
        states = sorted(by_state, key=lambda state: -len(by_state[state]))
        if states:                                      # most are like the first: say so of all, and then which are not
            by_state[states[0]] = [message.uid for message in folder.messages]
        self._keep_old()
        lines = [format.encode(Line(self.floor, now, state, format.ranges_of(by_state[state]))) for state in states]
        durable.replace(self.path, b"".join([format.head(folder.uidvalidity, boot_id() or b"-", self.floor), *lines]), 0o600)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._offset = os.fstat(self._fd).st_size
        self._last = self.highest = self.floor

    def _catch_up(self, state: dict[int, tuple[int, bytes | None]]) -> None:
        """Compare what the log says with what is there."""
        changed: dict[bytes | None, list[int]] = {}
        differing: list[Message] = []
        self._strip()
        messages, floor, nothing = self.folder.messages, self.floor, (0, GONE)
        for message, now in zip(messages, _states(messages)):
            modseq, info = state.get(message.uid, nothing)
            if info != now:
                changed.setdefault(now, []).append(message.uid)
                differing.append(message)
            elif modseq != floor:
                message.modseq = modseq
        get = self.folder.get
        gone = sorted(uid for uid in state if get(uid) is None and state[uid][1] is not GONE) if len(state) > len(messages) or changed else []
        if gone:
            changed[GONE] = gone
        if changed:
            modseq = self._write(changed)
            for message in differing:
                message.modseq = modseq
        self.highest = self._last

    def _strip(self) -> None:
        """Take away numbers of another log."""
        if self._numbered:
            for message in self.folder.messages:
                if hasattr(message, "modseq"):
                    del message.modseq
        self._numbered = True

    # ---- writing ------------------------------------------------------------------------------------------------------
    def record(self, changes: Changes) -> None:
        """Write down what the folder is about to tell.  What somebody did whom we can name is always written down."""
        if not self.loaded:
            if not changes or not changes.who or self.folder.uidlist.list is None:
                return
            self.load()
            if not self.loaded:
                return
        if not changes:
            if self._unseen:
                self._settle()
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                known = self._refresh()
                if known:
                    self._record(changes)
            finally:
                self._unlock()
        except OSError as error:
            log.event("trouble", mailbox=self.folder.directory, why=f"changes are not written down: {error}")
            known = False                               # the next who asks compares, and finds them
        self.loaded = known
        if known and self._offset > self._compact_at:
            self.compact()

    def _record(self, changes: Changes) -> None:
        changed: dict[bytes | None, list[int]] = {}
        numbered: list[Message] = []
        touched = [*changes.arrived, *changes.flags]
        if changes.who:                                 # though somebody who only saw it may have been first
            for uid in (*(message.uid for message in touched), *changes.expunged):
                self._unseen.pop(uid, None)
        if not self._unseen:                            # nobody else writes here, as a rule
            numbered = [message for message in touched if not message.expunged]
            for message, state in zip(numbered, _states(numbered)):
                changed.setdefault(state, []).append(message.uid)
            touched = []
        for message in touched:
            told = self._unseen.pop(message.uid, None)
            if told is not None and told[1] == state_of(message):
                message.modseq = told[0]                # somebody has written it down before us
            elif not message.expunged:
                changed.setdefault(state_of(message), []).append(message.uid)
                numbered.append(message)
        gone = [uid for uid in changes.expunged if (told := self._unseen.pop(uid, None)) is None or told[1] is not GONE]
        if gone:
            changed[GONE] = gone
        if changed:
            modseq = self._write(changed, changes.who)
            for message in numbered:
                message.modseq = modseq
        self._settle()

    def refresh(self) -> None:
        """Take in what others have written down."""
        if not self.loaded:
            return self.load()
        try:
            if not self._refresh():
                self.loaded = False
                self.load()
            else:
                self._settle()
        except OSError:
            self.loaded = False

    def _refresh(self) -> bool:
        """False where another log stands there."""
        status = os.fstat(self._fd)
        if not self._stands() or status.st_size < self._offset:
            return False
        if status.st_size > self._offset:
            data = os.pread(self._fd, status.st_size - self._offset, self._offset)
            end = data.rfind(b"\n") + 1
            try:
                for line in format.decode(data[:end]):
                    self._note(line, self._unseen)
            except ValueError:
                return False
            self._offset += end
        return True

    def _settle(self) -> None:
        """What others wrote down and we see too is told; HIGHESTMODSEQ stays below what we do not see yet."""
        get = self.folder.get
        for uid, (modseq, info) in list(self._unseen.items()):
            message = get(uid)
            if (message is None) if info is GONE else (message is not None and state_of(message) == info):
                del self._unseen[uid]
                if message is not None:
                    message.modseq = modseq
        unseen = min((modseq for modseq, _ in self._unseen.values()), default=0)
        self.highest = max(self.highest, min(self._last, unseen - 1) if unseen else self._last)

    def _write(self, changed: dict[bytes | None, list[int]], who: bytes = b"") -> int:
        """One number for all of it."""
        modseq = self._last + 1
        if modseq > self._ceiling():
            raise OSError("no number may be given just now")
        now = int(clock.now())
        data = b"".join([format.encode(Line(modseq, now, info, format.ranges_of(sorted(uids)), who)) for info, uids in changed.items()])
        durable.append(self.path, data, sync=False)
        self._offset += len(data)
        self._last = modseq
        if GONE in changed:
            self._gone.append((modseq, format.ranges_of(sorted(changed[GONE]))))
        return modseq

    def compact(self) -> None:
        """Put a shorter log that says the same in its place.  Where that cannot be done, the long one stays."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                if self._refresh():
                    self._compact()
            finally:
                self._unlock()
        except (OSError, ValueError) as error:
            log.event("trouble", mailbox=self.folder.directory, why=f"the log of changes is not compacted: {error}")
            self._compact_at = 2 * self._offset

    def _compact(self) -> None:
        data = os.pread(self._fd, self._offset, 0)
        first, _, rest = data.partition(b"\n")
        floor = format.decode_head(first, self.folder.uidvalidity, boot_id())
        if floor is None:
            raise ValueError("its first line is another's")
        floor, lines = format.compacted(floor, format.decode(rest), since=clock.now() - _GONE_KEEP_S, gone_max=_GONE_MAX)
        self._keep_old()
        durable.replace(self.path, b"".join([format.head(self.folder.uidvalidity, boot_id(), floor), *map(format.encode, lines)]), 0o600)
        old, self._fd = self._fd, os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.close(old)
        self._offset = os.fstat(self._fd).st_size
        self._compact_at = max(_COMPACT_OCTETS, 4 * self._offset)

    def _keep_old(self) -> None:
        """What stood in the log until now stays beside it, for those who ask what happened."""
        old = os.path.join(self.folder.directory, format.OLD_NAME)
        try:
            if os.path.getsize(self.path) <= 2 * _LOG_OCTETS_MAX:
                durable.unlink_if_there(old)
                durable.link(self.path, old)
        except OSError:
            pass                                        # there was none

    def forget(self) -> None:
        """Let go of the descriptor and of what was read."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset, self.loaded, self.highest, self.floor, self._last = -1, 0, False, 0, 0, 0
        self._gone, self._unseen, self._compact_at = [], {}, _COMPACT_OCTETS


def changed_since(log: ChangeLog, messages: Iterable[Message], modseq: int) -> list[Message]:
    return [message for message in messages if log.modseq_of(message) > modseq]
