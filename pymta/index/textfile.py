"""textfile: one file of text of a folder (formats/searchtext): its blocks, the text of each, append, begin anew."""
from __future__ import annotations

import fcntl
import os
import threading

from pymta import durable
from pymta.formats.searchtext import BLOCK_HEAD_OCTETS, HEAD_OCTETS, ROW_OCTETS, Block, decode, decode_head, fits, new_head

OCTETS_MAX = 1 << 33                                    # what a file may grow to; what is not in it is read
_DEAD_ROWS = 5000


class TextFile:
    """directory: of the folder, bytes; name: of the file.  Errors of the disk are no errors here: what is not found is read anew.
    All methods may be called from any thread."""

    def __init__(self, directory: bytes, name: bytes) -> None:
        self.path = os.path.join(directory, name)
        self._uidvalidity = 0
        self._fd = -1
        self._known = 0                                 # where the next block would begin
        self._blocks: list[Block] = []
        self._file: object = None                       # stands for the file that is open
        self._mutex = threading.RLock()

    def blocks(self, uidvalidity: int) -> list[Block]:
        """All that is there now (a new list)."""
        with self._mutex:
            try:
                self._refresh(uidvalidity)
            except OSError:
                self.close()
            return list(self._blocks)

    def _refresh(self, uidvalidity: int) -> None:
        status = os.stat(self.path, follow_symlinks=False)
        if self._fd < 0 or uidvalidity != self._uidvalidity or not os.path.samestat(os.fstat(self._fd), status):
            self._open(uidvalidity)
        size = os.fstat(self._fd).st_size
        if size < self._known:                          # somebody has cut it: not us
            self.drop()
        while self._known < size:
            head = decode_head(octets := os.pread(self._fd, BLOCK_HEAD_OCTETS, self._known))
            if head is None:
                if len(octets) == BLOCK_HEAD_OCTETS:
                    self.drop()
                return
            rows = os.pread(self._fd, BLOCK_HEAD_OCTETS + head[0] * ROW_OCTETS, self._known)
            found = decode(rows, self._known)
            if found is None:
                if self._known + len(rows) < size:
                    self.drop()
                return                                  # somebody is writing it
            if found[1] > size:
                return
            found[0].file = self._file
            self._blocks.append(found[0])
            self._known = found[1]

    def _open(self, uidvalidity: int) -> None:
        self.close()
        self._uidvalidity = uidvalidity
        self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if not fits(os.pread(self._fd, HEAD_OCTETS, 0), uidvalidity):
            self.drop()
            raise FileNotFoundError(self.path)
        self._known = HEAD_OCTETS
        self._file = object()

    def text(self, block: Block) -> bytes | None:
        """None where it is not there any more, or not right."""
        with self._mutex:
            if self._fd < 0 or block.file is not self._file:
                return None
            try:
                text = os.pread(self._fd, block.octets, block.offset)
            except OSError:
                text = b""
            if not block.is_right(text):
                self.drop()
                return None
            return text

    def add(self, block: bytes, uidvalidity: int) -> None:
        """Append a block, unless one of the same messages is there.  Where that cannot be done just now, nobody is the worse for it."""
        with self._mutex:
            try:
                self._add(block, uidvalidity)
            except OSError:
                self.close()

    def _add(self, octets: bytes, uidvalidity: int) -> None:
        try:
            self._refresh(uidvalidity)
        except FileNotFoundError:
            self.close()
        if self._fd < 0:
            try:
                durable.create(self.path, new_head(uidvalidity), 0o600, sync=False)
            except FileExistsError:
                pass                                    # two began at once: one finds the other's
            self._open(uidvalidity)
        lock = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.samestat(os.fstat(lock), os.fstat(self._fd)):
                return                                  # removed or made anew meanwhile: another time
            self._refresh(uidvalidity)
            size = os.fstat(lock).st_size
            if self._known != size:                     # torn: whoever wrote it is gone, for the lock is ours
                self.drop()
            elif size + len(octets) <= OCTETS_MAX and not self._has(octets):
                durable.append(self.path, octets, sync=False)
                before = len(self._blocks)
                self._refresh(uidvalidity)
                for block in self._blocks[before:]:
                    block.whole = True                  # nobody needs to look at what we have just made
        finally:
            os.close(lock)

    def _has(self, octets: bytes) -> bool:
        """Whether a block of the same messages is there: two who read the same mailbox at once make the same blocks."""
        decoded = decode(octets)
        return decoded is not None and any(block.uids == decoded[0].uids and block.bases == decoded[0].bases for block in self._blocks)

    def tidy(self, count: int) -> None:
        """Begin anew where most rows are of messages that have gone.  count: how many there are."""
        with self._mutex:
            if sum(len(block.uids) for block in self._blocks) > 2 * count + _DEAD_ROWS:
                self.drop()

    def drop(self) -> None:
        """Remove the file."""
        self.close()
        try:
            durable.unlink_if_there(self.path)
        except OSError:
            pass

    def close(self) -> None:
        """Let go of the descriptor and of what was read."""
        with self._mutex:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._known, self._blocks = -1, 0, []
