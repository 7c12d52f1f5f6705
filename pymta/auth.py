"""auth: passwords are checked in a child that alone can read them; a worker only hears who somebody is.

    worker:  passwords = Passwords(worker)                          # the Service has helpers={"auth": ("pymta-auth", helper_main)}
             login = await passwords.check(name, password, peer=wire.peer[0], service="imap")

Between the two goes one line of JSON for each question and each answer, as many at a time as MAX_IN_FLIGHT:

    {"id": "n", "name": text, "password": text, "ip": text, "service": word}
    {"id": "n", "mailbox": [address, uid, gid, home, maildir]}  or  {"id": "n", "mailbox": null}  or  {"id": "n", "trouble": text}

An answer to a question that nobody waits for any more is dropped.
"""
from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from pymta import log
from pymta.accounts import Accounts, Mailbox
from pymta.login import Checker, Trouble
from pymta.settings import Settings

if TYPE_CHECKING:
    from pymta.serve import Clients, Worker

__all__ = ["Login", "Passwords", "Trouble", "helper_main"]

ACCOUNT = "pymta-auth"
MAX_IN_FLIGHT = 2000
_ANSWER_S = 120.0
_LINE_MAX_OCTETS = 1 << 16
_TEXT_MAX_CHARS = 1000                                  # longer than any name or password that could be right


@dataclass(frozen=True, slots=True)
class Login:
    """Who somebody proved to be.  name: the mailbox's full address."""

    name: str
    mailbox: Mailbox


class Passwords:
    """The worker's end."""

    def __init__(self, worker: "Worker", helper: str = "auth") -> None:
        self._loop = worker.loop
        self._fd = -1
        self._sock: socket.socket | None = None
        self._in = self._out = b""
        self._asked: dict[str, asyncio.Future[Mailbox | None]] = {}
        self._number = 0
        self._connect(worker.helper(helper, self._connect))

    async def check(self, name: str, password: str, *, peer: str, service: str) -> Login | None:
        """Who it is, or None where name and password do not belong together (the answer may be delayed on purpose).
        peer: the client's address; service: a word for the log.  Raises Trouble: say that it should be tried again later."""
        if self._sock is None or len(self._asked) >= MAX_IN_FLIGHT:
            raise Trouble("the password child is away" if self._sock is None else "too many logins at a time")
        self._number += 1
        id = str(self._number)
        answer = self._asked[id] = self._loop.create_future()
        question = {"id": id, "name": name[:_TEXT_MAX_CHARS], "password": password[:_TEXT_MAX_CHARS], "ip": peer, "service": service}
        self._say(json.dumps(question).encode("ascii") + b"\n")
        try:
            mailbox = await asyncio.wait_for(answer, _ANSWER_S)
        except TimeoutError:
            raise Trouble("the password child does not answer") from None
        finally:
            self._asked.pop(id, None)
        return Login(mailbox.address, mailbox) if mailbox else None

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _connect(self, sock: socket.socket) -> None:
        self._drop()
        sock.setblocking(False)
        self._sock, self._fd = sock, sock.fileno()
        self._loop.add_reader(self._fd, self._readable)

    def _drop(self) -> None:
        """The helper is gone: nobody who waits will get an answer."""
        if self._sock is None:
            return
        self._sock = None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._in = self._out = b""
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Trouble("the password child ended"))

    def _say(self, data: bytes) -> None:
        idle = not self._out
        self._out += data
        if idle:
            self._writable()

    def _writable(self) -> None:
        assert self._sock is not None
        try:
            self._out = self._out[self._sock.send(self._out):]
        except BlockingIOError:
            pass
        except OSError:
            self._drop()
            return
        if self._out:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data = self._sock.recv(_LINE_MAX_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop()
            return
        *lines, self._in = (self._in + data).split(b"\n")
        for line in lines:
            reply = json.loads(line)
            answer = self._asked.get(reply["id"])
            if answer is None or answer.done():
                continue
            if "trouble" in reply:
                answer.set_exception(Trouble(reply["trouble"]))
            else:
                answer.set_result(Mailbox(*reply["mailbox"]) if reply["mailbox"] else None)


def helper_main(settings: Settings, clients: "Clients") -> None:
    """The child's life: answer every worker that comes until the parent is gone."""
    asyncio.run(_Helper(settings, clients).run())


class _Helper:
    def __init__(self, settings: Settings, clients: "Clients") -> None:
        self._clients = clients
        self._checker = Checker(settings, Accounts(settings))
        self._tasks: set[asyncio.Task[None]] = set()
        self._trouble = ""

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._clients.fileno(), self._client, ended)
        await ended.wait()
        loop.remove_reader(self._clients.fileno())
        for task in self._tasks:
            task.cancel()

    def _client(self, ended: asyncio.Event) -> None:
        try:
            sock = self._clients.next()
        except OSError:
            sock = None
        if sock is None:
            ended.set()
        else:
            self._spawn(self._serve(sock))

    def _spawn(self, coroutine) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.bug("passwords", error)

    async def _serve(self, sock: socket.socket) -> None:
        """Everything one worker asks."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=_LINE_MAX_OCTETS)
        try:
            while line := await reader.readline():
                self._spawn(self._answer(line, writer))
                await writer.drain()
        except (OSError, ValueError):
            pass                                        # the worker is gone, or talks nonsense: it gets no answer
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        question = json.loads(line)
        answer: dict[str, object] = {"id": question["id"]}
        try:
            if len(self._tasks) > 2 * MAX_IN_FLIGHT:
                raise Trouble("too many logins at a time")
            mailbox = await self._checker.check(question["name"], question["password"], question["ip"], question["service"])
            answer["mailbox"] = astuple(mailbox) if mailbox else None
            self._trouble = ""
        except Trouble as trouble:
            answer["trouble"] = str(trouble)
            self._report(str(trouble))
        except Exception as error:
            log.bug("passwords", error)
            answer["trouble"] = "unexpected trouble"
        if not writer.is_closing():
            writer.write(json.dumps(answer).encode("ascii") + b"\n")

    def _report(self, trouble: str) -> None:
        """One line per kind of trouble, not one per login."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.event("trouble", what="cannot check passwords", why=trouble)
