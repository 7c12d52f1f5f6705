"""Plays session transcripts: one promise each, against an engine without I/O and against a real program.

    # RFC 1939 §7: PASS takes blanks.          comments; the first ones say the promise
    @ users alice:a b                          an option for whoever sets the stage: name, then text
    S: +OK *                                   the server says this line; * stands for anything
    C: USER alice                              the client says this line.  Lines without an answer between them go out in one piece
    S...                                       any number of lines, up to one that fits the next S:
    C!: RETR 1\\r\\nNOOP\\xff                  octets as they are: escapes are resolved and no line end is added
    TLS                                        the handshake, after the server has agreed to it
    PAUSE                                      what follows goes out in a piece of its own
    END                                        the server closes the connection

A peer is anything with
    send(octets)       hand octets to the server
    receive() -> bytes what it says; waits for something; b"" when there will be nothing more (closed, or an engine that is idle)
    secure()           do the TLS handshake (an engine is told that it has been done)
    settle()           wait until the server has worked on what it got
    closed() -> bool   whether the server ends the connection (waits for it)
SocketPeer is one for a program; EnginePeer makes one from three functions.
"""
from __future__ import annotations

import codecs
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

FOLDER = Path(__file__).resolve().parent
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Step:
    """kind: "C" (with its line end), "S" (pattern), "...", "TLS", "PAUSE" or "END"; number: the line in the file."""

    kind: str
    text: bytes
    number: int


@dataclass(frozen=True)
class Transcript:
    path: Path
    promise: str
    options: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]

    def option(self, name: str, default: str = "") -> str:
        """The text of the last such option."""
        return dict(self.options).get(name, default)


class Peer(Protocol):
    def send(self, octets: bytes) -> None: ...
    def receive(self) -> bytes: ...
    def secure(self) -> None: ...
    def settle(self) -> None: ...
    def closed(self) -> bool: ...


def transcripts(protocol: str) -> list:
    """Every transcript of tests/sessions/PROTOCOL as a parameter for pytest."""
    return [pytest.param(read(path), id=path.stem) for path in sorted((FOLDER / protocol).glob("*.session"))]


def read(path: Path) -> Transcript:
    promise: list[str] = []
    options: list[tuple[str, str]] = []
    steps: list[Step] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        kind, space, text = line.partition(" ")
        if line.startswith("#"):
            if not steps and not options:
                promise.append(line.lstrip("# "))
        elif kind == "@":
            name, _, value = text.partition(" ")
            options.append((name, value))
        elif kind in ("C:", "S:"):
            steps.append(Step(kind[0], text.encode() + (b"\r\n" if kind == "C:" else b""), number))
        elif kind == "C!:":
            steps.append(Step("C", codecs.escape_decode(text.encode())[0], number))
        elif line == "S...":
            steps.append(Step("...", b"", number))
        elif line in ("TLS", "PAUSE", "END"):
            steps.append(Step(line, b"", number))
        elif line.strip():
            raise ValueError(f"{path}:{number}: {line!r} is neither C: nor S: nor #")
    assert promise, f"{path}: the first line has to say the promise after a #"
    return Transcript(path, " ".join(promise), tuple(options), tuple(steps))


def fits(pattern: bytes, line: bytes) -> bool:
    """Whether a line is what a pattern with * says."""
    return re.fullmatch(b".*".join(re.escape(part) for part in pattern.split(b"*")), line, re.DOTALL) is not None


def play(transcript: Transcript, peer: Peer) -> None:
    """Go through a transcript; AssertionError names the file, the line, and what was said instead."""
    heard = _Lines(peer)
    batch = b""
    anything = False
    for step in transcript.steps:
        where = f"{transcript.path.name}:{step.number} ({transcript.promise})"
        if step.kind == "C":
            assert not anything, f"{where}: S... has to be followed by S:"
            batch += step.text
            continue
        if batch:
            peer.send(batch)
            batch = b""
        if step.kind == "...":
            anything = True
        elif step.kind == "S":
            passed: list[bytes] = []
            while True:
                line = heard.next()
                assert line is not None, f"{where}: expected {step.text!r}, but the server says no more" + (f" after {passed}" if passed else "")
                if fits(step.text, line):
                    break
                assert anything, f"{where}: expected {step.text!r}, got {line!r}"
                passed.append(line)
            anything = False
        elif step.kind == "TLS":
            assert not heard.left, f"{where}: said before the handshake: {heard.left!r}"
            peer.secure()
        elif step.kind == "PAUSE":
            peer.settle()
        else:
            line = heard.next() if anything else None
            while anything and line is not None:
                line = heard.next()
            assert peer.closed(), f"{where}: the server does not close the connection"
            heard.pull()
            assert not heard.left, f"{where}: said at the end: {heard.left!r}"
    if batch:
        peer.send(batch)
        peer.settle()
    if not transcript.steps or transcript.steps[-1].kind in ("S", "TLS"):
        assert not heard.left, f"{transcript.path.name}: said after the last line: {heard.left!r}"


class _Lines:
    """What the server said, as lines."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.left = b""

    def next(self) -> bytes | None:
        """The next line without its CR LF, or None if there is none."""
        while b"\r\n" not in self.left:
            if not self.pull():
                return None
        line, _, self.left = self.left.partition(b"\r\n")
        return line

    def pull(self) -> bool:
        octets = self._peer.receive()
        self.left += octets
        return bool(octets)


class EnginePeer:
    """An engine as a peer.  feed: gives it octets and works off its events; take: what it says; ended: whether it is over;
    secured: tells it that TLS is up.  bite: how many octets it gets at a time (0: all)."""

    def __init__(self, feed: Callable[[bytes], None], take: Callable[[], bytes], ended: Callable[[], bool],
                 secured: Callable[[], None] | None = None, *, bite: int = 0) -> None:
        self._feed, self._take, self._ended, self._secured, self._bite = feed, take, ended, secured, bite
        self._said = b""

    def send(self, octets: bytes) -> None:
        for piece in pieces(octets, self._bite):
            if not self._ended():
                self._feed(piece)
                self._said += self._take()

    def receive(self) -> bytes:
        said, self._said = self._said + self._take(), b""
        return said

    def secure(self) -> None:
        assert self._secured is not None
        self._secured()

    def settle(self) -> None:
        pass

    def closed(self) -> bool:
        return self._ended()


class SocketPeer:
    """A program as a peer.  tls: the client's context for secure(); at_once: the port speaks TLS from the first byte."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, at_once: bool = False, bite: int = 0) -> None:
        self._sock = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._context, self._bite = tls, bite
        if at_once:
            self.secure()

    def send(self, octets: bytes) -> None:
        for piece in pieces(octets, self._bite):
            self._sock.sendall(piece)

    def receive(self) -> bytes:
        try:
            return self._sock.recv(1 << 16)
        except (ConnectionResetError, ssl.SSLEOFError):
            return b""

    def secure(self) -> None:
        assert self._context is not None, "no TLS context was given"
        self._sock = self._context.wrap_socket(self._sock, server_hostname="localhost")

    def settle(self) -> None:
        time.sleep(0.05)                                # only parts one packet from the next; no promise rests on it

    def closed(self) -> bool:
        try:
            return self.receive() == b""
        except TimeoutError:
            return False

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> SocketPeer:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


def pieces(octets: bytes, bite: int) -> Iterable[bytes]:
    """octets in pieces of bite; whole if bite is 0."""
    return [octets[at:at + bite] for at in range(0, len(octets), bite)] if bite else [octets]
