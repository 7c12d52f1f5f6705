"""children: processes that read many messages at once, for the first look at a big folder.

They are started for one command and end with it.  A child is handed the directory as its working directory and names on its
standard input, and gives back entries: a shell could play its parent.

    request = length *( uid SP ("new" / "cur") SP name LF )         ; length: 4 octets
    answer  = length octets                             ; what the work says of them; a message that is not there is left out

The work is a module with answer(messages, word) -> bytes; messages: (uid, base, descriptor) of each; word: handed to it.
"""
from __future__ import annotations

import errno
import fcntl
import os
import selectors
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO, Any

BATCH = 50
PROCESSES_MAX = 8                                       # for all commands of this process together
_AHEAD = 4                                              # batches a child has before it
_PIPE_OCTETS = 1 << 20
_LENGTH = struct.Struct("<I")
_START = "import sys; sys.path.insert(0, sys.argv[1]); from pymta.index.children import child; child(*sys.argv[2:])"


_free = threading.BoundedSemaphore(PROCESSES_MAX)


class Children:
    """messages: all that will be wanted, in the order in which they will be; work: name of the module, word: for it.
    Raises OSError where no process can be had: so it is where PROCESSES_MAX of them read for others already."""

    def __init__(self, directory: bytes, messages: Sequence[Any], count: int, work: str, word: str = "") -> None:
        self._waiting = deque(messages[at:at + BATCH] for at in range(0, len(messages), BATCH))
        self._children: list[_Child] = []
        self._selector = selectors.DefaultSelector()
        try:
            for _ in range(count):
                if not _free.acquire(blocking=False):
                    break
                self._children.append(child := _started(directory, work, word))
                self._selector.register(child.out, selectors.EVENT_READ, child)
                self._feed(child)
            if not self._children:
                raise BlockingIOError(errno.EAGAIN, "as many read for others as may")
        except OSError:
            self.close()
            raise

    def _feed(self, child: _Child) -> None:
        while self._waiting and len(child.owed) < _AHEAD:
            child.ask(self._waiting.popleft())

    def until(self, uid: int) -> Iterator[bytes]:
        """Answers as they come, until all for messages up to this UID have come.  Raises OSError when a child has died."""
        while any(child.owed and child.owed[0] <= uid for child in self._children):
            yield from self.some()

    def some(self) -> list[bytes]:
        """What has been answered, after a wait for the first; empty when all has been.  Raises OSError when a child has died."""
        out = []
        if any(child.owed for child in self._children):
            for key, _ in self._selector.select():
                child = key.data
                out.append(child.answer())
                self._feed(child)
        return out

    def close(self) -> None:
        self._selector.close()
        for child in self._children:
            child.close()
            _free.release()
        self._children.clear()


def _started(directory: bytes, work: str, word: str) -> _Child:
    try:
        return _Child(directory, work, word)
    except BaseException:
        _free.release()
        raise


class _Child:
    def __init__(self, directory: bytes, work: str, word: str) -> None:
        here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _START, here, work, word], cwd=directory,
                                         env={"LC_ALL": "C.UTF-8"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdin and self._process.stdout
        self._in: IO[bytes] = self._process.stdin
        self.out: IO[bytes] = self._process.stdout      # unbuffered: what select() says is all there is
        self.owed: deque[int] = deque()                 # first UID of each batch that has not come back
        for pipe in (self._in, self.out):
            try:
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_OCTETS)
            except OSError:
                pass                                    # pipe-user-pages-soft: only slower

    def ask(self, batch: Sequence[Any]) -> None:
        lines = b"".join([b"%d %b %b\n" % (message.uid, b"new" if message.new else b"cur", message.name) for message in batch])
        self.owed.append(batch[0].uid)
        _write(self._in, lines)

    def answer(self) -> bytes:
        data = _framed(self.out)
        if data is None:
            raise BrokenPipeError("a process that read messages has ended")
        self.owed.popleft()
        return data

    def close(self) -> None:
        self._process.kill()
        self._in.close()
        self.out.close()
        self._process.wait()


def _framed(stream: IO[bytes]) -> bytes | None:
    """The next request or answer; None at the end."""
    head = _exactly(stream, _LENGTH.size)
    return _exactly(stream, _LENGTH.unpack(head)[0]) if head else None


def _exactly(stream: IO[bytes], octets: int) -> bytes | None:
    data = bytearray()
    while len(data) < octets:
        more = stream.read(octets - len(data))
        if not more:
            return None
        data += more
    return bytes(data)


def _write(stream: IO[bytes], data: bytes) -> None:
    left = memoryview(_LENGTH.pack(len(data)) + data)
    while left:
        left = left[stream.write(left):]


# ---- in the child -----------------------------------------------------------------------------------------------------
def child(work: str, word: str) -> None:
    """The child's life: until its standard input ends."""
    import gc
    import importlib
    gc.disable()
    answer = importlib.import_module(work).answer
    places = {place: os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for place in (b"new", b"cur")}
    stdin, stdout = open(0, "rb", 0), open(1, "wb", 0)
    while (request := _framed(stdin)) is not None:
        _write(stdout, answer(_opened(request, places), word))


def _opened(request: bytes, places: dict[bytes, int]) -> Iterator[tuple[int, bytes, int]]:
    for line in request.split(b"\n")[:-1]:
        uid, where, name = line.split(b" ", 2)
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=places[where])
        except FileNotFoundError:
            continue                                    # renamed meanwhile: the parent will find it
        try:
            yield int(uid), name.partition(b":")[0], fd
        finally:
            os.close(fd)


def read(fd: int, octets: int | None = None) -> bytes:
    """The message, or no more than so many octets from its beginning."""
    size = os.fstat(fd).st_size if octets is None else octets
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more                                    # read(2) gives at most 2 GiB at once
    return data
