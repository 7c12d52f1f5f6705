"""uidlist: which UID names which file of one Maildir (dovecot-uidlist, version 3).          pymta-uidlist(5)

    file   = "3" *(SP key value) LF *entry              ; V UIDVALIDITY, N next UID, G mailbox GUID, M see changes; others kept
    entry  = uid *(SP key value) SP ":" base LF         ; base: the Maildir name up to ":2,"   RFC 9051 §2.3.1.1

    3 V1795451104 N4 G51f45402de68046b364e000083ecc375
    1 :1795451102.M44310P20022.mail,S=8,W=10
    3 W1880 :1795451190.M1P7.mail

Keys of an entry are one capital: S size, W size with CRLF, P POP3 UIDL, O POP3 order, G GUID; K holds keywords for which the
folder has no letter left, parted by backslashes (ours).  Dovecot keeps keys it does not know, and so do we.
Version 1 (`1 UIDVALIDITY NEXTUID`, then `uid base`; also Courier's courierimapuiddb) is read, and written as version 3.

Writers: pymta-imapd, pymta-pop3d and Dovecot, holding dovecot-uidlist.lock.  Readers need no lock.
Appended to, or replaced whole: a reader sees the old file or the new, never part of one.  UIDs ascend.  N may lag: the next
UID is the larger of N and the last UID plus one.
A damaged line is set aside: its file gets a new UID, above every number seen.  A damaged header: a new UIDVALIDITY.
If lost: UIDVALIDITY rises and clients fetch again.  No mail is lost.
"""
from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from operator import lt

from pymta import durable

NAME = b"dovecot-uidlist"
COURIER_NAME = b"courierimapuiddb"
UID_MAX = 0xFFFFFFFF

_HEADER_KEY = re.compile(rb"[!-~][^\s]*")
_ENTRY_KEYS = re.compile(rb"[A-Z][^ \n]*(?: [A-Z][^ \n]*)*")


@dataclass
class Uidlist:
    """uids: base -> UID, ascending; keys: UID -> its keys as they stand (b"S12 W14"), where it has any; more: header keys
    other than V, N and G, as they stand.  seen: the highest UID met in any line, damaged ones too.
    complaints: (line number, reason) of lines set aside."""

    uidvalidity: int
    nextuid: int = 1
    guid: bytes = b""
    more: list[bytes] = field(default_factory=list)
    uids: dict[bytes, int] = field(default_factory=dict)
    keys: dict[int, bytes] = field(default_factory=dict)
    seen: int = 0
    complaints: list[tuple[int, str]] = field(default_factory=list)
    version: int = 3

    @property
    def next(self) -> int:
        return max(self.nextuid, self.seen + 1)


class Damaged(ValueError):
    """The header cannot be read; the text says why."""


# ---- pure -------------------------------------------------------------------------------------------------------------
def decode(data: bytes) -> Uidlist:
    """A whole file.  Raises Damaged if the header cannot be read; bad lines become complaints."""
    header, newline, body = data.partition(b"\n")
    uidlist = _decode_header(header.rstrip(b"\r"), bool(newline))
    decode_entries(body, uidlist, first_line=2)
    return uidlist


def _decode_header(header: bytes, whole: bool) -> Uidlist:
    words = header.split(b" ")
    if not whole:
        raise Damaged("the header has no end")
    if words[0] == b"1" and len(words) == 3 and words[1].isdigit() and words[2].isdigit():
        return _checked(Uidlist(int(words[1]), int(words[2]), version=1))
    if words[0] != b"3":
        raise Damaged(f"version {words[0][:20]!r}; this program reads 3 and 1")
    uidlist = Uidlist(0)
    for word in words[1:]:
        key, value = word[:1], word[1:]
        if key == b"V" and value.isdigit():
            uidlist.uidvalidity = int(value)
        elif key == b"N" and value.isdigit():
            uidlist.nextuid = int(value)
        elif key == b"G" and len(value) == 32 and not uidlist.guid:
            uidlist.guid = value
        elif _HEADER_KEY.fullmatch(word) and key not in b"VN":
            uidlist.more.append(word)
        elif word:
            raise Damaged(f"strange word in the header: {word[:40]!r}")
    return _checked(uidlist)


def _checked(uidlist: Uidlist) -> Uidlist:
    if not 0 < uidlist.uidvalidity <= UID_MAX or not 0 < uidlist.nextuid <= UID_MAX:
        raise Damaged("no UIDVALIDITY, or numbers out of range")
    return uidlist


