"""files: the index files of one folder (formats/index): look up, append, begin anew."""
from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Sequence
from typing import Any

from pymta import durable
from pymta.formats.index import HEAD_OCTETS, ROW_OCTETS, ROWS_NAME, TEXT_NAME, Entry, Packed, copied, decode, fits, new_head
from pymta.index import columns

_DEAD_ROWS = 5000                                       # rows of messages that have gone, before it is worth while to begin anew
_GAP_OCTETS = 1 << 16                                   # rather read over so much between two texts than ask twice
_WORDS = ROW_OCTETS // 4
_UID = 3                                                # place in a row, in words
_SPAN = struct.Struct("<Q8xIIII28xI")                    # of a row: offset, the five lengths


class IndexFiles:
    """directory: of the folder, bytes.  Errors of the disk are no errors here: what is not found is found out anew.
    All methods may be called from any thread."""

    def __init__(self, directory: bytes) -> None:
        self._rows_path = os.path.join(directory, ROWS_NAME)
        self._text_path = os.path.join(directory, TEXT_NAME)
        self._uidvalidity = 0
        self._rows_fd = self._text_fd = -1
        self._rows = bytearray()
        self._at: dict[int, int] = {}                   # UID -> number of its row
        self._whole: set[int] = set()                   # rows whose text was read and is right: it does not change any more
        self._mutex = threading.RLock()

    # ---- looking ------------------------------------------------------------------------------------------------------
    def refresh(self, uidvalidity: int) -> None:
        """Read what has been added since, or another file that stands there now."""
        with self._mutex:
            try:
                self._refresh(uidvalidity)
            except OSError:
                self.close()

    def _refresh(self, uidvalidity: int) -> None:
        status = os.stat(self._rows_path)
        if self._rows_fd < 0 or uidvalidity != self._uidvalidity or not os.path.samestat(os.fstat(self._rows_fd), status):
            self._open(uidvalidity)
            status = os.fstat(self._rows_fd)
        known = HEAD_OCTETS + len(self._rows)
        whole = status.st_size - status.st_size % ROW_OCTETS
        if whole < known:                               # somebody has cut it: not us
            self.drop()
        elif whole > known:
            self._take(os.pread(self._rows_fd, whole - known, known))

    def _open(self, uidvalidity: int) -> None:
        self.close()
        self._uidvalidity = uidvalidity
        self._rows_fd = os.open(self._rows_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._text_fd = os.open(self._text_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        head = os.pread(self._rows_fd, HEAD_OCTETS, 0)
        if not fits(head, uidvalidity) or os.pread(self._text_fd, HEAD_OCTETS, 0) != head:
            self.drop()
            raise FileNotFoundError(self._rows_path)

    def _take(self, data: bytes) -> None:
        data = data[:len(data) - len(data) % ROW_OCTETS]
        first = len(self._rows) // ROW_OCTETS
        self._rows += data
        uids = memoryview(data).cast("I")[_UID::_WORDS].tolist()
        self._at.update(zip(uids, range(first, first + len(uids))))

    def missing(self, messages: Sequence[Any], *, whole: bool = True) -> list[Any]:
        """Those that have no row; if whole, those too of which only the header was read."""
        with self._mutex:
            at, rows = self._at, self._rows
            if not whole:
                return [message for message in messages if message.uid not in at]
            return [message for message in messages if (number := at.get(message.uid)) is None
                    or not columns.has_structure(rows, number)]

    def read(self, messages: Sequence[Any], *, whole: bool = True) -> list[Entry | None]:
        """What is known of each of some messages (objects with uid and base); if whole, nothing where only the header was read."""
        with self._mutex:
            try:
                found = self._read(messages)
            except (OSError, ValueError):
                self.drop()
                return [None] * len(messages)
        return [entry if entry is None or entry.is_whole else None for entry in found] if whole else found

    def copied(self, messages: Sequence[Any], copies: Sequence[Any]) -> list[Packed]:
        """What is known of messages, as entries for their copies.  Nothing where nobody in this process has asked for any of them."""
        with self._mutex:
            at, rows = self._at, self._rows
            known = [(at[message.uid], message.base, copy) for message, copy in zip(messages, copies) if message.uid in at]
            try:
                texts = self._whole_texts([number for number, _, _ in known])
            except OSError:
                return []
            made = [copied(rows, number * ROW_OCTETS, text, base, copy.uid, copy.base) for (number, base, copy), text in zip(known, texts)]
            return [one for one in made if one is not None]

    def _whole_texts(self, numbers: Sequence[int]) -> list[bytes]:
        """All text of each row."""
        spans = [(offset, first + second + third + fourth + fifth) for offset, first, second, third, fourth, fifth in
                 [_SPAN.unpack_from(self._rows, number * ROW_OCTETS) for number in numbers]]
        return self._texts(spans)

    def _read(self, messages: Sequence[Any]) -> list[Entry | None]:
        rows, get = self._rows, self._at.get
        numbers = [get(message.uid, -1) for message in messages]
        known = [number for number in numbers if number >= 0]
        following = iter(self._whole_texts(known))
        out = [decode(rows, number * ROW_OCTETS, next(following), message.base) if number >= 0 else None
               for number, message in zip(numbers, messages)]
        if out.count(None) > len(numbers) - len(known):
            self.drop()                                 # damaged
        else:
            self._whole.update(known)
        return out

    def texts(self, messages: Sequence[Any], which: int) -> list[bytes] | None:
        """One text of each (ENVELOPE, BODYSTRUCTURE, KEYS or PREVIEW of columns), faster; None unless all have been read before."""
        with self._mutex:
            numbers = self._numbers(messages)
            if numbers is None:
                return None
            starts, lengths = columns.spans(self._rows, numbers, which)
            if 0 in lengths:                            # only the header was read
                return None
            try:
                return self._cut(starts, lengths)
            except OSError:
                return None

    def sent(self, messages: Sequence[Any]) -> list[int] | None:
        """When each was sent, as texts() does."""
        with self._mutex:
            numbers = self._numbers(messages)
            return None if numbers is None else columns.sent(self._rows, numbers)

    def _numbers(self, messages: Sequence[Any]) -> list[int] | None:
        """Of the rows of these messages, if all have been read before."""
        at, whole = self._at, self._whole
        try:
            numbers = [at[message.uid] for message in messages]
        except KeyError:
            return None
        return numbers if len(whole) == len(self._rows) // ROW_OCTETS or whole.issuperset(numbers) else None

    def _cut(self, starts: list[int], lengths: list[int]) -> list[bytes]:
        """The octets at each offset, with few reads where they lie close together."""
        if not starts:
            return []
        ends = list(map(int.__add__, starts, lengths))
        first, behind = min(starts), max(ends)
        if behind - first <= 8 * sum(lengths) + _GAP_OCTETS:
            data = os.pread(self._text_fd, behind - first, first)
            return [data[start - first:end - first] for start, end in zip(starts, ends)]
        return self._texts(list(zip(starts, lengths)))

    def _texts(self, spans: list[tuple[int, int]]) -> list[bytes]:
        """The octets of (offset, length) each."""
        out: list[bytes] = []
        begin = 0
        for end in range(1, len(spans) + 1):
            if end < len(spans) and 0 <= spans[end][0] - spans[end - 1][0] - spans[end - 1][1] <= _GAP_OCTETS:
                continue
            first = spans[begin][0]
            data = os.pread(self._text_fd, spans[end - 1][0] + spans[end - 1][1] - first, first)
            out += [data[offset - first:offset - first + length] for offset, length in spans[begin:end]]
            begin = end
        return out

    # ---- adding -------------------------------------------------------------------------------------------------------
    def add(self, packed: Sequence[Packed], uidvalidity: int) -> None:
        """Append entries.  Where that cannot be done just now, nobody is the worse for it."""
        with self._mutex:
            try:
                self._add(packed, uidvalidity)
            except OSError:
                self.close()

    def _add(self, packed: Sequence[Packed], uidvalidity: int) -> None:
        self.refresh(uidvalidity)
        if self._rows_fd < 0:
            self._begin(uidvalidity)
        lock = os.open(self._rows_path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            status = os.fstat(lock)
            if not os.path.samestat(status, os.fstat(self._rows_fd)):
                return                                  # removed or made anew meanwhile: another time
            if status.st_size % ROW_OCTETS:             # torn: whoever wrote it is gone, for the lock is ours
                self.drop()
                return
            offset = os.stat(self._text_path).st_size
            rows = []
            for one in packed:
                rows.append(one.row(offset))
                offset += len(one.text)
            durable.append(self._text_path, b"".join([one.text for one in packed]), sync=False)
            durable.append(self._rows_path, b"".join(rows), sync=False)
        finally:
            os.close(lock)

    def _begin(self, uidvalidity: int) -> None:
        """New files.  Two who begin at once: one finds the other's."""
        self.drop()
        head = new_head(uidvalidity)
        try:
            durable.create(self._text_path, head, 0o600, sync=False)
            durable.create(self._rows_path, head, 0o600, sync=False)
        except FileExistsError:
            pass
        self._open(uidvalidity)

    def tidy(self, count: int) -> None:
        """Begin anew where most rows are of messages that have gone.  count: how many there are."""
        with self._mutex:
            if len(self._rows) // ROW_OCTETS > 2 * count + _DEAD_ROWS:
                self.drop()

    def drop(self) -> None:
        """Remove the files."""
        self.close()
        for path in (self._rows_path, self._text_path):
            try:
                durable.unlink_if_there(path)
            except OSError:
                pass

    def close(self) -> None:
        """Let go of descriptors and of what was read."""
        with self._mutex:
            for fd in (self._rows_fd, self._text_fd):
                if fd >= 0:
                    os.close(fd)
            self._rows_fd = self._text_fd = -1
            self._rows = bytearray()
            self._at = {}
            self._whole = set()
