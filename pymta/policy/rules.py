"""rules: may this client do this?  Functions from facts to an Outcome; the session asks, and says what they answer.

    listener      who talks there                 what is asked
    ------------  ------------------------------  -------------------------------------------------------------
    smtp          any host                        mail for this host; for elsewhere only from smtp.relay_from
    submission    users, after STARTTLS           a login before MAIL, then mail for anybody
    submissions   users, under TLS at once        the same
    lmtp          a mail server in front of us    mail for this host

There is no way to relay but a login or an address in smtp.relay_from: no percent hack, no bang path, no source route
(RFC 2505 §2.1).  Who may not relay hears the same whether the address could be reached or not.

Rules are the settings, Client and the levels of rates.py the facts.  Each check is off where its setting says so, and none is made
of clients that are exempt: smtp.trusted, smtp.relay_from, lmtp.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from pymta import clock, outcome
from pymta.accounts import Accounts, Trouble
from pymta.formats.queuefile import LOCAL, Recipient
from pymta.outcome import Outcome
from pymta.queue.full import Mark
from pymta.routing import Router
from pymta.settings import Settings

SUBMISSION = frozenset(("submission", "submissions"))
_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class Client:
    """Who is there.  address: IP as text; trusted: in smtp.relay_from, on the MX port; login: the mailbox's address, or empty;
    vouched: a front end in smtp.xclient_from has said who has logged in; exempt: from all rules; ptr: the name of the address, or why there is none, once that was looked up."""

    address: str
    listener: str
    trusted: bool = False
    helo: bytes = b""
    tls: bool = False
    login: str = ""
    exempt: bool = True
    ptr: str | Outcome | None = None
    vouched: bool = False

    @property
    def submits(self) -> bool:
        return self.listener in SUBMISSION


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings of the same names, without "smtp."."""

    early_talk: str = "no"
    greet_delay: float = 0.0
    helo_check: str = "no"
    require_ptr: str = "no"
    client_sessions: int = 0
    network_sessions: int = 0
    client_connects: int = 0
    network_connects: int = 0
    client_messages: int = 0
    network_messages: int = 0
    network_ipv4: int = 24
    network_ipv6: int = 64
    tarpit: float = 0.0
    tarpit_after: int = 3

    @classmethod
    def of(cls, settings: Settings) -> "Rules":
        return cls(**{name: settings[f"smtp.{name}"] for name in cls.__slots__})

    @property
    def count(self) -> bool:
        """Whether anything has to be counted."""
        return bool(self.client_sessions or self.network_sessions or self.client_connects or self.network_connects
                    or self.client_messages or self.network_messages or self.tarpit or self.greet_delay)


@dataclass(slots=True)
class Traffic:
    """What a client or a network does: sessions now, connections and messages in the last minute."""

    sessions: int = 0
    connects: float = 0.0
    messages: float = 0.0


def crowd(rules: Rules, client: Traffic, network: Traffic) -> Outcome | None:
    """Whether one more connection is too many."""
    for what, now, limit in (("sessions from this address", client.sessions, rules.client_sessions),
                             ("sessions from this network", network.sessions, rules.network_sessions),
                             ("connections a minute from this address", client.connects, rules.client_connects),
                             ("connections a minute from this network", network.connects, rules.network_connects)):
        if limit and now + 1 > limit:
            return outcome.TOO_MANY_CONNECTIONS.because(f"more than {limit} {what}; try again later")
    return None


def messages(rules: Rules, client: Traffic, network: Traffic) -> Outcome | None:
    """Whether one more message is too many for now."""
    for what, now, limit in (("address", client.messages, rules.client_messages), ("network", network.messages, rules.network_messages)):
        if limit and now + 1 > limit:
            return outcome.TOO_MANY_MESSAGES.because(f"more than {limit} messages a minute from this {what}; send the rest later")
    return None


def headroom(rules: Rules, client: Traffic, network: Traffic) -> int:
    """How many messages may still come before one is too many."""
    left = [limit - traffic.messages for traffic, limit in ((client, rules.client_messages), (network, rules.network_messages)) if limit]
    return max(0, int(min(left, default=1e6)))


