"""line: a worker's end of the socket to a helper child (service.py): lines out, lines in, another socket when the child was started again."""
from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymta.serve import Worker

_CHUNK_OCTETS = 1 << 16


class Line:
    """heard: called with the lines (without LF) that came, at least one; gone: called when the child has ended, so that whoever waits
    for it hears so.  Nothing here blocks."""

    def __init__(self, worker: Worker, helper: str, heard: Callable[[list[bytes]], None], gone: Callable[[], None]) -> None:
        self._loop = worker.loop
        self._heard = heard
        self._gone = gone
        self._sock: socket.socket | None = None
        self._fd = -1
        self._in = b""
        self._out: deque[tuple[bytes, list[int]]] = deque()
        self._connect(worker.helper(helper, self._connect))

    @property
    def away(self) -> bool:
        """Whether there is no child to talk to just now."""
        return self._sock is None

    def say(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send whole lines, and with them descriptors, which are closed here when they have gone.  For nobody if the child is away."""
        if self._sock is None:
            close_all(descriptors or [])
            return
        self._out.append((data, descriptors or []))
        if len(self._out) == 1:
            self._writable()

    def drop(self) -> None:
        """The child is gone: forget what was to be said."""
        if self._sock is None:
            return
        self._sock = None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._in = b""
        for _, descriptors in self._out:
            close_all(descriptors)
        self._out.clear()
        self._gone()

    def _connect(self, sock: socket.socket) -> None:
        self.drop()
        sock.setblocking(False)
        self._sock, self._fd = sock, sock.fileno()
        self._loop.add_reader(self._fd, self._readable)

    def _writable(self) -> None:
        while self._out and self._sock is not None:
            data, descriptors = self._out[0]
            try:
                sent = socket.send_fds(self._sock, [data], descriptors) if descriptors else self._sock.send(data)
            except BlockingIOError:
                self._loop.add_writer(self._fd, self._writable)
                return
            except OSError:
                self.drop()
                return
            close_all(descriptors)                         # they went with the first octet
            if sent < len(data):
                self._out[0] = data[sent:], []
            else:
                self._out.popleft()
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(_CHUNK_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop()
            return
        *lines, self._in = (self._in + data).split(b"\n")
        if lines:
            self._heard(lines)


def close_all(descriptors: list[int]) -> None:
    """Close descriptors that nobody will take."""
    for descriptor in descriptors:
        os.close(descriptor)
