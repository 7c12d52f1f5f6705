"""queuefile: one message in the queue and what is still owed for it.                       pymta-queue(5)

    file      = envelope message *record
    envelope  = "Return-Path: <" [address] ">" LF 1*recipient seal
    recipient = ("Delivered-To: " / "Pymta-Relay-To: " / "Pymta-To: ") address LF *note
    note      = "Original-Recipient: rfc822;" address LF / "Pymta-" name ": " value LF
    seal      = "Pymta-Queue: 1 " id *(SP key "=" value) " size=" 10DIGIT " lines=" 10DIGIT " crc=" 8HEXDIG LF
    message   = header and body, lines ended by LF, as it will be stored or sent
    record    = 8HEXDIG SP attempt SP time SP recipient SP word SP status SP text LF

    Return-Path: <ann@client.example>
    Delivered-To: alice@example.test
    Pymta-Queue: 1 3kq0x2m9a1bcd7f size=0000000512 lines=0000000014 crc=89abcdef
    Received: from client.example ...

The queue file is the message: the envelope stands on top as trace fields, so a mail for one local recipient is delivered by
renaming this very file into the Maildir.  Delivered-To is a mailbox of this host, Pymta-Relay-To an address elsewhere,
Pymta-To one that nobody has routed yet (drops of pymta-inject only).

size counts envelope and message, lines the LFs in them; crc is the CRC-32 (zlib) of the message followed by the envelope with
eight zeros in the place of crc.  A file shorter than size, or with another crc, is torn: it was never acknowledged.
Records are what has been tried; each begins with the CRC-32 of the rest of its line, started from 1 instead of 0 where the next line
belongs to it: such lines count together or, where one of them is torn, not at all.
recipient is the number of the recipient in the envelope, from 0, or * for the message as a whole.

Written by the program an intake is named after; records only by pymta-qrun.  If lost: the message is lost.
The number after "Pymta-Queue:" is the version; a reader refuses one it does not know.
"""
from __future__ import annotations

import os
from binascii import crc32

VERSION = 1
ENVELOPE_MAX_OCTETS = 8 << 20
LOCAL, REMOTE, UNROUTED = b"Delivered-To", b"Pymta-Relay-To", b"Pymta-To"
_KINDS = (LOCAL, REMOTE, UNROUTED)
_ZEROS = b"00000000"
SHARDS = "0123456789abcdefghijklmnopqrstuv"


class Damaged(ValueError):
    """A queue file that cannot be read; the text says why."""


class Recipient:
    """kind: LOCAL, REMOTE or UNROUTED; address: bytes; notes: further fields as (name, value), bytes, in order."""

    __slots__ = ("kind", "address", "notes")

    def __init__(self, kind: bytes, address: bytes, notes: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.kind = kind
        self.address = address
        self.notes = notes

    @property
    def original(self) -> bytes:
        """The address as the sender wrote it: Original-Recipient's, else this one."""
        for name, value in self.notes:
            if name == b"Original-Recipient":
                return value.partition(b";")[2]
        return self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipient) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return f"Recipient({self.kind!r}, {self.address!r}, {self.notes!r})"

    def key(self) -> tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...]]:
        return self.kind, self.address, self.notes


class Envelope:
    """sender: bytes, empty for the null reverse-path; id: str; facts: the seal's further key=value pairs (str);
    size_octets, lines: of the whole file without records; head_octets: length of the envelope, where the message begins."""

    __slots__ = ("sender", "recipients", "id", "facts", "size_octets", "lines", "crc", "head_octets")

    def __init__(self, sender: bytes, recipients: list[Recipient], id: str, facts: dict[str, str] | None = None,
                 size_octets: int = 0, lines: int = 0, crc: int = 0, head_octets: int = 0) -> None:
        self.sender = sender
        self.recipients = recipients
        self.id = id
        self.facts = facts or {}
        self.size_octets = size_octets
        self.lines = lines
        self.crc = crc
        self.head_octets = head_octets

    def recipient_fields(self) -> bytes:
        return b"".join(b"%s: %s\n%s" % (r.kind, r.address, b"".join(b"%s: %s\n" % note for note in r.notes))
                        for r in self.recipients)


