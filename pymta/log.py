"""log: one line per event: a word, then key=value.                                        pymta-log(5)

    line   = ["<" priority ">"] word *(SP key "=" value) LF
    value  = 1*graphic | DQUOTE *printable DQUOTE       ; quoted when it holds a blank, a quote or nothing
    word   = one of EVENTS

Lines go to standard error whole, one or a few of them with one write(2), so that lines of several processes never mix; the
priority is there only when standard error is the journal (JOURNAL_STREAM).  Values are escaped: no control byte, no newline from a
stranger ever reaches the log.  Addresses stand in <>; units are part of the key; no secrets and no message text.
"""
from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

# word: (priority as in syslog(3), meaning).  pymta-log(5) is made from this table.
EVENTS: dict[str, tuple[int, str]] = {
    "start": (6, "a program is ready"),
    "stop": (6, "a program ends because it was asked to"),
    "reload": (5, "settings or a watched file were read again"),
    "accept": (6, "a message is on disk and was acknowledged; it is ours now"),
    "refuse": (6, "a command of a client was refused; nothing was taken"),
    "connect": (6, "a connection was opened (only where connections are logged)"),
    "close": (6, "a session ended for a reason other than the client's goodbye"),
    "login": (6, "somebody proved who they are"),
    "auth-failed": (5, "wrong name or password; the line fail2ban reads"),
    "route": (6, "a local drop was taken and its recipients were decided"),
    "deliver": (6, "a recipient has the message"),
    "defer": (5, "a recipient could not be served now; wait_s seconds until the next try"),
    "bounce": (5, "a recipient can never be served; the sender is told if there is one"),
    "delayed": (6, "the sender was told that the message is late"),
    "receipt": (6, "the sender is told that a recipient has the message, as he has asked for"),
    "park": (5, "a destination does not answer: its mail waits as a whole"),
    "unpark": (5, "a destination answers again: its mail goes on"),
    "hold": (5, "a message was set aside in hold/ until the admin decides"),
    "corrupt": (3, "a queue file is damaged; it was set aside in corrupt/ and never acknowledged, or an admin must look"),
    "done": (6, "no recipient is left; the message has gone from the queue"),
    "tidy": (6, "something a crash left behind was removed or finished"),
    "trace": (5, "what a client says is written down, because the admin made a directory for it"),
    "expunge": (6, "messages were removed from a mailbox"),
    "config": (4, "a setting, alias or user line is wrong; the rest of the file is in force"),
    "trouble": (3, "the system refused something: disk full, permission, limit"),
    "bug": (2, "something that should not happen; the message is kept"),
}

_TOGETHER_OCTETS = 4096                                 # what a pipe takes in one piece (PIPE_BUF)

_journal = "JOURNAL_STREAM" in os.environ
_gathered: list[bytes] | None = None                    # lines that wait for the end of a `together`
_gathered_octets = 0
program = "pymta"


def _escape(value: object) -> str:
    if type(value) is int:
        return str(value)
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, (bytes, bytearray)) else str(value)
    if text and text.isascii() and text.isprintable() and " " not in text and '"' not in text:
        return text
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = "".join(c if c.isprintable() and c not in '"\\' else _control(c) for c in text)
    return f'"{out}"'


def _control(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char.encode("utf-8", "surrogateescape").decode("latin-1").encode("unicode_escape").decode("ascii")


def line(word: str, **values: object) -> str:
    """The text of one event, without priority and newline.  A value of None is left out; `from_` stands for from."""
    parts = [word]
    for key, value in values.items():
        if value is not None:
            parts.append(f"{key.rstrip('_')}={_escape(value)}")
    return " ".join(parts)


def event(word: str, **values: object) -> None:
    """Write one event.  word must be in EVENTS."""
    priority = EVENTS[word][0]
    head = f"<{priority}>" if _journal else f"{program}: "
    data = f"{head}{line(word, **values)}\n".encode("utf-8", "backslashreplace")
    if _gathered is None:
        _write(data)
        return
    global _gathered_octets
    if _gathered_octets + len(data) > _TOGETHER_OCTETS:
        _write_gathered()
    _gathered.append(data)
    _gathered_octets += len(data)


class together:
    """`with log.together():` the events of a piece of work go out with few writes, in order, at its end at the latest.  For work that
    is over in milliseconds: until then only this process knows them.  Not for threads, not to be nested, no fork within."""

    def __enter__(self) -> None:
        global _gathered, _gathered_octets
        _gathered, _gathered_octets = [], 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        global _gathered
        _write_gathered()
        _gathered = None


def _write_gathered() -> None:
    global _gathered_octets
    if _gathered:
        _write(b"".join(_gathered))
        _gathered.clear()
    _gathered_octets = 0


def to_syslog() -> None:
    """From here on write to the syslog daemon, as facility mail: for a daemon in the background."""
    global _journal, _write
    _journal, _write = True, _write_syslog              # lines with their priority, as the journal wants them


_FACILITY = 2 << 3                                      # mail


def _write_syslog(data: bytes) -> None:
    """RFC 3164 §4.1.  A socket each time: that of syslog(3) is closed by a child that closes what it does not know, and then syslog(3) takes
    the next one that bears its number for its own."""
    import socket
    import time
    head = f"{time.strftime('%b %e %H:%M:%S')} {program}[{os.getpid()}]: ".encode("ascii")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect("/dev/log")
            for line in data.splitlines():
                sock.send(b"<%d>%b%b" % (_FACILITY | int(line[1:2]), head, line[3:]), socket.MSG_DONTWAIT)
    except OSError:
        pass


def _write_standard_error(data: bytes) -> None:
    try:
        os.write(2, data)
    except OSError:
        pass                                            # a full or closed log must not stop the mail


_write = _write_standard_error


def bug(where: str, error: BaseException) -> None:
    """Log a surprise with its traceback on one line."""
    import traceback
    event("bug", where=where, error=repr(error), trace=" | ".join("".join(traceback.format_exception(error)).split("\n")))


def start(name: str) -> None:
    """Name the program whose lines these are."""
    global program
    program = name
    sys.excepthook = lambda kind, error, trace: bug("main", error)
