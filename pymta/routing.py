"""routing: who gets the mail for an address.  Asked at RCPT, for local drops and by pymta-whatif: one code, one answer.

For an address in a domain of ours, the first that claims it has it; for each, the whole local part is tried, then what is left
when an extension is cut off, longest first:

    alias of the full address  >  alias of the bare name  >  mailbox       (for the whole local part, then for each shorter one)
    catch-all alias of the domain
    postmaster, abuse, mailer-daemon: as root        root: local.admin, else it waits in hold/

In a domain that we only pass on (local.relay_domains) those are taken who stand in relay_recipients; nobody else is there.

An address in another domain is taken as it is, unless an alias has exactly that address on its left.  A bare name on the right
of an alias is one person, whatever domain the mail came by: looked for in the local domains, in the first domain, and only
then in the domain the mail came by; no catch-all takes it.

`user: user, other@x` means user's own mailbox and other@x.  A longer way back is a loop: the mail is refused and the loop named.
A target that reaches nobody is left out; where all of them are, there is no such user.  An alias line that cannot be used, a
list that cannot be read, a mailbox whose owner is unknown: refused for now (451), the sender keeps the mail.

Nothing is written here; the answer depends on the files of ETC, the system's users and the settings only.
"""
from __future__ import annotations

import os
import socket
import stat as stat_bits
from collections.abc import Iterable
from dataclasses import dataclass

from pymta import clock, outcome
from pymta.accounts import Accounts, Mailbox, Trouble
from pymta.formats import aliases as formats_aliases
from pymta.formats import relay_recipients
from pymta.formats.aliases import INCLUDE, MAILBOX, Alias, Aliases, Target
from pymta.formats.live import Live, Tell, tell
from pymta.formats.queuefile import LOCAL, REMOTE, Recipient
from pymta.formats.relay_recipients import Recipients
from pymta.message import address as addresses
from pymta.outcome import Outcome
from pymta.settings import Settings

DEPTH_MAX = 20                      # aliases within aliases
LIST_MAX_OCTETS = 4 << 20           # one :include: file
FAULTS_TOLD = 10                    # of one file; the log is no place for the rest
ANSWERS_MAX = 20_000                # recipients in remembered answers
ANSWERS_S = 1.0                     # how long one is remembered: system users and lists are asked again after it
BUILT_IN = ("postmaster", "abuse", "mailer-daemon")
HOLD = b"Pymta-Hold"

Answer = Outcome | list[Recipient]


@dataclass(frozen=True, slots=True)
class Step:
    """One step on the way, for pymta-whatif.  depth: aliases within aliases, from 0; where: file:line or the rule's name."""

    depth: int
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """answer: as of resolve; steps: in order; faults: [(file:line, reason; remedy)] that were met."""

    answer: Answer
    steps: list[Step]
    faults: list[tuple[str, str]]


