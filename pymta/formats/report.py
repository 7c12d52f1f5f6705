"""report: what became of an attempt, told to pymta-qrun.                                  pymta-queue(5)

    file  = *(line LF)
    line  = name SP attempt SP recipient SP word SP status SP destination SP text
    word  = "delivered" / "deferred" / "failed" / "hold" / "corrupt"      ; of a recipient (for corrupt: "-")
          / "relayed"                                                     ; delivered, and the sender is to be told: RFC 3461 §5.2.2
          / "up" / "down"                                                 ; of a destination (name, attempt, recipient: "-")

    1ga4gc1sg00c0td.remote 2 0 deferred 4.4.1 mx.b.example no host answers: connection refused

text is for people; what another host said is "HOST[IP] said: " and its reply: `reply` takes them apart again.

Written by pymta-local and pymta-remote only where there is something to say: what was delivered to everybody, and of which nobody
wants to hear, has simply left todo/.  Read and removed by pymta-qrun.  If lost: the attempt is made again (pymta-local knows from its markers what it has
delivered).  A line that cannot be read is skipped.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pymta import clock, durable
from pymta.formats import queuefile

RECIPIENT_WORDS = frozenset(("delivered", "relayed", "deferred", "failed", "hold", "corrupt"))
WORDS = RECIPIENT_WORDS | {"up", "down"}
_ids = queuefile.Ids()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line.  name: of the queue file, "-" for a destination's own line; attempt: from 1; recipient: its number, or -1;
    status: enhanced code or "-"; destination: its key, or "-"; text: one line, made printable ASCII."""

    name: str
    attempt: int
    recipient: int
    word: str
    status: str
    destination: str
    text: str


def encode(entries: Iterable[Entry]) -> bytes:
    out = []
    for entry in entries:
        text = "".join(c if 32 <= ord(c) < 127 else "?" for c in " ".join(entry.text.split()))[:500]
        fields = (entry.name or "-", str(entry.attempt), str(entry.recipient), entry.word, entry.status or "-", entry.destination or "-")
        if any(" " in field or not field.isascii() or not field.isprintable() for field in fields):
            raise ValueError(f"not a report field: {fields!r}")
        out.append(" ".join(fields) + " " + text + "\n")
    return "".join(out).encode("ascii")


def decode(data: bytes) -> list[Entry]:
    entries = []
    for line in data.decode("ascii", "replace").split("\n")[:-1]:
        fields = line.split(" ", 6)
        try:
            name, attempt, recipient, word, status, destination, text = fields
            if word in WORDS:
                entries.append(Entry(name, int(attempt), int(recipient), word, status, destination, text))
        except ValueError:
            continue
    return entries


_REPLY = re.compile(r"(\S{1,255})\[([0-9A-Fa-f.:]+)\]( said)?: (.*)", re.DOTALL)


def reply(text: str) -> tuple[str, str, bool]:
    """(host, the rest, whether that is the host's own reply) of a text; ("", text, False) where no host is named."""
    found = _REPLY.fullmatch(text)
    return (found[1], found[4], bool(found[3])) if found else ("", text, False)


def write(spool: str, writer: str, entries: list[Entry], *, sync: bool = False) -> str:
    """Put a report into SPOOL/report/WRITER/new; its path.  sync: durable on return (a local delivery's markers depend on it)."""
    name = _ids.new(clock.now())
    directory = os.path.join(spool, "report", writer)
    durable.create(f"{directory}/tmp/{name}", encode(entries), 0o640, sync=sync, exact=True)
    try:
        durable.rename(f"{directory}/tmp/{name}", f"{directory}/new/{name}")
    except OSError:
        durable.unlink_if_there(f"{directory}/tmp/{name}")
        raise
    if sync:
        durable.sync_dir(f"{directory}/new")
    return f"{directory}/new/{name}"


def tidy(spool: str, writer: str) -> None:
    """Remove what a crash of the writer has left in its tmp/: call it when no other of that program is at work."""
    top = os.path.join(spool, "report", writer, "tmp")
    for name in os.listdir(top):
        durable.unlink_if_there(os.path.join(top, name))
