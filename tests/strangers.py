"""Strangers who mean no good: many who talk slowly, and one network that connects as fast as it can.  Loopback addresses stand in
for the networks: 127.0.N.0/24."""
from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable

DRIP = b"EHLO slow.example\r\nMAIL FROM:<slow@slow.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\nSubject: slow\r\n\r\n" + b"x" * 1_000_000


class Strangers:
    """A thread that goes on until the end of the with block; what surprised it is raised there."""

    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)
        self.ending = threading.Event()
        self.surprise: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.surprise is not None:
            raise self.surprise

    def _guard(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.surprise = error

    def work(self) -> None:
        raise NotImplementedError

    def connect(self, source: str) -> socket.socket:
        return socket.create_connection(self.address, timeout=20, source_address=(source, 0))


class SlowOnes(Strangers):
    """count sessions from networks of each addresses; every one says an octet each pause_s.  open: how many are; greeted: how many have
    heard a greeting."""

    def __init__(self, port: int, count: int, *, each: int = 40, pause_s: float = 1.0) -> None:
        super().__init__(port)
        self.count, self.each, self.pause_s = count, each, pause_s
        self.open = self.greeted = self.refused = 0

    def work(self) -> None:
        selector = selectors.DefaultSelector()
        said: dict[socket.socket, int] = {}
        try:
            for number in range(self.count):
                if self.ending.is_set():
                    return
                sock = self.connect(f"127.1.{number // self.each % 250}.{1 + number % self.each}")
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
                said[sock] = -1                         # it waits for the greeting
                self.open += 1
                if number % 20 == 0:
                    self._hear(selector, said, 0)
            while not self.ending.is_set():
                began = time.monotonic()
                for sock, at in list(said.items()):
                    if at >= 0:
                        try:
                            sock.send(DRIP[at:at + 1])
                            said[sock] = at + 1
                        except OSError:
                            self._drop(selector, said, sock)
                while (left := began + self.pause_s - time.monotonic()) > 0 and not self.ending.is_set():
                    self._hear(selector, said, min(left, 0.1))
        finally:
            selector.close()
            for sock in said:
                sock.close()

    def _hear(self, selector: selectors.BaseSelector, said: dict[socket.socket, int], wait_s: float) -> None:
        for key, _ in selector.select(wait_s):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(4096)
            except OSError:
                data = b""
            if not data or data.startswith(b"421"):
                self.refused += 1
                self._drop(selector, said, sock)
            elif said[sock] < 0:
                self.greeted += 1
                said[sock] = 0

    def _drop(self, selector: selectors.BaseSelector, said: dict[socket.socket, int], sock: socket.socket) -> None:
        selector.unregister(sock)
        sock.close()
        del said[sock]
        self.open -= 1


class Flood(Strangers):
    """One network that connects without end and holds what it gets.  tried, refused: connections."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.tried = self.refused = 0

    def work(self) -> None:
        held: list[socket.socket] = []
        try:
            while not self.ending.is_set():
                sock = self.connect(f"127.2.0.{1 + self.tried % 250}")
                self.tried += 1
                try:
                    refused = sock.recv(200).startswith(b"421")
                except OSError:
                    refused = True
                if refused:
                    self.refused += 1
                    sock.close()
                else:
                    held.append(sock)
        finally:
            for sock in held:
                sock.close()


def send(port: int, source: str, *, wait: Callable[[], None] = lambda: None) -> float:
    """One message for alice over a session of its own; how long it took from the connection to the 250, in seconds."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as sock, sock.makefile("rb") as replies:
        for line, code in ((b"", b"220"), (b"EHLO good.example\r\n", b"250"),
                           (b"MAIL FROM:<ann@good.example>\r\nRCPT TO:<alice@example.test>\r\nDATA\r\n", b"354"),
                           (b"Subject: good\r\n\r\nhello\r\n.\r\n", b"250")):
            sock.sendall(line)
            while (reply := replies.readline()) and (reply[3:4] == b"-" or code == b"354" and reply[:3] == b"250"):
                pass
            assert reply.startswith(code), reply
        took = time.monotonic() - began
        sock.sendall(b"QUIT\r\n")
    return took