class Router:
    """Who gets the mail for an address, under one configuration.  Keep one: it remembers answers while the files stay the same."""

    def __init__(self, settings: Settings, accounts: Accounts | None = None, tell: Tell = tell) -> None:
        self.settings = settings
        self.accounts = accounts or Accounts(settings, tell)
        self._tell = tell
        self.path = os.path.join(settings.etc, "aliases")
        self._live: Live[Aliases] = Live(self.path, formats_aliases.decode, self._report)
        self.relayed = frozenset(settings["local.relay_domains"])
        self.relay_path = os.path.join(settings.etc, "relay_recipients")
        self._relay: Live[Recipients] = Live(self.relay_path, relay_recipients.decode, self._report_relay)
        self._lists: dict[str, Live[list[Target]]] = {}
        self._answers: dict[bytes, Answer] = {}
        self._size = 0
        self._based_on: tuple[object, object, object] | None = None
        self._until = 0.0
        self._told: set[str] = set()
        self.admin = self._admin()

    def resolve(self, address: bytes, *, sender: bytes = b"") -> Answer:
        """The final recipients of mail for address (user@domain, or a bare name), or the Outcome that refuses it.  Each one is a
        LOCAL mailbox (canonical, lower case, extension kept) or REMOTE, once, with the note Original-Recipient where it differs
        from address; mail that nobody owns has the note Pymta-Hold.  The caller may keep and change what it gets.

        sender does not matter yet.
        """
        try:
            tables = self.accounts.table(), self.aliases(), self._relay.get() if self.relayed else None
        except OSError:
            return outcome.LOCAL_ERROR                       # logged by Live; the mail stays with the sender
        now = clock.tick()
        if now >= self._until or self._based_on is None or tables[0] is not self._based_on[0] or tables[1] is not self._based_on[1] \
                or tables[2] is not self._based_on[2]:
            self._answers, self._size, self._based_on, self._until = {}, 0, tables, now + ANSWERS_S
        answer = self._answers.get(address)
        if answer is None:
            way = _Expansion(self, address)
            answer = way.answer()
            self._tell_some(way.faults)
            self._size += len(answer) if isinstance(answer, list) else 1
            if self._size > ANSWERS_MAX:
                self._answers, self._size = {}, 0
            self._answers[address] = answer
        if isinstance(answer, Outcome):
            return answer
        return [Recipient(one.kind, one.address, one.notes) for one in answer]

    def explain(self, address: bytes) -> Explanation:
        """resolve's answer, how it came about, and what is wrong on the way.  Logs nothing.  Raises OSError if a file of ETC
        cannot be read."""
        self.accounts.table()
        steps: list[Step] = []
        way = _Expansion(self, address, steps)
        return Explanation(way.answer(), steps, way.faults)

    def relay(self, address: bytes) -> bool:
        """Whether mail for address is for this host: its domain is ours or one that we pass on, or an alias has exactly this address on its left.
        Everything else is relaying.  While users or aliases cannot be read it is: resolve then refuses it for now."""
        local, domain = addresses.split(address)
        if not domain:
            return True
        name = _text(domain).lower().removesuffix(".")
        try:
            if self.accounts.is_local_domain(name) or name in self.relayed or self.is_own_literal(domain):
                return True
            return f"{addresses.folded(_text(local))}@{name}" in self.aliases().by_name
        except OSError:
            return True

    def is_own_literal(self, domain: bytes) -> bool:
        """Whether domain is an address literal of this host."""
        address = addresses.literal_ip(domain)
        return bool(address) and _is_own_ip(address)

    def relay_recipients(self) -> Recipients:
        """The file as it is now.  Raises OSError if it has never been read."""
        return self._relay.get()

    def aliases(self) -> Aliases:
        """The aliases file as it is now.  Raises OSError if it has never been read."""
        return self._live.get()

    def read_list(self, path: str) -> list[Target]:
        """The targets in an :include: file as it is now.  Raises Trouble."""
        live = self._lists.get(path)
        if live is None:
            if len(self._lists) >= 1000:
                self._lists.clear()
            live = self._lists[path] = Live(path, lambda data: self._decode_list(path, data), check=self._check_list)
        try:
            return live.get()
        except OSError as error:
            raise Trouble(f"{path}: {error.strerror or error}") from None

    def tell(self, where: str, why: str) -> None:
        """Log what is wrong in a file, once while it stays as it is."""
        if f"{where} {why}" not in self._told:
            if len(self._told) > 1000:
                self._told.clear()
            self._told.add(f"{where} {why}")
            self._tell(where, why)

    def _tell_some(self, faults: Iterable[tuple[str, str]]) -> None:
        """Log the first of these (place, reason) in each file, and how many more it has: a list may be a big file of anything."""
        by_file: dict[str, list[tuple[str, str]]] = {}
        for where, why in faults:
            path, _, number = where.rpartition(":")
            by_file.setdefault(path if number.isdigit() else where, []).append((where, why))
        for path, its_faults in by_file.items():
            for where, why in its_faults[:FAULTS_TOLD]:
                self.tell(where, why)
            if len(its_faults) > FAULTS_TOLD:
                self.tell(path, f"{len(its_faults) - FAULTS_TOLD} more lines are wrong")

    # ---- parts --------------------------------------------------------------------------------------------------------
    def _admin(self) -> list[Target]:
        try:
            return formats_aliases.parse_targets(self.settings["local.admin"])
        except ValueError as error:
            self.tell(self.settings.sources["local.admin"], f"local.admin: {error}")
            return []

    def _report(self, aliases: Aliases) -> None:
        self._told.clear()
        self._tell_some((f"{self.path}:{number}", reason) for number, reason in aliases.complaints)

    def _report_relay(self, recipients: Recipients) -> None:
        self._tell_some((f"{self.relay_path}:{number}", reason) for number, reason in recipients.complaints)

    def _decode_list(self, path: str, data: bytes) -> list[Target]:
        targets, complaints = formats_aliases.decode_list(data)
        self._tell_some((f"{path}:{number}", reason) for number, reason in complaints)
        return targets

    def _check_list(self, stat: os.stat_result) -> None:
        """A list must be a plain file that only its owner writes: root, who runs this, or who owns the aliases file."""
        owners = {0, os.geteuid()}
        try:
            owners.add(os.stat(self.path).st_uid)
        except OSError:
            pass
        if not stat_bits.S_ISREG(stat.st_mode):
            raise OSError(0, "not a plain file")
        if stat.st_mode & 0o022 and not (stat.st_mode & 0o002 == 0 and stat.st_gid == 0):
            raise OSError(0, "others may write it; chmod go-w")
        if stat.st_uid not in owners:
            raise OSError(0, "belongs to neither root nor the owner of the aliases file; chown it")
        if stat.st_size > LIST_MAX_OCTETS:
            raise OSError(0, f"longer than {LIST_MAX_OCTETS} octets")


