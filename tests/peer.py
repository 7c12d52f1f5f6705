"""Another host's mail server, SMTP or LMTP, that behaves as badly as a test wants."""
from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


class Cut(Exception):
    """Raised by a script: close the connection without a word."""


class Hang(Exception):
    """Raised by a script: say nothing any more until the client goes."""


@dataclass
class Mail:
    """One message as it came: data as on the wire, dots still doubled, without the last lone one."""

    sender: str
    recipients: list[str]
    data: bytes
    connection: int
    tls: bool


@dataclass
class Talk:
    """One connection.  lines: what the client said (not the messages)."""

    number: int
    lines: list[str] = field(default_factory=list)
    tls: bool = False


Script = Callable[[Talk, str, str], "str | None"]


class Peer:
    """Listens on a free loopback port until the end of the `with`.

    script(talk, verb, line) -> the reply to a line ("." is the end of a message; "CONNECT" asks for the greeting; LMTP's end of message is
    asked for each recipient as ".N"), or None for the ordinary one.  extensions: lines of the answer to EHLO.
    """

    def __init__(self, script: Script | None = None, *, extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 10000000"),
                 lmtp: bool = False, tls: ssl.SSLContext | None = None, listening: bool = True) -> None:
        self.script = script or (lambda talk, verb, line: None)
        self.extensions = extensions
        self.lmtp = lmtp
        self.tls = tls
        self.mails: list[Mail] = []
        self.talks: list[Talk] = []
        self.open_now = self.open_most = 0
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._connections: set[socket.socket] = set()
        if not listening:
            self._socket.close()

    def __enter__(self) -> Peer:
        if self._socket.fileno() >= 0:
            threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.add(connection)
            with self._lock:
                talk = Talk(len(self.talks))
                self.talks.append(talk)
                self.open_now += 1
                self.open_most = max(self.open_most, self.open_now)
            threading.Thread(target=self._serve, args=(connection, talk), daemon=True).start()

    def _serve(self, connection: socket.socket, talk: Talk) -> None:
        try:
            self._converse(connection, talk)
        except (Cut, OSError):
            pass
        except Hang:
            try:
                while connection.recv(65536):
                    pass
            except OSError:
                pass
        finally:
            with self._lock:
                self.open_now -= 1
            self._connections.discard(connection)
            connection.close()

    def _converse(self, connection: socket.socket, talk: Talk) -> None:
        reader = connection.makefile("rb")
        sender: str | None = None
        recipients: list[str] = []

        def say(reply: str) -> None:
            if reply:
                connection.sendall(reply.replace("\n", "\r\n").encode() + b"\r\n")

        def ask(verb: str, line: str, ordinary: str) -> str:
            reply = self.script(talk, verb, line)
            reply = ordinary if reply is None else reply
            say(reply)
            return reply
        if not ask("CONNECT", "", "220 peer.test ESMTP").startswith("220"):
            return
        while raw := reader.readline():
            line = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
            talk.lines.append(line)
            verb = line.split(" ")[0].upper()
            if verb in ("EHLO", "LHLO"):
                words = ["peer.test", *self.extensions, *(("STARTTLS",) if self.tls and not talk.tls else ())]
                ask(verb, line, "\n".join(f"250{'-' if word is not words[-1] else ' '}{word}" for word in words))
            elif verb == "STARTTLS":
                if ask(verb, line, "220 2.0.0 go").startswith("220") and self.tls:
                    connection = self.tls.wrap_socket(connection, server_side=True)
                    reader = connection.makefile("rb")
                    talk.tls = True
            elif verb == "MAIL":
                sender = None
                if ask(verb, line, "250 2.1.0 ok").startswith("2"):
                    sender, recipients = line[line.index("<") + 1:line.index(">")], []
            elif verb == "RCPT":
                if ask(verb, line, "250 2.1.5 ok" if sender is not None else "503 5.5.1 no sender").startswith("2"):
                    recipients.append(line[line.index("<") + 1:line.rindex(">")])
            elif verb == "DATA":
                if not ask(verb, line, "354 go" if recipients else "503 5.5.1 nobody").startswith("354"):
                    continue
                rows = []
                while (row := reader.readline()) != b".\r\n":
                    if not row:
                        raise Cut
                    rows.append(row)
                mail = Mail(sender or "", recipients, b"".join(rows), talk.number, talk.tls)
                if self.lmtp:
                    replies = [ask(f".{number}", "", "250 2.0.0 taken") for number in range(len(recipients))]
                    mail.recipients = [one for one, reply in zip(recipients, replies) if reply.startswith("2")]
                    taken = bool(mail.recipients)
                else:
                    taken = bool(recipients) and ask(".", "", "250 2.0.0 taken").startswith("2")
                if taken:
                    with self._lock:
                        self.mails.append(mail)
                recipients = []
            elif verb == "QUIT":
                ask(verb, line, "221 2.0.0 bye")
                return
            else:
                ask(verb, line, "250 2.0.0 ok")
