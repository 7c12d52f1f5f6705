"""trace: what a client and we say to each other, written to a file for the admin.               pymta-imapd(8), pymta-pop3d(8)

    RUN/trace/NAME/                                     ; NAME: an account's address, or a client's; mode 1733
        imap-7  = head *(time SP ("C:" / "S:" / "-") SP text LF)
        literals                                        ; if it is there, messages are written too

The admin makes the directory, and sessions that begin from then on are written; it is removed, and no more are.  It is a drop box: any
process may make a file there, which only its owner and root can read, and nobody may list or remove.  Secrets never get here
(proto/mask); each file ends at FILE_MAX_OCTETS, and there are at most FILES_MAX of a protocol.
A session nobody asked for costs two stats.  Nothing is synced: if lost, it is traced again.
"""
from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import Protocol

from pymta import clock, durable, log

FILE_MAX_OCTETS = 2 << 20
FILES_MAX = 50


class Mask(Protocol):
    def client(self, data: bytes) -> Iterable[bytes]: ...
    def server(self, data: bytes) -> Iterable[bytes]: ...


class Trace:
    """One conversation."""

    def __init__(self, file: durable.File, mask: Mask) -> None:
        self._file, self._mask = file, mask
        self._left_octets = FILE_MAX_OCTETS

    def client(self, data: bytes) -> None:
        self._write(b"C:", self._mask.client(data))

    def server(self, data: bytes) -> None:
        self._write(b"S:", self._mask.server(data))

    def note(self, text: str) -> None:
        self._write(b"-", [text.encode()])

    def close(self) -> None:
        self.note("end")
        self._file.close()

    def _write(self, side: bytes, lines: Iterable[bytes]) -> None:
        shown = list(lines)                             # the mask hears everything, also what finds no room
        if self._left_octets <= 0 or not shown or self._file.fd < 0:
            return
        now = _time().encode("ascii")
        text = b"".join([b"%b %b %b\n" % (now, side, line) for line in shown])
        self._left_octets -= len(text)
        if self._left_octets <= 0:
            text += b"%b - no more is written here\n" % now
        try:
            self._file.write(text)
        except OSError:                                 # no room: the session goes on without
            self._left_octets = 0


def begin(run: str, protocol: str, names: Iterable[str], mask: "type[_MaskOf]", about: str) -> Trace | None:
    """The trace of a session, if a directory asks for it: the first of names that has one.  run: host.run; about: the first line."""
    for name in names:
        directory = os.path.join(run, "trace", name)
        if name and "/" not in name and not name.startswith(".") and os.path.isdir(directory):
            return _open(directory, protocol, mask, about)
    return None


class _MaskOf(Mask, Protocol):
    def __init__(self, *, literals: bool) -> None: ...


def _open(directory: str, protocol: str, mask: type[_MaskOf], about: str) -> Trace | None:
    for number in range(FILES_MAX):
        try:
            file = durable.File(os.path.join(directory, f"{protocol}-{number}"), 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            log.event("trouble", what=f"cannot write a trace in {directory}", why=error.strerror or str(error), remedy="chmod 1733")
            return None
        trace = Trace(file, mask(literals=os.path.exists(os.path.join(directory, "literals"))))
        trace.note(about)
        log.event("trace", file=file.path, what=about)
        return trace
    return None


def _time() -> str:
    return datetime.datetime.fromtimestamp(clock.now(), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
