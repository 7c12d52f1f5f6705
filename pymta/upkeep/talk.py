"""talk: ask another server's own program, which speaks IMAP or POP3 on its standard input and output."""
from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from pymta.formats.maildir import decode_utf7, encode_utf7
from pymta.upkeep.view import Box, Mail, View

_PATIENCE_S = 600.0
_LITERAL = re.compile(rb"\{(\d{1,9})\+?\}\r?\n\Z")
_LISTED = re.compile(rb'\* (?:LIST|LSUB) \(([^)]*)\) (?:"[^"]*"|NIL) (.*)', re.S)
_NUMBER = rb" (\d{1,19})"


class Silent(OSError):
    """The program said something else than was asked, or nothing."""


class Talk:
    """`with Talk(words, environment) as talk:` a conversation with one process.  Raises OSError where it cannot be started."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], cwd: str | None = None) -> None:
        self._process = subprocess.Popen(words, env=dict(environment), cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=subprocess.DEVNULL)
        self._end = threading.Timer(_PATIENCE_S, self._process.kill)
        self._end.daemon = True
        self._end.start()
        self._program = words[0]
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.cancel()
        if kind is not None:
            self._process.kill()
        try:
            self._process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.communicate()

    def line(self) -> bytes:
        """One line without its end, literals within it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise Silent(f"{self._program} hung up: {line[:200].decode('latin-1')!r}")
        while found := _LITERAL.search(line):
            line += self._process.stdout.read(int(found[1])) + self._process.stdout.readline()
        return line.rstrip(b"\r\n")

    def say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\r\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Silent(f"{self._program} hung up") from None

    # ---- IMAP ---------------------------------------------------------------------------------------------------------
    def command(self, line: bytes) -> tuple[list[bytes], bytes]:
        """(untagged lines, what stands behind the tag)."""
        self._count += 1
        tag = b"p%d " % self._count
        self.say(tag + line)
        lines = []
        while not (said := self.line()).startswith(tag):
            lines.append(said)
        return lines, said[len(tag):]

    def ok(self, line: bytes) -> list[bytes]:
        """Untagged lines.  Raises Silent unless the answer is OK."""
        lines, said = self.command(line)
        if not said.startswith(b"OK"):
            raise Silent(f"{self._program}: {line.decode('latin-1')}: {said.decode('latin-1')}")
        return lines


def imap_view(talk: Talk, prefix: str = "", *, modseq: bool = False) -> View:
    """What a server says that has greeted with PREAUTH.  prefix: stands before every name but INBOX.  Selects: new mail is moved to cur/."""
    while not (said := talk.line()).startswith(b"* PREAUTH"):
        if not said.startswith(b"* OK"):
            raise Silent(f"the greeting is {said[:200].decode('latin-1')!r}")
    view = View(subscribed=[_without(prefix, name) for name, _ in _names(talk.ok(b'LSUB "" "*"'))])
    for name, wire in _names(talk.ok(b'LIST "" "*"')):
        asked = b"MESSAGES UNSEEN UIDNEXT UIDVALIDITY" + (b" HIGHESTMODSEQ" if modseq else b"")
        lines, said = talk.command(b"STATUS %b (%b)" % (wire, asked))
        if not said.startswith(b"OK"):
            continue                                    # listed, but no mailbox
        numbers = {word: int(found[1]) for word in asked.split() if (found := re.search(word + _NUMBER, b" ".join(lines)))}
        box = Box(numbers[b"UIDVALIDITY"], numbers[b"UIDNEXT"], numbers[b"MESSAGES"], numbers[b"UNSEEN"], modseq=numbers.get(b"HIGHESTMODSEQ", 0))
        talk.ok(b"SELECT " + wire)
        if box.messages:
            box.mails = dict(_mails(talk.ok(b"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)")))
        view.boxes[_without(prefix, name)] = box
    talk.command(b"LOGOUT")
    return view


def _names(lines: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """(name, the name as it is to be said) of lines of LIST or LSUB."""
    for line in lines:
        found = _LISTED.fullmatch(line)
        if not found or b"\\noselect" in found[1].lower() or b"\\nonexistent" in found[1].lower():
            continue
        name = found[2]
        if name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
        elif literal := re.match(rb"\{\d+\}\r?\n", name):
            name = name[literal.end():]
        yield decode_utf7(name), b'"%b"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _without(prefix: str, name: str) -> str:
    return name[len(prefix):] if prefix and name.startswith(prefix) else "INBOX" if name.upper() == "INBOX" else name


def _mails(lines: list[bytes]) -> Iterator[tuple[int, Mail]]:
    for line in lines:
        uid, flags = re.search(rb"UID" + _NUMBER, line), re.search(rb"FLAGS \(([^)]*)\)", line)
        size, date = re.search(rb"RFC822\.SIZE" + _NUMBER, line), re.search(rb'INTERNALDATE "([^"]+)"', line)
        if uid and flags and size and date:
            when = datetime.strptime(date[1].decode("latin-1").strip(), "%d-%b-%Y %H:%M:%S %z").timestamp()
            names = frozenset(flags[1].decode("utf-8", "surrogateescape").split()) - {"\\Recent"}
            yield int(uid[1]), Mail(names, int(size[1]), int(when))


def quoted(name: str) -> bytes:
    """A mailbox as a command names it."""
    return b'"%b"' % encode_utf7(name).replace(b"\\", b"\\\\").replace(b'"', b'\\"')


# ---- POP3 -------------------------------------------------------------------------------------------------------------
def pop3_view(talk: Talk) -> list[tuple[bytes, int]]:
    """(UIDL, size) of each message, from a server that has let us in, and has said so if it does."""
    uidls, sizes = _listing(talk, b"UIDL"), _listing(talk, b"LIST")
    talk.say(b"QUIT")
    talk.line()
    return [(uidls[number], int(sizes[number])) for number in sorted(uidls) if number in sizes]


def _listing(talk: Talk, command: bytes) -> dict[int, bytes]:
    talk.say(command)
    if not (said := talk.line()).startswith(b"+OK"):
        raise Silent(f"POP3: {command.decode()}: {said.decode('latin-1')}")
    found = {}
    while (said := talk.line()) != b".":
        number, _, value = said.partition(b" ")
        found[int(number)] = value
    return found