# ---- writing ----------------------------------------------------------------------------------------------------------
def seal(envelope: Envelope, message_octets: int, message_lines: int, message_crc: int) -> bytes:
    """The envelope's bytes for a message of that many octets and LFs, whose CRC-32 is message_crc."""
    fields = b"Return-Path: <%s>\n%s" % (envelope.sender, envelope.recipient_fields())
    facts = "".join(f" {key}={value}" for key, value in envelope.facts.items())
    prefix = b"%sPymta-Queue: %d %s%s" % (fields, VERSION, envelope.id.encode("ascii"), facts.encode("ascii"))
    size = len(prefix) + 47 + message_octets              # 47: what the line below adds
    lines = prefix.count(b"\n") + 1 + message_lines
    head = b"%s size=%010d lines=%010d crc=" % (prefix, size, lines)
    return b"%s%08x\n" % (head, crc32(head + _ZEROS + b"\n", message_crc))


def encode(envelope: Envelope, message: bytes) -> bytes:
    """A whole queue file without records."""
    return seal(envelope, len(message), message.count(b"\n"), crc32(message)) + message


# ---- reading ----------------------------------------------------------------------------------------------------------
def decode(head: bytes) -> Envelope:
    """The envelope at the start of head (which may hold more, and must hold the whole envelope).  Raises Damaged."""
    end = head.find(b"\nPymta-Queue: ")
    stop = head.find(b"\n", end + 1)
    if end < 0 or stop < 0:
        raise Damaged("no envelope")
    fields = head[:end].split(b"\n")
    if not fields[0].startswith(b"Return-Path: <") or not fields[0].endswith(b">"):
        raise Damaged("no Return-Path in the first line")
    recipients: list[Recipient] = []
    for field in fields[1:]:
        name, colon, value = field.partition(b": ")
        if name in _KINDS:
            recipients.append(Recipient(name, value))
        elif colon and recipients and (name == b"Original-Recipient" or name.startswith(b"Pymta-")):
            recipients[-1].notes += ((name, value),)
        else:
            raise Damaged(f"strange field in the envelope: {field[:60]!r}")
    if not recipients:
        raise Damaged("no recipient")
    envelope = Envelope(fields[0][14:-1], recipients, "")
    _decode_seal(head[end + 14:stop], envelope)
    envelope.head_octets = stop + 1
    return envelope


def _decode_seal(value: bytes, envelope: Envelope) -> None:
    try:
        version, envelope.id, *pairs = value.decode("ascii").split(" ")
        facts = dict(pair.split("=", 1) for pair in pairs)
        envelope.size_octets = int(facts.pop("size"))
        envelope.lines = int(facts.pop("lines"))
        envelope.crc = int(facts.pop("crc"), 16)
        envelope.facts = facts
    except (ValueError, KeyError, UnicodeDecodeError):
        raise Damaged(f"the seal cannot be read: {value[:80]!r}") from None
    if version != str(VERSION):
        raise Damaged(f"format version {version}; this program reads {VERSION}")


def read_envelope(fd: int, *, first_octets: int = 4096) -> tuple[Envelope, bytes]:
    """(envelope, the bytes read so far from offset 0) of an open queue file.  Raises Damaged, OSError."""
    head = os.pread(fd, first_octets, 0)
    while b"\nPymta-Queue: " not in head or b"\n" not in head[head.find(b"\nPymta-Queue: ") + 1:]:
        more = os.pread(fd, max(65536, len(head)), len(head))
        if not more or len(head) > ENVELOPE_MAX_OCTETS:
            raise Damaged("the file ends within its envelope" if not more else "the envelope is too long")
        head += more
    return decode(head), head


def is_whole(fd: int) -> bool:
    """Whether an open queue file is all there: length and checksum."""
    try:
        envelope, head = read_envelope(fd)
    except Damaged:
        return False
    if os.fstat(fd).st_size < envelope.size_octets:
        return False
    crc, at, lines = 0, envelope.head_octets, 0
    while at < envelope.size_octets:
        chunk = os.pread(fd, min(1 << 20, envelope.size_octets - at), at)
        if not chunk:
            return False
        crc, at, lines = crc32(chunk, crc), at + len(chunk), lines + chunk.count(b"\n")
    top = head[: envelope.head_octets]
    return crc32(top[:-9] + _ZEROS + b"\n", crc) == envelope.crc and lines + top.count(b"\n") == envelope.lines


# ---- records ----------------------------------------------------------------------------------------------------------
class Record:
    """One line of a message's history.  recipient: number, or None for the whole message; when: seconds since 1970;
    word: one of WORDS; status: enhanced code or "-"; text: one printable line."""

    __slots__ = ("attempt", "when", "recipient", "word", "status", "text")

    def __init__(self, attempt: int, when: int, recipient: int | None, word: str, status: str = "-", text: str = "") -> None:
        self.attempt = attempt
        self.when = when
        self.recipient = recipient
        self.word = word
        self.status = status
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        return "Record(" + ", ".join(repr(getattr(self, name)) for name in self.__slots__) + ")"