def pause_s(rules: Rules, errors: float) -> float:
    """How long the answer to a refused command waits; errors: those of the last minutes, with this one."""
    beyond = errors - rules.tarpit_after
    return 0.0 if beyond <= 0 or not rules.tarpit else min(rules.tarpit, 2.0 ** min(beyond - 1, 30.0))


_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"       # the underscore: Windows hosts have it in their names
_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")


def hello(rules: Rules, client: Client, name: bytes, host: str) -> Outcome | None:
    """What is wrong with the name a host says it has (RFC 5321 §4.1.1.1, §4.1.4).  host: ours."""
    if rules.helo_check == "no" or client.exempt or client.listener != "smtp":
        return None
    text = name.decode("ascii", "replace")
    if text.startswith("[") and text.endswith("]"):
        return None if _is_ip(text[1:-1].removeprefix("IPv6:").removeprefix("ipv6:")) else outcome.BAD_HELLO
    if not _NAME.fullmatch(text):
        return outcome.BAD_HELLO
    if rules.helo_check == "strict":
        if text.lower().rstrip(".") == host:
            return outcome.NOT_YOUR_NAME
        if "." not in text.rstrip(".") or _is_ip(text):
            return outcome.BAD_HELLO.because("not a full name; give your host's name with its domain")
    return None


def _is_ip(text: str) -> bool:
    try:
        return bool(ip_address(text))
    except ValueError:
        return False


def reverse(rules: Rules, client: Client) -> Outcome | None:
    """Whether mail is refused because of what the DNS says about the client's address; it has been asked."""
    return client.ptr if rules.require_ptr == "yes" and isinstance(client.ptr, Outcome) else None


def sender(client: Client) -> Outcome:
    """Whether a transaction may begin (RFC 6409 §4.3, RFC 8314 §3.3)."""
    if client.listener in SUBMISSION:
        if not client.tls and not client.vouched:
            return outcome.TLS_REQUIRED
        if not client.login:
            return outcome.AUTH_REQUIRED
    return outcome.SENDER_OK


def recipient(client: Client, address: bytes, sender: bytes, router: Router) -> Outcome | list[Recipient]:
    """The final recipients of mail for address, or why it is not taken."""
    if not client.trusted and not client.login and not router.relay(address):
        return outcome.RELAY_DENIED
    return router.resolve(address, sender=sender)


def room(recipients: list[Recipient], octets: int, marks: Mapping[str, Mark], accounts: Accounts) -> Outcome | None:
    """Why none of the mailboxes an address leads to has room for a message of so many octets (0: nobody knows); None where one has,
    or a recipient is elsewhere: what the others owe then waits in the queue."""
    refusal = None
    for one in recipients:
        try:
            mailbox = accounts.find(one.address.decode("utf-8")) if one.kind == LOCAL else None
        except (Trouble, OSError, UnicodeDecodeError):
            mailbox = None
        if mailbox is None or not mailbox.quota:
            return None
        mark = marks.get(mailbox.address)
        least = octets - octets // 16                   # SIZE= counts CR, the mailbox does not
        if least > mailbox.quota:
            refusal = outcome.OVER_QUOTA
        elif mark is not None and mark.quota == mailbox.quota and not mark.fits(least):
            refusal = outcome.MAILBOX_FULL
        else:
            return None
    return refusal


def hops(received: int, hops_max: int) -> Outcome | None:
    """RFC 5321 §6.3: a message that has come so far goes in circles."""
    return outcome.TOO_MANY_HOPS if received > hops_max else None


class Disk:
    """How much room a file system has; looked at once a second at most.  path: somewhere on it; free_min_octets: what must stay."""

    def __init__(self, path: str, free_min_octets: int) -> None:
        self._path = path
        self._free_min = free_min_octets
        self._free = 0
        self._looked = -10.0

    def room(self, size_octets: int) -> Outcome | None:
        """Whether a message of that size may come.  A disk that cannot be asked has no room."""
        now = clock.tick()
        if now - self._looked >= _LOOK_EVERY_S:
            self._looked = now
            self._free = self._look()
        return outcome.DISK_FULL if self._free < self._free_min + size_octets else None

    def _look(self) -> int:
        try:
            found = os.statvfs(self._path)
        except OSError:
            return -1
        if found.f_files and not found.f_favail:        # some file systems count no inodes
            return -1
        return found.f_bavail * found.f_frsize
