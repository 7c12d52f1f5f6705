"""auth: passwords are checked in a child that alone can read them; a worker only hears who somebody is.

    worker:  passwords = Passwords(worker)                          # the Service has helpers={"auth": ("pymta-auth", helper_main)}
             login = await passwords.check(name, password, peer=wire.peer[0], service="imap")

Between the two goes one line of JSON for each question and each answer, as many at a time as MAX_IN_FLIGHT:

    {"id": "n", "name": text, "password": text, "ip": text, "service": word, "facts": object or null}
    {"id": "n", "mailbox": [address, uid, gid, home, maildir, quota, without]}  or  {"id": "n", "mailbox": null}  or  {"id": "n", "trouble": text}

A question with facts comes with a descriptor: if the password is right, the child hands mailbox, facts and descriptor on to who
starts session processes (serve/sessions.py).  So a worker, whoever may own it, opens only mailboxes whose password it has.
An answer to a question that nobody waits for any more is dropped.
"""
from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections import deque
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from pymta import log
from pymta.accounts import Accounts, Mailbox
from pymta.serve.line import Line, close_all
from pymta.login.checker import Checker, Trouble
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


def plain_allowed(client: str, networks: tuple) -> bool:
    """Whether a client of this address may say its password without TLS (login.plain_from)."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return True                                     # a socket of this host
    return any(address in network for network in networks)


class Passwords:
    """The worker's end."""

    def __init__(self, worker: "Worker", helper: str = "auth") -> None:
        self._loop = worker.loop
        self._asked: dict[str, asyncio.Future[Mailbox | None]] = {}
        self._number = 0
        self._line = Line(worker, helper, self._heard, self._gone)

    async def check(self, name: str, password: str, *, peer: str, service: str) -> Login | None:
        """Who it is, or None where name and password do not belong together (the answer may be delayed on purpose).
        peer: the client's address; service: a word for the log.  Raises Trouble: say that it should be tried again later."""
        mailbox = await self._ask(name, password, peer, service, None, [])
        return Login(mailbox.address, mailbox) if mailbox else None

    async def open_session(self, name: str, password: str, *, peer: str, service: str,
                           facts: dict[str, object]) -> tuple[Login, socket.socket] | None:
        """The same, and the session goes on in a process of the mailbox's uid, at the other end of the socket in the answer.
        facts: what that process has to know of the connection (JSON)."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        mailbox = None
        try:
            mailbox = await self._ask(name, password, peer, service, facts, [theirs.detach()])
            return (Login(mailbox.address, mailbox), ours) if mailbox else None
        finally:
            if not mailbox:
                ours.close()

    # ---- inside -------------------------------------------------------------------------------------------------------
    async def _ask(self, name: str, password: str, peer: str, service: str, facts: dict[str, object] | None,
                   descriptors: list[int]) -> Mailbox | None:
        if self._line.away or len(self._asked) >= MAX_IN_FLIGHT:
            close_all(descriptors)
            raise Trouble("the password child is away" if self._line.away else "too many logins at a time")
        self._number += 1
        id = str(self._number)
        answer = self._asked[id] = self._loop.create_future()
        question = {"id": id, "name": name[:_TEXT_MAX_CHARS], "password": password[:_TEXT_MAX_CHARS], "ip": peer, "service": service,
                    "facts": facts}
        try:
            self._line.say(json.dumps(question).encode("ascii") + b"\n", descriptors)
            return await asyncio.wait_for(answer, _ANSWER_S)
        except TimeoutError:
            raise Trouble("the password child does not answer") from None
        finally:
            self._asked.pop(id, None)

    def _gone(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Trouble("the password child ended"))

    def _heard(self, lines: list[bytes]) -> None:
        for line in lines:
            reply = json.loads(line)
            answer = self._asked.get(reply["id"])
            if answer is None or answer.done():
                continue
            if "trouble" in reply:
                answer.set_exception(Trouble(reply["trouble"]))
            else:
                answer.set_result(Mailbox(*reply["mailbox"]) if reply["mailbox"] else None)


def helper_main(settings: Settings, clients: "Clients", starter: socket.socket | None = None) -> None:
    """The child's life: answer every worker that comes until the parent is gone.  starter: where sessions are handed on to
    (a SOCK_SEQPACKET socket; one mailbox, its facts and its descriptor a packet)."""
    asyncio.run(_Helper(settings, clients, starter).run())


class _Helper:
    def __init__(self, settings: Settings, clients: "Clients", starter: socket.socket | None = None) -> None:
        self._clients = clients
        self._starter = starter
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
            _Worker(sock, self)

    def asked(self, line: bytes, worker: "_Worker") -> None:
        """One question; it is answered when it is.  Raises ValueError, LookupError, TypeError for nonsense."""
        question = json.loads(line)
        descriptors = [] if question["facts"] is None else [worker.descriptors.popleft()]
        task = asyncio.get_running_loop().create_task(self._answer(question, descriptors, worker))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.bug("passwords", error)

    async def _answer(self, question: dict, descriptors: list[int], worker: "_Worker") -> None:
        answer: dict[str, object] = {"id": question["id"]}
        try:
            if len(self._tasks) > 2 * MAX_IN_FLIGHT:
                raise Trouble("too many logins at a time")
            mailbox = await self._checker.check(question["name"], question["password"], question["ip"], question["service"])
            if mailbox and descriptors:
                self._hand_on(mailbox, question["facts"], descriptors)
            answer["mailbox"] = astuple(mailbox) if mailbox else None
            self._trouble = ""
        except Trouble as trouble:
            answer["trouble"] = str(trouble)
            self._report(str(trouble))
        except Exception as error:
            log.bug("passwords", error)
            answer["trouble"] = "unexpected trouble"
        finally:
            close_all(descriptors)
        worker.say(json.dumps(answer).encode("ascii") + b"\n")

    def _hand_on(self, mailbox: Mailbox, facts: object, descriptors: list[int]) -> None:
        if self._starter is None:
            raise Trouble("no process starts sessions here")
        try:
            socket.send_fds(self._starter, [json.dumps([astuple(mailbox), facts]).encode("ascii")], descriptors)
        except OSError as error:
            raise Trouble(f"no session process: {error.strerror}") from None

    def _report(self, trouble: str) -> None:
        """One line per kind of trouble, not one per login."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.event("trouble", what="cannot check passwords", why=trouble)