class _Refused(Exception):
    """args[0]: the Outcome of the whole address."""


class _Expansion:
    """The way from one address to its recipients.

    Every method that follows something returns whether it reached anybody; what it reached is in self.found.
    """

    def __init__(self, router: Router, address: bytes, steps: list[Step] | None = None) -> None:
        self.router = router
        self.accounts = router.accounts
        self.by_name = router.aliases().by_name
        self.given = address
        self.steps = steps
        self.found: dict[tuple[bytes, bytes], tuple[tuple[bytes, bytes], ...]] = {}
        self.faults: list[tuple[str, str]] = []
        self.way: list[str] = []                             # names of the aliases and lists we are in
        self.reached: dict[tuple[str, str], bool] = {}       # those behind us
        self.limit: int = router.settings["queue.recipients_max"]

    def answer(self) -> Answer:
        try:
            return self._answer()
        except _Refused as refused:
            self.step("refused", refused.args[0].text)
            return refused.args[0]
        except Trouble as error:
            where, _, why = str(error).partition(": ")
            self.faults.append((where, why))
            self.step("trouble", str(error))
        except OSError as error:                             # a file of ETC became unreadable between two looks; Live has logged it
            self.step("trouble", str(error))
        return outcome.LOCAL_ERROR

    def _answer(self) -> Answer:
        """Raises _Refused, Trouble, OSError."""
        raw = self.given
        try:
            if b"@" not in raw:
                local, domain = addresses.parse(raw + b"@localhost", utf8=True)[0], b""
            else:
                local, domain = addresses.parse(raw.removesuffix(b"."), utf8=True)
        except addresses.BadAddress as error:
            return outcome.BAD_RECIPIENT.because(f"bad recipient address: {error}")
        try:
            reached = self.address(_text(local), _text(domain), self.accounts.default_domain)
        except _Refused:
            if not self._must_be_taken(local, domain):
                raise
            self.found.clear()
            reached = False
        if not reached and self._must_be_taken(local, domain):
            reached = self.hold(outcome.NO_OWNER.text)
        if not reached:
            return outcome.NO_SUCH_USER
        return [Recipient(kind, address, self._notes(address, more)) for (kind, address), more in self.found.items()]

    def step(self, where: str, text: str) -> None:
        if self.steps is not None:
            self.steps.append(Step(len(self.way), where, text))

    def _notes(self, address: bytes, more: tuple[tuple[bytes, bytes], ...]) -> tuple[tuple[bytes, bytes], ...]:
        return more if address == self.given else ((b"Original-Recipient", b"rfc822;" + self.given), *more)

    def _must_be_taken(self, local: bytes, domain: bytes) -> bool:
        """postmaster and its kin are always accepted; loops and dead ends on their way lead to hold/ (RFC 5321 §4.5.1)."""
        name = _text(local).lower()
        return (name in BUILT_IN or name == "root") and (not domain or self._ours(_text(domain)) or self.router.is_own_literal(domain))

    def _ours(self, domain: str) -> bool:
        return self.accounts.is_local_domain(domain)

    # ---- following ----------------------------------------------------------------------------------------------------
    def address(self, local: str, domain: str, came_by: str) -> bool:
        """Mail for local@domain (lower case); without a domain, for a bare name in mail that came by a domain."""
        name = addresses.folded(local)
        if not domain:
            return self.bare(name, came_by)
        if self._ours(domain):
            claim = self.specific(name, domain, domain)
            return self.general(name, domain) if claim is None else claim or self.built_in(name, domain)
        if self.router.is_own_literal(domain.encode("utf-8", "surrogateescape")):
            return self.built_in(name, self.accounts.default_domain)
        alias = self.by_name.get(f"{name}@{domain}")
        if alias and not self._is_last(alias):
            return self.alias(alias, domain)
        if domain.lower().removesuffix(".") in self.router.relayed:
            return self.relayed(local, domain)
        self.step("elsewhere", f"{local}@{domain}: not a domain of ours; sent there")
        return self.add(REMOTE, f"{local}@{domain}")

    def relayed(self, local: str, domain: str) -> bool:
        """Mail that we take for another host."""
        if not self.router.relay_recipients().has(local.lower(), domain.lower().removesuffix(".")):
            self.step(self.router.relay_path, f"{local}@{domain}: does not stand there")
            return False
        self.step("relay", f"{local}@{domain}: passed on")
        return self.add(REMOTE, f"{local}@{domain}")

    def bare(self, name: str, came_by: str) -> bool:
        first = self.accounts.local_domains[0]
        domains = dict.fromkeys((first, self.accounts.default_domain, came_by))
        claim = None
        for domain in domains:
            if claim is None and self._ours(domain):
                claim = self.specific(name, domain, came_by)
        return claim or self.built_in(name, self.accounts.default_domain)      # a catch-all is for addresses, not for names

    def specific(self, local: str, domain: str, came_by: str) -> bool | None:
        """Aliases and mailboxes of this very name, or of the name without its extension; None where nobody claims it."""
        for name in self.accounts.names(local):
            full = self.by_name.get(f"{name}@{domain}")
            for alias in (full, self.by_name.get(name)):
                if alias and not self._is_last(alias):
                    return self.alias(alias, came_by)
                if alias:                                    # user: user, ...  means the mailbox; anything wider would be a guess
                    return self.mailbox(name, local, domain)
            if self.mailbox(name, local, domain):
                return True
        return None

    def general(self, name: str, domain: str) -> bool:
        """What the whole domain has, and the names every domain has."""
        alias = self.by_name.get(f"@{domain}")
        if alias and not self._is_last(alias):
            return self.alias(alias, domain)
        return self.built_in(name, domain)

    def built_in(self, name: str, domain: str) -> bool:
        if name in BUILT_IN:
            self.step("built in", f"{name}: as root")
            self._enter(name)
            reached = self.bare("root", domain)
            self.way.pop()
            return reached
        if name == "root":
            return self.root(domain)
        self.step("nobody", f"{name}: reaches nobody")
        return False

    def mailbox(self, name: str, local: str, domain: str) -> bool:
        box: Mailbox | None = self.accounts.exact(name, domain)
        if box is None:
            return False
        canonical, _, home_domain = box.address.rpartition("@")
        self.step("mailbox", f"{box.maildir} (uid {box.uid})")
        return self.add(LOCAL, f"{canonical}{local[len(name):]}@{home_domain}")

    def alias(self, alias: Alias, came_by: str) -> bool:
        where = f"{self.router.path}:{alias.number}"
        if alias.reason:
            raise Trouble(f"{where}: {alias.name}: {alias.reason}")
        return self.targets(alias.name, alias.targets, self.router.path, came_by)

    def targets(self, name: str, targets: tuple[Target, ...] | list[Target], path: str, came_by: str) -> bool:
        """Follow all targets of an alias or list."""
        known = self.reached.get((name, came_by))
        if known is not None:
            return known
        self._enter(name)
        reached = False
        for target in targets:
            self.step(f"{path}:{target.number}" if target.number else path, f"{name} -> {_shown(target)}")
            if self.target(target, came_by):
                reached = True
            else:
                where = f"{path}:{target.number}" if target.number else path
                self.faults.append((where, f"{name}: {_shown(target)}: reaches nobody; mend or remove it"))
        self.way.pop()
        self.reached[name, came_by] = reached
        return reached

    def target(self, target: Target, came_by: str) -> bool:
        if target.kind == INCLUDE:
            return self.targets(f":include:{target.value}", self.router.read_list(target.value), target.value, came_by)
        local, at, domain = target.value.rpartition("@")
        if not at:
            local, domain = domain, ""
        if target.kind != MAILBOX:
            return self.address(local, domain, domain or came_by)
        domains = (domain,) if domain else (self.accounts.local_domains[0], self.accounts.default_domain, came_by)
        return any(self.mailbox(name, local.lower(), one) for one in domains for name in self.accounts.names(local.lower()))

    def root(self, domain: str) -> bool:
        """Mail for root that no alias takes: to local.admin; while nobody can be reached there, to hold/."""
        way, found = list(self.way), dict(self.found)
        try:
            if self.router.admin and self.targets("local.admin", self.router.admin, "local.admin", domain):
                return True
        except _Refused as loop:
            self.way, self.found = way, found
            self.step("local.admin", loop.args[0].text)
        return "root" not in self.way and self.hold(outcome.NO_OWNER.text)     # root: root, ann  is ann's if root has nobody

    def hold(self, why: str) -> bool:
        self.step("hold", why)
        return self.add(LOCAL, f"root@{self.router.settings.host}", ((HOLD, why.encode("ascii")),))

    # ---- bounds -------------------------------------------------------------------------------------------------------
    def add(self, kind: bytes, address: str, notes: tuple[tuple[bytes, bytes], ...] = ()) -> bool:
        self.found.setdefault((kind, address.encode("utf-8", "surrogateescape")), notes)
        if len(self.found) > self.limit:
            raise _Refused(outcome.TOO_MANY_RECIPIENTS.because(f"this address leads to more than {self.limit} recipients"))
        return True

    def _is_last(self, alias: Alias) -> bool:
        return next((name for name in reversed(self.way) if not name.startswith(":include:")), None) == alias.name

    def _enter(self, name: str) -> None:
        if name in self.way:
            loop = " -> ".join([*self.way[self.way.index(name):], name])
            raise self._loop(f"alias leads back to itself: {loop}")
        if len(self.way) >= DEPTH_MAX:
            raise self._loop(f"more than {DEPTH_MAX} aliases within aliases: {' -> '.join(self.way)}")
        self.way.append(name)

    def _loop(self, why: str) -> _Refused:
        alias = self.by_name.get(self.way[-1])
        where = f"{self.router.path}:{alias.number}" if alias else self.way[-1].removeprefix(":include:")
        self.faults.append((where, f"{why}; take one of them away"))
        return _Refused(outcome.ALIAS_LOOP.because(why))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _shown(target: Target) -> str:
    return {MAILBOX: "\\", INCLUDE: ":include:"}.get(target.kind, "") + formats_aliases.shown(target.value)


def _is_own_ip(address: str) -> bool:
    """Whether an IP address (text) is one of this host: whether a socket may be bound to it.  Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except (OSError, ValueError):
        return False
    return True