# delivered, failed, moved: nothing is owed any more to that recipient; the others are history
FINAL_WORDS = frozenset(("delivered", "failed", "moved"))
WORDS = FINAL_WORDS | {"deferred", "delayed", "probe"}


def encode_record(record: Record, *, more: bool = False) -> bytes:
    """One line.  more: the next one belongs to it."""
    which = "*" if record.recipient is None else str(record.recipient)
    text = " ".join(record.text.split())
    rest = f"{record.attempt} {record.when} {which} {record.word} {record.status} {text}".encode("utf-8", "backslashreplace")
    return b"%08x %s\n" % (crc32(rest, int(more)), rest)


def encode_records(records: list[Record]) -> bytes:
    """Lines that count together or not at all."""
    return b"".join([encode_record(record, more=True) for record in records[:-1]] + list(map(encode_record, records[-1:])))


def decode_records(tail: bytes) -> tuple[list[Record], int]:
    """(records, length of the part of tail that is whole): reading stops at the first damaged line, and what belongs to it is not whole."""
    records: list[Record] = []
    good = at = whole = 0
    for line in tail.split(b"\n")[:-1]:
        crc, _, rest = line.partition(b" ")
        try:
            more = int(crc, 16) == crc32(rest, 1)
            if not more and int(crc, 16) != crc32(rest):
                break
            attempt, when, which, word, status, text = rest.decode("utf-8").split(" ", 5)
            records.append(Record(int(attempt), int(when), None if which == "*" else int(which), word, status, text))
        except ValueError:
            break
        at += len(line) + 1
        if not more:
            good, whole = at, len(records)
    return records[:whole], good


def read_records(fd: int, envelope: Envelope) -> tuple[list[Record], int]:
    """(records of an open queue file, offset where the next one belongs)."""
    size = os.fstat(fd).st_size
    if size <= envelope.size_octets:
        return [], envelope.size_octets
    records, good = decode_records(os.pread(fd, size - envelope.size_octets, envelope.size_octets))
    return records, envelope.size_octets + good


def release(envelope: Envelope) -> float:
    """The fact release=: before when its sender does not want it sent, seconds since 1970; 0.0 without one."""
    value = envelope.facts.get("release", "")
    return float(value) if value.isdigit() and value.isascii() and len(value) < 12 else 0.0


def owed(envelope: Envelope, records: list[Record]) -> list[int]:
    """Numbers of the recipients that are neither delivered nor failed nor moved."""
    final = {record.recipient for record in records if record.word in FINAL_WORDS}
    return [number for number in range(len(envelope.recipients)) if number not in final]


def attempts(records: list[Record]) -> int:
    """How many attempts have been recorded."""
    return max((record.attempt for record in records), default=0)


# ---- ids --------------------------------------------------------------------------------------------------------------
class Ids:
    """Makes queue ids: 11 characters of time (microseconds since 1970, base 32, so that names sort by age) and 4 that no
    other process of this host draws at the same microsecond."""

    def __init__(self) -> None:
        self._last_us = 0
        self._pid = -1
        self._tag = ""

    def new(self, now: float) -> str:
        """A new id; now is the time in seconds since 1970."""
        if os.getpid() != self._pid:                    # also after a fork
            self._pid = os.getpid()
            self._tag = _base32(int.from_bytes(os.urandom(3), "big") & 0xFFFFF, 4)
        self._last_us = max(int(now * 1e6), self._last_us + 1)
        return _base32(self._last_us, 11) + self._tag


def birth(id: str) -> float:
    """When a message with this id was accepted: seconds since 1970.  Raises ValueError for what is not an id."""
    digits = id[:11]
    if not digits.isascii() or not digits.isalnum() or digits != digits.lower():     # int() would take more than _base32 writes
        raise ValueError(f"not an id: {digits}")
    return int(digits, 32) / 1e6


def maker(id: str) -> str:
    """What all ids of one process have in common, and those of no other process that runs."""
    return id[11:15]


def shard(id: str) -> str:
    """The subdirectory of tmp/ in which a file with this id (or a name that begins with it) is made: it changes every second.
    layout.py says why."""
    return id[6]


def _base32(value: int, width: int) -> str:
    out = ""
    for _ in range(width):
        out = SHARDS[value & 31] + out
        value >>= 5
    return out