class _Worker:
    """The helper's end of one worker: lines, and the descriptors that came with some of them, in their order."""

    def __init__(self, sock: socket.socket, helper: _Helper) -> None:
        self.descriptors: deque[int] = deque()
        self._sock: socket.socket | None = sock
        self._fd = sock.fileno()
        self._helper = helper
        self._in = self._out = b""
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        assert self._sock is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _LINE_MAX_OCTETS, 16)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self.descriptors.extend(descriptors)
        if not data or len(self._in) > _LINE_MAX_OCTETS:
            self._end()                                 # it is gone, or talks nonsense: it gets no answer
            return
        *lines, self._in = (self._in + data).split(b"\n")
        try:
            for line in lines:
                self._helper.asked(line, self)
        except (ValueError, LookupError, TypeError):
            self._end()

    def say(self, data: bytes) -> None:
        if self._sock is not None:
            self._out += data
            self._writable()

    def _writable(self) -> None:
        assert self._sock is not None
        try:
            self._out = self._out[self._sock.send(self._out):]
        except BlockingIOError:
            pass
        except OSError:
            self._end()
            return
        if self._out:
            self._loop.add_writer(self._fd, self._writable)
        else:
            self._loop.remove_writer(self._fd)

    def _end(self) -> None:
        assert self._sock is not None
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()
        self._sock = None
        close_all(list(self.descriptors))
        self.descriptors.clear()