def decode_entries(body: bytes, uidlist: Uidlist, first_line: int) -> None:
    """Add the entries of body (whole lines; a last one without LF is damaged) to uidlist."""
    if uidlist.version == 3 and _decode_plain(body, uidlist):
        return
    lines = body.split(b"\n")
    tail = lines.pop()
    uids, keys, last, complaints = uidlist.uids, uidlist.keys, uidlist.seen, uidlist.complaints
    late: list[tuple[int, int, bytes, bytes]] = []
    mark = b" " if uidlist.version == 1 else b" :"
    for number, line in enumerate(lines, first_line):
        head, found, base = line.partition(mark)
        extra = b""
        if not head.isdigit() and found:
            head, _, extra = head.partition(b" ")
        if b":" in base or base[-1:] == b"\r":
            base = base.rstrip(b"\r").partition(b":")[0]
        if not base or not head.isdigit() or len(head) > 10 or b"/" in base or extra and not _ENTRY_KEYS.fullmatch(extra):
            complaints.append((number, "not an entry"))
            last = max(last, _number(line, max(last, uidlist.nextuid)))
            continue
        uid = int(head)
        if last < uid <= UID_MAX and base not in uids:
            uids[base] = last = uid
            if extra:
                keys[uid] = extra
        else:
            late.append((number, uid, base, extra))
    if tail:
        complaints.append((first_line + len(lines), "the line has no end"))
        last = max(last, _number(tail, max(last, uidlist.nextuid)))
    uidlist.seen = last
    if late:
        _salvage(late, uidlist)


def _decode_plain(body: bytes, uidlist: Uidlist) -> bool:
    """The same, four times faster, where every line is `uid :base` and nothing is wrong; False (and nothing done) elsewhere."""
    count = body.count(b"\n")
    if body.count(b" :") != count or body.count(b":") != count or b"/" in body or b"\r" in body or body[-1:] not in b"\n":
        return False
    parts = body.replace(b" :", b"\n").split(b"\n")
    heads, bases = parts[0:-1:2], parts[1::2]
    if not all(map(bytes.isdigit, heads)) or b"" in bases:
        return False
    numbers = list(map(int, heads))
    given = dict(zip(bases, numbers))
    if numbers and (numbers[0] <= uidlist.seen or numbers[-1] > UID_MAX or not all(map(lt, numbers, numbers[1:]))) \
            or len(given) != count or not uidlist.uids.keys().isdisjoint(given):
        return False
    uidlist.uids.update(given)
    uidlist.seen = max(uidlist.seen, numbers[-1] if numbers else 0)
    return True


def _number(line: bytes, about: int) -> int:
    """The UID a damaged line may have given away; 0 if it holds none, or one so far off that it is part of the damage."""
    digits = re.match(rb"\d{1,10}(?!\d)", line)
    return int(digits[0]) if digits and int(digits[0]) < min(about + 1_000_000, UID_MAX) else 0


def _salvage(late: list[tuple[int, int, bytes, bytes]], uidlist: Uidlist) -> None:
    """Lines out of order: one that contradicts no other line keeps its UID; all that contradict each other lose theirs."""
    uids, keys = uidlist.uids, uidlist.keys
    by_uid = {uid: base for base, uid in uids.items()}
    bad_uids, bad_bases = set(), set()
    for number, uid, base, extra in late:
        if uids.get(base) == uid:
            uidlist.complaints.append((number, "stands there twice"))
        elif not 0 < uid <= UID_MAX:
            uidlist.complaints.append((number, "a UID out of range"))
        elif base in uids or uid in by_uid or uid in bad_uids or base in bad_bases:
            uidlist.complaints.append((number, "contradicts another line: one UID for two files, or two for one"))
            bad_uids |= {uid, uids.get(base, uid)}
            bad_bases |= {base, by_uid.get(uid, base)}
        else:
            uidlist.complaints.append((number, "out of order"))
            uids[base], by_uid[uid] = uid, base
            if extra:
                keys[uid] = extra
        uidlist.seen = max(uidlist.seen, uid if uid <= UID_MAX else 0)
    for base in [base for base, uid in uids.items() if base in bad_bases or uid in bad_uids]:
        keys.pop(uids.pop(base), None)
    uidlist.uids = dict(sorted(uids.items(), key=lambda item: item[1]))


def encode(uidlist: Uidlist) -> bytes:
    """The whole file, in version 3."""
    header = [b"3 V%d N%d" % (uidlist.uidvalidity, uidlist.next)]
    if uidlist.guid:
        header.append(b"G" + uidlist.guid)
    return b" ".join(header + uidlist.more) + b"\n" + encode_entries(uidlist.uids, uidlist.keys)


def encode_entries(uids: dict[bytes, int], keys: dict[int, bytes]) -> bytes:
    if not keys:
        return b"".join([b"%d :%s\n" % (uid, base) for base, uid in uids.items()])
    return b"".join([b"%d %s :%s\n" % (uid, keys[uid], base) if uid in keys else b"%d :%s\n" % (uid, base)
                     for base, uid in uids.items()])


def key_of(keys: bytes, letter: bytes) -> bytes | None:
    """The value of one key of an entry."""
    for word in keys.split(b" "):
        if word[:1] == letter:
            return word[1:]
    return None


