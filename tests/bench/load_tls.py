"""SMTP over TLS as load, a process of its own: python -m tests.bench.load_tls '{"port": ..., ...}' prints one JSON object.

A thread a session (the handshake and the cipher run without the interpreter's lock).  In: port, sessions, connections (in all), each
(messages on a connection; 0: handshakes alone), recipients, octets of a body, direct (TLS from the first byte instead of STARTTLS).
Out: connections, accepted, seconds, cipher.
"""
from __future__ import annotations

import itertools
import json
import socket
import ssl
import sys
import threading
import time

from tests.bench.load import LINE


class Load:
    def __init__(self, port: int, sessions: int, connections: int, each: int, recipients: list[str], octets: int, direct: bool = False) -> None:
        self.port, self.sessions, self.connections, self.each, self.direct = port, sessions, connections, each, direct
        self.recipients = itertools.cycle(address.encode() for address in recipients)
        text = b"Subject: load\r\nMessage-ID: <load@client.example>\r\nFrom: <bench@client.example>\r\n\r\n"
        self.body = text + LINE * max(1, (octets - len(text)) // len(LINE)) + b".\r\n"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.begun = itertools.count()
        self.done = self.accepted = 0
        self.cipher = ""
        self.lock = threading.Lock()

    def run(self) -> dict[str, object]:
        began = time.perf_counter()
        threads = [threading.Thread(target=self.session) for _ in range(self.sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"connections": self.done, "accepted": self.accepted, "seconds": time.perf_counter() - began, "cipher": self.cipher}

    def session(self) -> None:
        while next(self.begun) < self.connections:
            accepted = self.connection()
            with self.lock:
                self.done += 1
                self.accepted += accepted

    def connection(self) -> int:
        """One connection; how many messages were accepted on it."""
        sock = socket.create_connection(("127.0.0.1", self.port), 60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.direct:
            self.reply(sock)
            for line in (b"EHLO client.example\r\n", b"STARTTLS\r\n"):
                self.say(sock, line)
        secure = self.context.wrap_socket(sock)
        self.cipher = " ".join(map(str, secure.cipher() or ()))
        if self.direct:
            self.reply(secure)
        accepted = 0
        if self.each:
            self.say(secure, b"EHLO client.example\r\n")
        for _ in range(self.each):
            with self.lock:
                recipient = next(self.recipients)
            for line in (b"MAIL FROM:<bench@client.example>\r\n", b"RCPT TO:<%s>\r\n" % recipient, b"DATA\r\n", self.body):
                self.say(secure, line)
            accepted += 1
        self.say(secure, b"QUIT\r\n")
        secure.close()
        return accepted

    def say(self, sock: socket.socket, data: bytes) -> None:
        sock.sendall(data)
        code = self.reply(sock)
        if code not in (b"220", b"221", b"250", b"354"):
            raise SystemExit(f"refused: {data[:60]!r} {code!r}")

    @staticmethod
    def reply(sock: socket.socket) -> bytes:
        data = b""
        while not (data.endswith(b"\n") and data[data.rfind(b"\n", 0, -1) + 1:][3:4] == b" "):
            more = sock.recv(4096)
            if not more:
                raise SystemExit(f"closed after {data!r}")
            data += more
        return data[data.rfind(b"\n", 0, -1) + 1:][:3]


if __name__ == "__main__":
    print(json.dumps(Load(**json.loads(sys.argv[1])).run()))
