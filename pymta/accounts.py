"""accounts: who has a mailbox on this host, as which uid and where.

A user is, in this order: a line of the users file (pymta-users(5)) with this very address; in a local domain a line with the
bare name; in a local domain a user of this system.  Names are compared without regard to case; where nobody has the whole
local part, an extension is cut off (local.extension), the shortest first, so that the longest name wins.

All local domains are one: a user of several has one mailbox, whose address is in the first of them.  Nobody is uid 0.
Everything is looked up at each use, so an edit of the users file counts at once; a new system user does within a second.
"""
from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from pymta import clock
from pymta.formats import users as formats_users
from pymta.formats.live import Live, Tell, tell
from pymta.formats.users import User, Users
from pymta.message import address as addresses
from pymta.settings import Settings

_SYSTEM_S = 1.0                     # how long what getpwnam said holds
# the homes of those who are not people
_NO_HOMES = ("/", "/nonexistent", "/dev", "/proc", "/sys", "/run", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/var/empty")
VMAIL = "pymta-vmail"


class Trouble(Exception):
    """A mailbox whose owner cannot be told now: an error of configuration; mail for it waits."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """address: canonical, lower case, without extension; uid, gid: never 0; home, maildir: absolute paths;
    quota: octets the mailbox may hold, 0 for any amount; without: capabilities of IMAP that are switched off, as written;
    pop3: which messages POP3 shows (pymta-users(5))."""

    address: str
    uid: int
    gid: int
    home: str
    maildir: str
    quota: int = 0
    without: str = ""
    pop3: str = "all"


class Accounts:
    """The accounts of one configuration.  Cheap to make; keep one."""

    def __init__(self, settings: Settings, tell: Tell = tell) -> None:
        self._settings = settings
        self._tell = tell
        self.path = os.path.join(settings.etc, "users")
        self._live: Live[Users] = Live(self.path, formats_users.decode, self._report)
        self._delimiters: str = settings["local.extension"]
        self._virtual_home: str = settings["local.virtual_home"]
        self._quota: int = settings["local.quota"]
        self._pop3: str = settings["pop3.shows"]
        self._own_names = frozenset((settings.host, "localhost"))
        self.local_domains: tuple[str, ...] = tuple(dict.fromkeys((*settings["local.domains"], settings.host, "localhost")))
        self._local = frozenset(self.local_domains)
        self._virtual = frozenset(settings["local.virtual_domains"])
        self._system: dict[str, Mailbox | None] = {}
        self._system_until = 0.0
        self._made: dict[tuple[str, str], Mailbox] = {}
        self._made_of: Users | None = None
        self._some_quotas = False

    # ---- questions ----------------------------------------------------------------------------------------------------
    def find(self, address: str) -> Mailbox | None:
        """The mailbox that mail for user@domain, perhaps with an extension, reaches.  Raises Trouble, OSError (users file)."""
        local, at, domain = address.lower().rpartition("@")
        if not at:
            return self.login(address)
        domain = addresses.ascii_domain(domain)
        for name in self.names(local):
            mailbox = self.exact(name, domain)
            if mailbox:
                return mailbox
        return None

    def login(self, name: str) -> Mailbox | None:
        """The mailbox of somebody who logs in under this name: a full address, or a bare name in the first domain."""
        local, at, domain = name.lower().rpartition("@")
        if at:
            return self.exact(local, addresses.ascii_domain(domain))
        return self.exact(domain, self.local_domains[0]) or self.exact(domain, self.default_domain)

    def exact(self, local: str, domain: str) -> Mailbox | None:
        """The mailbox of exactly this user; both lower case."""
        users = self.table()
        if users is not self._made_of:
            self._made_of, self._made, self._some_quotas = users, {}, users.quotas
        mailbox = self._made.get((local, domain))
        if mailbox is None:
            mailbox = self._look_up(users, local, domain)
            if mailbox and self._system.get(local) is not mailbox:
                self._made[local, domain] = mailbox
        return mailbox

    def names(self, local: str) -> list[str]:
        """local itself, then the users it may be an extension of, longest first."""
        names = [local]
        for at in range(len(local) - 1, 0, -1):
            if local[at] in self._delimiters:
                names.append(local[:at])
        return names

    def is_local_domain(self, domain: str) -> bool:
        """Whether mail for this domain (lower case) stays on this host: the local and the virtual domains."""
        return domain in self._local or domain in self._virtual or domain in self.table().domains

    @property
    def default_domain(self) -> str:
        """Where a bare name lives: the first of local.domains, of local.virtual_domains, of the users file; else the host."""
        configured = self._settings["local.domains"] or self._settings["local.virtual_domains"]
        return configured[0] if configured else next(iter(self.table().domains), self.local_domains[0])

    def domains(self) -> list[str]:
        """All our domains, the first one first."""
        return list(dict.fromkeys((self.default_domain, *self._settings["local.domains"],
                                   *self._settings["local.virtual_domains"], *self.table().domains, *self.local_domains)))

    def users(self) -> Iterator[Mailbox]:
        """Every mailbox: those of the users file in its order, then the system's.  A user in Trouble is left out."""
        seen = set()
        names = [(user.local, user.domain or self.local_domains[0]) for user in self.table().by_name.values()]
        if self._settings["local.system_users"]:
            names += [(entry.pw_name, self.local_domains[0]) for entry in pwd.getpwall()]
        for local, domain in names:
            try:
                mailbox = self.exact(local, domain)
            except Trouble:
                continue
            if mailbox and mailbox.address not in seen:
                seen.add(mailbox.address)
                yield mailbox

    @property
    def quotas(self) -> bool:
        """Whether any mailbox may have a quota, as far as the file has been looked at."""
        return bool(self._quota) or self._some_quotas

    def table(self) -> Users:
        """The users file as it is now."""
        return self._live.get()

    # ---- answers ------------------------------------------------------------------------------------------------------
    def _look_up(self, users: Users, local: str, domain: str) -> Mailbox | None:
        user = users.by_name.get(f"{local}@{domain}")
        if user:
            return self._mailbox_of(user, user.domain)
        if domain not in self._local:
            return None
        user = users.by_name.get(local)
        if user:
            return self._mailbox_of(user, self.local_domains[0])
        mailbox = self._system_user(local) if self._settings["local.system_users"] else None
        if mailbox is None and domain in self._own_names and self.default_domain != domain:
            # a host that only has virtual users: mail for its own name means the users of its first domain
            return self._look_up(users, local, self.default_domain)
        return mailbox

    def _mailbox_of(self, user: User, domain: str) -> Mailbox:
        uid, gid = self._owner(user)
        home = user.home.rstrip("/") or os.path.join(self._virtual_home, domain, user.local)
        quota = self._quota if user.quota_octets is None else user.quota_octets
        return Mailbox(f"{user.local}@{domain}", uid, gid, home, os.path.join(home, "Maildir"), quota, user.without,
                       user.pop3 or self._pop3)

    def _owner(self, user: User) -> tuple[int, int]:
        if user.uid:
            uid, gid = account(user.uid, f"{self.path}:{user.number}")
        else:
            uid, gid = self.virtual_owner()
        if user.gid:
            gid = _group(user.gid, f"{self.path}:{user.number}")
        if uid == 0 or user.gid and gid == 0:               # our own gid may be 0: containers do so
            raise Trouble(f"{self.path}:{user.number}: {user.name}: nothing is ever delivered as root; name another account")
        return uid, gid

    def virtual_owner(self) -> tuple[int, int]:
        """(uid, gid) of the mailboxes of virtual users whose line names none.  Raises Trouble."""
        if self._settings["local.virtual_uid"]:
            uid, gid = account(self._settings["local.virtual_uid"], "local.virtual_uid")
        else:
            try:
                entry = pwd.getpwnam(VMAIL)
                uid, gid = entry.pw_uid, entry.pw_gid
            except KeyError:
                uid, gid = os.geteuid(), os.getegid()
        if uid == 0:
            raise Trouble(f"nobody owns the mailboxes of virtual users; add the account {VMAIL} or set local.virtual_uid")
        return uid, gid

    def _system_user(self, name: str) -> Mailbox | None:
        now = clock.tick()
        if now >= self._system_until or len(self._system) > 10_000:
            self._system, self._system_until = {}, now + _SYSTEM_S
        if name not in self._system:
            self._system[name] = self._ask_system(name)
        return self._system[name]

    def _ask_system(self, name: str) -> Mailbox | None:
        if not formats_users.is_safe_name(name):
            return None
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        if entry.pw_uid == 0 or entry.pw_uid < self._settings["local.first_uid"] or not _is_home(entry.pw_dir):
            return None
        return Mailbox(f"{name}@{self.local_domains[0]}", entry.pw_uid, entry.pw_gid, entry.pw_dir,
                       os.path.join(entry.pw_dir, "Maildir"), self._quota, pop3=self._pop3)

    def _report(self, users: Users) -> None:
        for number, reason in users.complaints:
            self._tell(f"{self.path}:{number}", reason)


def account(name: str, where: str) -> tuple[int, int]:
    """(uid, gid) of an account given by name or number.  Raises Trouble."""
    try:
        entry = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
        return entry.pw_uid, entry.pw_gid
    except (KeyError, OverflowError):
        if name.isdecimal() and int(name) <= 0xFFFFFFFE:
            return int(name), int(name)                      # any numeric uid will do, in passwd or not
        raise Trouble(f"{where}: no account {name} on this system; create it or write a number") from None


def _group(name: str, where: str) -> int:
    import grp
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise Trouble(f"{where}: no group {name} on this system; create it or write a number") from None


def _is_home(path: str) -> bool:
    """Whether a person may live here.  Not asked of the disk: a daemon that the unit keeps out of /home must say the same as
    one that may look, and pymta-local makes a home that is missing."""
    if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
        return False
    path = os.path.normpath(path)
    return not any(path == bad or (bad not in ("/", "/run") and path.startswith(bad + "/")) for bad in _NO_HOMES)
