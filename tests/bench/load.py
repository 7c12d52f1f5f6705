"""A small SMTP load generator, run as a process of its own: python -m tests.bench.load '{"port": ..., ...}' prints one JSON object.

One epoll loop, one small state machine a connection, so that it costs a fraction of what it measures.  In: port, messages, sessions,
each (messages per connection, 0: all on the same), pipelining, recipients, octets.  Out: accepted, seconds until the last
250, waits_s (sorted: from the final dot to its reply), cpu_s of this process.
"""
from __future__ import annotations

import json
import select
import socket
import sys
import time

LINE = b"The quick brown fox jumps over the lazy dog, and so on to the end of line.\r\n"


class Connection:
    """One client: its dialogue goes on whenever as many replies have come as it waits for."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.sock = socket.create_connection(("127.0.0.1", load.port), 30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = load.each or load.messages
        self.rest = b""
        self.dot_at = 0.0
        self.steps = self.dialogue()
        self.awaited = next(self.steps)

    def dialogue(self):
        """Yields how many replies must be read before it goes on, and is sent the last of them."""
        yield 1                                         # the greeting
        yield self.say(b"EHLO client.example\r\n")
        while self.left and (number := self.load.take()) is not None:
            self.left -= 1
            envelope = [b"MAIL FROM:<bench@client.example>\r\n", b"RCPT TO:<%s>\r\n" % self.load.recipient(number), b"DATA\r\n"]
            if self.load.pipelining:
                reply = yield self.say(b"".join(envelope), 3)
            else:
                for command in envelope:
                    reply = yield self.say(command)
            if not reply.startswith(b"354"):
                raise SystemExit(f"refused: {reply!r}")
            self.dot_at = time.perf_counter()
            reply = yield self.say(self.load.body)
            self.load.waits_s.append(time.perf_counter() - self.dot_at)
            if not reply.startswith(b"250"):
                raise SystemExit(f"not accepted: {reply!r}")
            self.load.accepted_at = time.perf_counter()
        yield self.say(b"QUIT\r\n")

    def say(self, data: bytes, replies: int = 1) -> int:
        self.sock.sendall(data)
        return replies

    def readable(self) -> bool:
        """False at the end."""
        data = self.sock.recv(65536)
        if not data:
            return False
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-":
                self.awaited -= 1
                if not self.awaited:
                    try:
                        self.awaited = self.steps.send(line)
                    except StopIteration:
                        return False
        return True


class Load:
    def __init__(self, port: int, messages: int, sessions: int, each: int, pipelining: bool, recipients: list[str], octets: int) -> None:
        self.port, self.messages, self.sessions, self.each, self.pipelining = port, messages, sessions, each, pipelining
        self.recipients = [address.encode() for address in recipients]
        text = b"Subject: load\r\nMessage-ID: <load@client.example>\r\nFrom: <bench@client.example>\r\n\r\n"
        self.body = text + LINE * max(1, (octets - len(text)) // len(LINE)) + b".\r\n"
        self.taken = 0
        self.waits_s: list[float] = []
        self.accepted_at = 0.0

    def take(self) -> int | None:
        if self.taken >= self.messages:
            return None
        self.taken += 1
        return self.taken

    def recipient(self, number: int) -> bytes:
        return self.recipients[number % len(self.recipients)]

    def run(self) -> dict[str, object]:
        poll, connections = select.epoll(), {}

        def open_one() -> None:
            connection = Connection(self)
            connections[connection.sock.fileno()] = connection
            poll.register(connection.sock, select.EPOLLIN)

        began = time.perf_counter()
        for _ in range(self.sessions):
            open_one()
        while connections:
            for fd, _ in poll.poll(60):
                if not connections[fd].readable():
                    poll.unregister(fd)
                    connections.pop(fd).sock.close()
                    if self.taken < self.messages:
                        open_one()
        return {"accepted": len(self.waits_s), "seconds": self.accepted_at - began, "waits_s": sorted(self.waits_s), "cpu_s": time.process_time()}


if __name__ == "__main__":
    print(json.dumps(Load(**json.loads(sys.argv[1])).run()))