def with_key(keys: bytes, letter: bytes, value: bytes | None) -> bytes:
    """The keys with this one set to value, or without it; the others are kept."""
    words = [word for word in keys.split(b" ") if word and word[:1] != letter]
    if value is not None:
        words.append(letter + value)
    return b" ".join(words)


def new_guid() -> bytes:
    """32 hex digits."""
    return secrets.token_hex(16).encode()


# ---- on disk ----------------------------------------------------------------------------------------------------------
class UidlistFile:
    """The file of one directory.  `refresh` reads what others wrote; `append` and `rewrite` want the lock held and a
    refresh within it.  The descriptor stays open, so that the inode number cannot come back under another file."""

    def __init__(self, directory: bytes) -> None:
        self.directory = directory
        self.path = os.path.join(directory, NAME)
        self.list: Uidlist | None = None
        self._fd = -1
        self._offset = 0
        self._torn = False

    def refresh(self) -> str:
        """Read what is new.  Returns "same", "grown" (entries were added), "other" (another file: everything may differ) or
        "none" (no file, or one whose header cannot be read: `list` is None)."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self.close()
            return "none"
        if self._fd >= 0 and self.list is not None and os.path.samestat(os.fstat(self._fd), status) \
                and status.st_size >= self._offset:
            return self._grown(status.st_size)
        return self._load()

    def _grown(self, size: int) -> str:
        if size == self._offset:
            self._torn = False
            return "same"
        data = os.pread(self._fd, size - self._offset, self._offset)
        end = data.rfind(b"\n") + 1
        self._torn = end < len(data)
        if not end:
            return "same"
        assert self.list is not None
        decode_entries(data[:end], self.list, first_line=len(self.list.uids) + 2)
        self._offset += end
        return "grown"

    def _load(self) -> str:
        self.close()
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return "none"
        data = _read_all(self._fd)
        end = data.rfind(b"\n") + 1                     # what follows is being written this moment, or was torn by a crash
        self._torn = end < len(data)
        try:
            self.list = decode(data[:end])
        except Damaged:
            self.close()
            return "none"
        self._offset = end
        return "other"

    def why_unreadable(self) -> str | None:
        """Why `list` is None although there is a file."""
        try:
            with open(self.path, "rb") as file:
                decode(file.readline(1 << 16))
        except FileNotFoundError:
            return None
        except Damaged as error:
            return str(error)
        return None

    def append(self, bases: list[bytes], keys: dict[bytes, bytes] | None = None, *, sync: bool = True) -> dict[bytes, int]:
        """Give the next UIDs to bases, in their order; durable on return if sync, else the caller says sync() before it tells
        them.  keys: keys of an entry, for bases that have any."""
        assert self.list is not None
        uidlist = self.list
        first = uidlist.next
        if first + len(bases) > UID_MAX:
            raise OverflowError("no UIDs are left in this mailbox")
        given = dict(zip(bases, range(first, first + len(bases))))
        new_keys = {given[base]: words for base, words in (keys or {}).items()}
        if self._torn or uidlist.complaints or uidlist.version != 3 or not uidlist.guid or any(b in uidlist.uids for b in bases):
            for base in bases:
                if base in uidlist.uids:
                    uidlist.keys.pop(uidlist.uids.pop(base), None)
            self._with(given, new_keys)
            self.rewrite()
        else:
            data = encode_entries(given, new_keys)
            durable.append(self.path, data, sync=sync)
            self._offset += len(data)
            self._with(given, new_keys)
        return given

    def sync(self) -> None:
        """Make what was appended durable."""
        durable.sync_file(self.path)

    def _with(self, given: dict[bytes, int], keys: dict[int, bytes]) -> None:
        assert self.list is not None
        self.list.uids.update(given)
        self.list.keys.update(keys)
        self.list.seen = max(self.list.seen, max(given.values(), default=0))

    def rewrite(self) -> None:
        """Put `list` in the place of the file; durable on return."""
        assert self.list is not None
        uidlist = self.list
        uidlist.guid = uidlist.guid or new_guid()
        uidlist.nextuid, uidlist.version = uidlist.next, 3
        data = encode(uidlist)
        try:
            mode = os.stat(self.path).st_mode & 0o777
        except FileNotFoundError:
            mode = 0o600
        durable.replace(self.path, data, mode)
        uidlist.complaints.clear()
        old, self._fd = self._fd, os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if old >= 0:
            os.close(old)
        self._offset, self._torn = len(data), False

    def adopt_courier(self) -> Uidlist | None:
        """What courierimapuiddb says, where there is such a file and it can be read."""
        try:
            with open(os.path.join(self.directory, COURIER_NAME), "rb") as file:
                return decode(file.read())
        except (OSError, Damaged):
            return None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._offset, self._torn, self.list = -1, 0, False, None


def _read_all(fd: int) -> bytes:
    data = os.read(fd, os.fstat(fd).st_size + 1)
    while more := os.read(fd, 1 << 20):
        data += more
    return data
