"""A small daemon on serve: says what it is told, knows STARTTLS, BIG, SLOW, STAY, BUG, PAUSE, ASK, KEPT.  `python -m tests.echo ETC` for test_serve."""
from __future__ import annotations

import asyncio
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from pymta import serve, settings                                                          # noqa: E402

BIG_OCTETS = 3_000_000


class Echo(serve.Session):
    gone = []                                           # wires

    def __init__(self, wire, worker):
        super().__init__(wire)
        self.worker = worker
        wire.send(f"220 {wire.listener} {wire.tls_version} {os.getpid()}\r\n".encode())
        wire.deadline(60)

    def received(self, data):
        for line in data.splitlines():
            match line.split():
                case [b"STARTTLS"]:
                    self.wire.send(b"220 go\r\n")
                    self.wire.start_tls()
                case [b"BIG"]:
                    self.wire.send(b"x" * BIG_OCTETS)
                case [b"MANY"]:
                    self.worker.task(self.many())
                case [b"SLOW"]:
                    self.wire.deadline(0.2)
                case [b"BUG"]:
                    raise RuntimeError("as asked")
                case [b"PAUSE"]:
                    self.wire.pause()
                    self.worker.loop.call_later(0.2, self.again)
                case [b"STAY"]:
                    self.stays = True
                    self.wire.send(b"250 ok\r\n")
                case [b"ASK"]:
                    self.worker.task(self.ask())
                case [b"KEPT"]:
                    self.wire.send(b"250 %d %d\r\n" % (len(self.gone), max(sys.getsizeof(wire._rest) for wire in [self.wire, *self.gone])))
                case [b"QUIT"]:
                    self.wire.send(b"221 bye\r\n")
                    self.wire.close()
                case _:
                    self.wire.send(line + b"\r\n")

    def lost(self):
        self.gone.append(self.wire)

    def again(self):
        self.wire.send(b"250 again\r\n")
        self.wire.resume()

    async def many(self):
        for _ in range(BIG_OCTETS // 1000):
            self.wire.send(b"y" * 1000)
            await self.wire.drain()
            assert self.wire.backlog_octets < 1 << 20

    async def ask(self):
        helper = self.worker.helper("upper")
        helper.setblocking(False)
        try:
            await self.worker.loop.sock_sendall(helper, b"ask")
            answer = await asyncio.wait_for(self.worker.loop.sock_recv(helper, 100), 2)
        except (OSError, TimeoutError):
            answer = b""
        self.wire.send(b"250 " + answer + b"\r\n")

    def secured(self):
        self.wire.send(b"250 secured\r\n")

    def timed_out(self):
        self.wire.send(b"421 late\r\n")
        self.wire.close()

    stays = False

    def stopping(self):
        if self.stays:
            return
        self.wire.send(b"421 stopping\r\n")
        self.wire.close()


def upper(given, clients):
    def answer(sock):
        while data := sock.recv(100):
            sock.sendall(b"%s %d" % (data.upper(), os.getpid()))

    while (sock := clients.next()) is not None:
        threading.Thread(target=answer, args=(sock,), daemon=True).start()


def service(given):
    return serve.Service("echo", {"smtp": given["smtp.listen"], "submissions": given["smtp.submissions"]},
                         lambda worker: lambda wire: Echo(wire, worker), tls_listeners=frozenset(("submissions",)), workers=2,
                         sessions_max=20, helpers={"upper": ("", upper)}, full=b"421 full\r\n")


def main():
    return serve.run(service, settings.read(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
