"""An IMAP client that believes every word it is told, and says where two of them cannot both be true.    RFC 3501 §5.2, §7.4, RFC 7162

    truth = Truth()                                     # one for all clients of a user
    client = Client(port, "ann", "pw", truth, own="$ann1")
    client.select("INBOX")
    client.command(b"UID STORE 5 +FLAGS.SILENT (\\Seen)")
    client.slots                                        # what it believes: UID, flags and mod-sequence of every number

What cannot be true is a Lie.  Nobody but this client sets or clears its own keyword: it knows what each message must have of it.
"""
from __future__ import annotations

import hashlib
import os
import re
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass

HEARD = int(os.environ.get("PYMTA_HEARD", "60"))        # lines that are shown with a lie
NO_EXPUNGE = (b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD")        # RFC 3501 §7.4.1
GONE_BYE = b"The mailbox that was selected is gone"
_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_UID, _FLAGS, _MODSEQ = re.compile(rb"UID (\d+)"), re.compile(rb"FLAGS \(([^)]*)\)"), re.compile(rb"MODSEQ \((\d+)\)")
_CODE = re.compile(rb"\[([A-Z]+)(?: ([^\]]*))?\]")
Key = tuple[int, int]                                   # UIDVALIDITY, UID


class Lie(AssertionError):
    """Two things a server said that cannot both be true."""


class Gone(Exception):
    """The server ended the session because its mailbox has gone, as it may."""


@dataclass(slots=True)
class Slot:
    uid: int = 0                                        # 0: not told yet
    flags: frozenset[bytes] | None = None               # without \Recent
    modseq: int = 0


@dataclass
class Reply:
    kind: bytes
    text: bytes
    lines: list[tuple[bytes, list[bytes]]]              # untagged: the text, and its literals

    def code(self, name: bytes) -> bytes | None:
        for text in (self.text, *(line for line, _ in self.lines if line.startswith(b"* OK"))):
            found = _CODE.search(text)
            if found and found[1] == name:
                return found[2] or b""
        return None


class Truth:
    """What must be the same for everybody: the content behind a (UIDVALIDITY, UID)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contents: dict[Key, bytes] = {}

    def read(self, key: Key, content: bytes) -> None:
        digest = hashlib.sha1(content).digest()
        with self._lock:
            if self._contents.setdefault(key, digest) != digest:
                raise Lie(f"message {key} has another content than before")

    def copied(self, old: Key, new: Key) -> None:
        with self._lock:
            if old in self._contents and self._contents.setdefault(new, self._contents[old]) != self._contents[old]:
                raise Lie(f"message {new} is no copy of {old}")


class Client:
    """own: the keyword that is this client's alone; qresync: say ENABLE QRESYNC."""

    def __init__(self, port: int, user: str, password: str, truth: Truth, own: bytes, *, qresync: bool = False) -> None:
        self.truth, self.own_keyword, self.qresync = truth, own, qresync
        self.own: dict[Key, set[bool]] = {}             # what each message may have of our keyword
        self.kept: dict[str, tuple[int, int, list[Slot]]] = {}      # mailbox -> UIDVALIDITY, HIGHESTMODSEQ, slots as they were left
        self.heard: deque[bytes] = deque(maxlen=HEARD)
        self.tag = 0
        self._door = port, user, password
        self.connect()

    def connect(self) -> None:
        port, user, password = self._door
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._buffer = bytearray()
        self._running: tuple[bytes, bool] | None = None
        self.mailbox, self.slots, self.uidvalidity, self.highest, self.read_only = "", [], 0, 0, False
        self._earlier: dict[int, Slot] = {}
        self._line()
        assert self.command(b"LOGIN %b %b" % (user.encode(), password.encode())).kind == b"OK"
        if self.qresync:
            assert self.command(b"ENABLE QRESYNC").kind == b"OK"

    def lie(self, why: str) -> None:
        raise Lie(f"{why}\n{self.story()}")

    def story(self) -> str:
        return "\n".join(line.decode("latin-1").rstrip() for line in self.heard)

    # ---- the wire -----------------------------------------------------------------------------------------------------
    def _more(self) -> None:
        data = self.sock.recv(1 << 16)
        if not data:
            self.lie("the connection has ended")
        self._buffer += data

    def _line(self) -> tuple[bytes, list[bytes]]:
        """One line whole: its text with {n} where literals stood, and these."""
        text, literals = b"", []
        while True:
            while (end := self._buffer.find(b"\r\n")) < 0:
                self._more()
            text += self._buffer[:end + 2]
            del self._buffer[:end + 2]
            found = _LITERAL.search(text)
            if not found:
                break
            while len(self._buffer) < int(found[1]):
                self._more()
            literals.append(bytes(self._buffer[:int(found[1])]))
            del self._buffer[:int(found[1])]
        self.heard.append(b"S: " + text)
        return text[:-2], literals

    def _send(self, data: bytes) -> None:
        self.heard.append(b"%b C: %b" % (b"%.3f" % (time.monotonic() % 1000), data))
        self.sock.sendall(data)

    def command(self, text: bytes) -> Reply:
        """Say it and hear everything up to the tagged reply.  Raises Lie (also for BAD) and Gone."""
        self.tag += 1
        tag = b"t%d" % self.tag
        words = text.upper().split(b" ", 2)
        uid = words[0] == b"UID"
        self._running = words[1] if uid else words[0], uid
        try:
            self._send(tag + b" " + text + b"\r\n")
        except OSError:
            pass                                        # what it said before it hung up is still to be heard
        lines = []
        while True:
            line, literals_heard = self._line()
            if line.startswith(tag + b" "):
                break
            lines.append((line, literals_heard))
            self._hear(line, literals_heard)
        may_vanish = self._running[1] or self._running[0] not in NO_EXPUNGE
        self._running = None
        kind, _, rest = line[len(tag) + 1:].partition(b" ")
        if kind == b"BAD":
            self.lie(f"BAD in answer to {text!r}")
        reply = Reply(kind, rest, lines)
        if may_vanish and self.mailbox:                 # all up to here has been told
            self.highest = max([self.highest, int(reply.code(b"HIGHESTMODSEQ") or 0), *(slot.modseq for slot in self.slots)])
        return reply

    def idle(self, seconds: float) -> None:
        self.tag += 1
        tag = b"t%d" % self.tag
        self._running = b"IDLE", False
        self._send(tag + b" IDLE\r\n")
        end, over = time.monotonic() + seconds, False
        while True:
            if not over and time.monotonic() >= end:
                over = True
                self._send(b"DONE\r\n")
            if over or b"\r\n" in self._buffer or select.select([self.sock], [], [], max(0.0, end - time.monotonic()))[0]:
                line, literals = self._line()
                if line.startswith(tag):
                    break
                self._hear(line, literals)
        self._running = None

    # ---- what is told -------------------------------------------------------------------------------------------------
    def _hear(self, line: bytes, literals: list[bytes]) -> None:
        words = line.split(b" ", 3)
        if line.startswith(b"+") or words[0] != b"*":
            return
        if words[1] == b"BYE" and GONE_BYE in line:
            raise Gone
        if words[1] == b"BYE" and self._running != (b"LOGOUT", False):
            self.lie(f"{line!r}")
        if words[1].isdigit():
            number = int(words[1])
            if words[2] == b"EXISTS":
                if number < len(self.slots):
                    self.lie(f"{number} EXISTS after {len(self.slots)}")
                self.slots += [Slot() for _ in range(number - len(self.slots))]
            elif words[2] == b"EXPUNGE":
                self._may_vanish(line)
                if self.qresync:
                    self.lie("EXPUNGE after ENABLE QRESYNC")
                if not 1 <= number <= len(self.slots):
                    self.lie(f"{number} EXPUNGE of {len(self.slots)}")
                del self.slots[number - 1]
            elif words[2] == b"FETCH":
                if not 1 <= number <= len(self.slots):
                    self.lie(f"{number} FETCH of {len(self.slots)}")
                self._fetched(number - 1, words[3], literals)
        elif words[1] == b"VANISHED":
            self._vanished(line, words)
        elif words[1] == b"OK" and self._running and self._running[0] in (b"SELECT", b"EXAMINE") and (found := _CODE.search(line)):
            if found[1] == b"CLOSED":
                self.slots = []
            elif found[1] == b"UIDVALIDITY":
                self.uidvalidity = int(found[2])
                if self.mailbox in self.kept and self.kept[self.mailbox][0] == self.uidvalidity:
                    self._take_up(self.kept[self.mailbox][2])
            elif found[1] == b"HIGHESTMODSEQ":
                self.highest = int(found[2])

    def _take_up(self, slots: list[Slot]) -> None:
        """Numbers are made when all that has vanished is known; until then only UIDs count."""
        self._earlier = {slot.uid: slot for slot in slots}

    def _may_vanish(self, line: bytes) -> None:
        if self._running is None or (self._running[0] in NO_EXPUNGE and not self._running[1]):
            self.lie(f"{line!r} in answer to {self._running}")

    def _vanished(self, line: bytes, words: list[bytes]) -> None:
        if not self.qresync:
            self.lie("VANISHED without ENABLE QRESYNC")
        earlier = words[2] == b"(EARLIER)"
        uids = {uid for part in words[-1].split(b",") for first, _, last in [part.partition(b":")]
                for uid in range(int(first), int(last or first) + 1)}
        if earlier:
            for uid in uids:
                self._earlier.pop(uid, None)
            if uids & {slot.uid for slot in self.slots}:
                self.lie("VANISHED (EARLIER) of what has a number")
            return
        self._may_vanish(line)
        for uid in sorted(uids):
            self._earlier.pop(uid, None)                # also in answer to SELECT: it went just now
            at = next((at for at, slot in enumerate(self.slots) if slot.uid >= uid), len(self.slots))
            if at < len(self.slots) and self.slots[at].uid == uid:
                del self.slots[at]
            elif at and not self.slots[at - 1].uid:     # one whose UID we were not told
                del self.slots[at - 1]
            else:
                self.lie(f"VANISHED {uid}, which we do not have")

    def _fetched(self, at: int, text: bytes, literals: list[bytes]) -> None:
        slot = self.slots[at]
        if found := _UID.search(text):
            uid = int(found[1])
            if slot.uid not in (0, uid):
                self.lie(f"number {at + 1} is UID {uid}, and was {slot.uid}")
            below = max((one.uid for one in self.slots[:at]), default=0)
            above = min((one.uid for one in self.slots[at + 1:] if one.uid), default=1 << 32)
            if not below < uid < above:
                self.lie(f"number {at + 1} is UID {uid}, between {below} and {above}")
            slot.uid = uid
        elif self._unasked and self.qresync and b"FLAGS (" in text:
            self.lie("FETCH FLAGS without UID after ENABLE QRESYNC")
        if found := _FLAGS.search(text):
            slot.flags = frozenset(found[1].split()) - {b"\\Recent"}
            if slot.uid:
                self._check_own(slot)
        if found := _MODSEQ.search(text):
            if int(found[1]) < slot.modseq:
                self.lie(f"MODSEQ {int(found[1])} of UID {slot.uid} after {slot.modseq}")
            slot.modseq = int(found[1])
        elif self._unasked and self.qresync and b"FLAGS (" in text:
            self.lie("FETCH FLAGS without MODSEQ after ENABLE QRESYNC")
        if b"BODY[] {" in text and slot.uid:
            self.truth.read((self.uidvalidity, slot.uid), literals[-1])

    @property
    def _unasked(self) -> bool:
        """Whether what is told now is no answer to a FETCH, which says what it wants."""
        return self._running is None or self._running[0] != b"FETCH"

    def _check_own(self, slot: Slot) -> None:
        key, has = (self.uidvalidity, slot.uid), self.own_keyword in (slot.flags or ())
        may = self.own.setdefault(key, {has})
        if has not in may:
            self.lie(f"{self.mailbox} {key}: {self.own_keyword!r} is {'set' if has else 'not set'} and nobody did that")

    # ---- what a client does -------------------------------------------------------------------------------------------
    def select(self, name: str, *, examine: bool = False) -> Reply:
        """What was known of a mailbox is taken up by QRESYNC."""
        self.leave()
        self.mailbox, self.slots, self._earlier, self.read_only = name, [], {}, examine
        text = b"%b %b" % (b"EXAMINE" if examine else b"SELECT", name.encode())
        known = self.kept.get(name) if self.qresync else None
        if known:
            text += b" (QRESYNC (%d %d))" % known[:2]
        reply = self.command(text)
        if reply.kind != b"OK":
            self.mailbox = ""
            return reply
        if known and known[0] == self.uidvalidity:
            told = {slot.uid: slot for slot in self.slots if slot.uid}
            before = sorted(self._earlier.items())
            if len(before) + sum(uid not in self._earlier for uid in told) > len(self.slots):
                self.lie(f"{len(self.slots)} messages, but of those known {len(before)} are left and {sorted(told)} were told")
            for (uid, slot), now in zip(before, self.slots):            # those that we knew stand in front of all others
                if now.uid not in (0, uid):
                    self.lie(f"UID {now.uid} where {uid} must be")
                if not now.uid:
                    now.uid, now.flags, now.modseq = slot.uid, slot.flags, slot.modseq
        self._resolve()
        return reply

    def leave(self) -> None:
        """Keep what we know, as of the last point at which everything was told."""
        if self.mailbox and self.qresync and all(slot.uid and slot.flags is not None for slot in self.slots):
            self.kept[self.mailbox] = self.uidvalidity, self.highest, [Slot(one.uid, one.flags, one.modseq) for one in self.slots]
        self.mailbox, self.slots = "", []

    def _resolve(self) -> None:
        """Ask for the UIDs and flags that were not told."""
        for _ in range(20):
            at = next((at for at, slot in enumerate(self.slots) if not slot.uid or slot.flags is None), None)
            if at is None:
                return
            first = self.slots[at].uid or (self.slots[at - 1].uid if at else 0) + 1
            self.command(b"UID FETCH %d:* (FLAGS%b)" % (first, b" MODSEQ" if self.qresync else b""))
        self.lie("some UIDs are never told")

    def catch_up(self) -> None:
        """Come to a point where everything has been told."""
        self.command(b"NOOP")
        self._resolve()

    def uids(self) -> list[int]:
        return [slot.uid for slot in self.slots if slot.uid]

    def store(self, numbers: list[int], sign: bytes, flags: list[bytes], *, uid: bool, silent: bool = False, since: int | None = None) -> Reply:
        """numbers: positions in slots whose UIDs are known.  sign: "+", "-" or "" """
        slots = [self.slots[number] for number in numbers]
        keys = [(self.uidvalidity, slot.uid) for slot in slots]
        before = [self.own.get(key, {True, False}) for key in keys]
        wanted = self.own_keyword in flags if sign == b"" else None if self.own_keyword not in flags else sign == b"+"
        if wanted is not None:
            self.own.update((key, may | {wanted}) for key, may in zip(keys, before))
        text = b"%bSTORE %b %b%bFLAGS%b (%b)" % (
            b"UID " if uid else b"", b",".join([b"%d" % (slot.uid if uid else number + 1) for slot, number in zip(slots, numbers)]),
            b"" if since is None else b"(UNCHANGEDSINCE %d) " % since, sign, b".SILENT" if silent else b"", b" ".join(flags))
        for slot in slots:                              # what is told from now on stands after it
            if silent and slot.flags is not None:
                slot.flags = slot.flags | set(flags) if sign == b"+" else slot.flags - set(flags) if sign == b"-" else frozenset(flags)
        reply = self.command(text)
        modified = numbers_of(reply.code(b"MODIFIED") or b"")
        for number, slot, key, may in zip(numbers, slots, keys, before):
            if reply.kind != b"OK" or (slot.uid if uid else number + 1) in modified:
                slot.flags = None if silent else slot.flags
                if wanted is not None and reply.kind == b"OK":
                    self.own[key] = may
            elif wanted is not None:                    # one that has gone, which may not be said yet, keeps what it had
                self.own[key] = {wanted} if reply.code(b"EXPUNGEISSUED") is None else may | {wanted}
        return reply

    def copy(self, numbers: list[int], target: str, *, uid: bool, move: bool = False) -> Reply:
        slots = [self.slots[number] for number in numbers]
        named = b",".join([b"%d" % (slot.uid if uid else number + 1) for slot, number in zip(slots, numbers)])
        uidvalidity = self.uidvalidity
        reply = self.command(b"%b%b %b %b" % (b"UID " if uid else b"", b"MOVE" if move else b"COPY", named, target.encode()))
        if reply.kind == b"OK" and (code := reply.code(b"COPYUID")):
            there, old, new = code.split(b" ")
            olds, news = numbers_of(old, ordered=True), numbers_of(new, ordered=True)
            if len(olds) != len(news) or not set(olds) <= {slot.uid for slot in slots}:
                self.lie(f"COPYUID {code!r}")
            for one, other in zip(olds, news):
                self.truth.copied((uidvalidity, one), (int(there), other))
                self.own[int(there), other] = set(self.own.get((uidvalidity, one), {True, False}))
        return reply

    def append(self, target: str, messages: list[tuple[list[bytes], bytes]]) -> Reply:
        text = b"APPEND %b" % target.encode()
        for flags, data in messages:
            text += b" (%b) {%d+}\r\n%b" % (b" ".join(flags), len(data), data)
        reply = self.command(text)
        if reply.kind == b"OK":
            uidvalidity, uids = (reply.code(b"APPENDUID") or b"").split(b" ")
            for uid, (flags, data) in zip(numbers_of(uids, ordered=True), messages):
                self.truth.read((int(uidvalidity), uid), data)
                self.own[int(uidvalidity), uid] = {self.own_keyword in flags}
        return reply

    def search_own(self) -> None:
        """SEARCH for our keyword finds what has it, and of that everything but what is about to vanish."""
        before = {slot.uid for slot in self.slots if slot.uid}
        reply = self.command(b"UID SEARCH KEYWORD " + self.own_keyword)
        found = {int(word) for line, _ in reply.lines if line.startswith(b"* SEARCH") for word in line.split()[2:]}
        self.catch_up()
        for uid in before & set(self.uids()):
            if (uid in found) not in self.own.get((self.uidvalidity, uid), {True, False}):
                self.lie(f"SEARCH {'finds' if uid in found else 'does not find'} UID {uid}")


def numbers_of(text: bytes, *, ordered: bool = False) -> list[int]:
    """1:3,5 -> [1, 2, 3, 5]"""
    out = [number for part in text.split(b",") if part for first, _, last in [part.partition(b":")]
           for number in range(int(first), int(last or first) + 1)]
    return out if ordered else sorted(out)
