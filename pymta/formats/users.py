"""users: the users that are not users of the system, and where their mail lies.             pymta-users(5)

    file    = *(line LF)
    line    = [name [":" [uid] [":" [gid] [":" [home]]]] *option] [*WSP "#" comment]
                                      ; "#" at the start or after a blank
    name    = local ["@" domain]          ; without a domain: a user in every local domain (local.domains)
    uid     = number / account            ; never 0.  Empty: local.virtual_uid
    gid     = number / group              ; empty: the group of uid
    home    = absolute path               ; empty: local.virtual_home/DOMAIN/USER.  The mailbox is home/Maildir
    option  = ":quota=" size / ":without=" names / ":pop3=" shown          ; each once
    size    = number ["K" / "M" / "G"]    ; what the mailbox may hold, 0 for any amount.  Without it: local.quota
    names   = name *("," name)            ; capabilities of IMAP that are not offered
    shown   = "all" / "unseen" / 1*5DIGIT "d"    ; which messages of INBOX POP3 shows.  Without it: pop3.shows

    alice@example.test
    bob@example.test:1005:1005:/srv/mail/bob       # a mailbox of his own uid
    carol@example.test:quota=2G:pop3=30d
    dave@example.test:without=UIDONLY,QRESYNC

A line's name is all a user needs.  The domain of a line is one of ours (a virtual domain).  Names are compared without regard
to case.  local is made of letters, digits and !#$%&'*=?^_`{|}~.+- , begins with neither dot nor hyphen and is at most 64 octets
long: it is the name of a directory.  The passwords stand in a file of their own, which fewer programs may read.

Written by pymta-passwd and the admin, who may edit it at any time; read by every program at each use.
A bad line is reported with its number and left out; the others hold.  If lost: nobody but system users gets mail.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from pymta.formats.conf import without_comment
from pymta.message import address as addresses

HOME_MAX_OCTETS = 1024
NAME_MAX_OCTETS = 64


@dataclass(frozen=True, slots=True)
class User:
    """local, domain: lower case, domain empty for a user of every local domain; uid, gid, home, quota, without, pop3: as written, "" if not."""

    local: str
    domain: str
    uid: str
    gid: str
    home: str
    number: int                                             # of the line
    quota: str = ""
    without: str = ""
    pop3: str = ""

    @property
    def quota_octets(self) -> int | None:
        """None: as local.quota says."""
        return _octets(self.quota) if self.quota else None

    @property
    def name(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local


@dataclass(frozen=True, slots=True)
class Users:
    """by_name: name ("alice@example.test" or "alice") -> User, in the order of the file; domains: those named, in order;
    complaints: [(line number, reason; remedy)]."""

    by_name: dict[str, User]
    domains: dict[str, int]
    complaints: list[tuple[int, str]]

    @property
    def quotas(self) -> bool:
        """Whether a line has a quota."""
        return any(user.quota for user in self.by_name.values())


def decode(data: bytes) -> Users:
    """The users of a file's bytes.  Never raises."""
    users = Users({}, {}, [])
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = without_comment(raw.decode("utf-8", "surrogateescape")).strip()
        if not line:
            continue
        try:
            user = _user(line, number)
        except ValueError as error:
            users.complaints.append((number, str(error)))
            continue
        first = users.by_name.setdefault(user.name, user)
        if first is not user:
            users.complaints.append((number, f"{user.name} stands in line {first.number} already, which holds; remove one of them"))
        if user.domain:
            users.domains.setdefault(user.domain, number)
    return users


def encode(user: User) -> bytes:
    """The line of one user, with its LF."""
    fields = [user.name, user.uid, user.gid, user.home]
    while not fields[-1]:
        fields.pop()
    if user.quota:
        fields.append(f"quota={user.quota}")
    if user.without:
        fields.append(f"without={user.without}")
    if user.pop3:
        fields.append(f"pop3={user.pop3}")
    return ":".join(fields).encode("utf-8", "surrogateescape") + b"\n"


def _user(line: str, number: int) -> User:
    options: dict[str, str] = {}
    while found := _OPTION(line):
        line, option = found[1], found[2]
        if option in options:
            raise ValueError(f"{option}= stands twice; remove one of them")
        options[option] = found[3].strip()
    name, *rest = line.split(":", 3)
    uid, gid, home = [field.strip() for field in rest] + [""] * (3 - len(rest))
    local, at, domain = name.strip().lower().rpartition("@")
    if not at:
        local, domain = domain, ""
    elif not domain.isascii():
        domain = addresses.ascii_domain(domain)
    if not is_safe_name(local):
        raise ValueError(f"{clean(name)}: not a user's name; write user@domain or user, in letters, digits and . _ - +")
    if at and not addresses.is_domain(domain.encode("utf-8", "surrogateescape")):
        raise ValueError(f"{clean(name)}: not a domain after the @; write user@example.net")
    for what, value in (("uid", uid), ("gid", gid)):
        if value.isdecimal() and int(value) == 0 or value == "root":
            raise ValueError(f"{what} 0: nothing is ever delivered as root; name another account or leave the field empty")
        if value and (" " in value or "/" in value or value.startswith("-") or not value.isascii() or not value.isprintable()):
            raise ValueError(f"{what} {clean(value)}: neither a number nor an account; write name:uid:gid:home")
        if value.isdecimal() and int(value) > 0xFFFFFFFE:
            raise ValueError(f"{what} {value}: too big; the biggest is 4294967294")
    if home and (not home.startswith("/") or ".." in home.split("/") or len(home) > HOME_MAX_OCTETS or not home.isprintable()):
        raise ValueError(f"home {clean(home)}: not an absolute path; write name:uid:gid:/the/home")
    if "quota" in options:
        _octets(options["quota"])
    if "without" in options and not _NAMES(options["without"]):
        raise ValueError(f"without {clean(options['without'])}: not names of capabilities; write without=UIDONLY,QRESYNC")
    if "pop3" in options and not is_shown(options["pop3"]):
        raise ValueError(f"pop3 {clean(options['pop3'])}: not what POP3 may show; write pop3=all, pop3=unseen or pop3=30d")
    return User(local, domain, uid, gid, home, number, options.get("quota", ""), options.get("without", ""), options.get("pop3", ""))


_OPTION = re.compile(r"(.*):(quota|without|pop3)=([^:]*)", re.DOTALL).fullmatch
_NAMES = re.compile(r"[A-Za-z0-9=+-]{1,40}(?:,[A-Za-z0-9=+-]{1,40}){0,99}", re.ASCII).fullmatch
_SHOWN = re.compile(r"all|unseen|[0-9]{1,5}d", re.ASCII).fullmatch
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _octets(quota: str) -> int:
    digits = quota.rstrip("KMG")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15 or quota[len(digits):] not in _UNITS:
        raise ValueError(f"quota {clean(quota)}: not a size; write quota=500M")
    return int(digits) * _UNITS[quota[len(digits):]]


def is_shown(text: str) -> bool:
    """Whether this says which messages POP3 shows: all, those without \\Seen, those of the last days."""
    return _SHOWN(text) is not None


_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*=?^_`{|}~.+-")


def is_safe_name(local: str) -> bool:
    """Whether a local part may be the name of a directory."""
    return 0 < len(local) <= NAME_MAX_OCTETS and local[0] not in ".-" and _SAFE.issuperset(local)


def clean(text: str, limit: int = 80) -> str:
    """text made safe and short for a complaint."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= limit else shown[:limit] + "..."
