"""policy: may this client do this?  Functions from facts to an Outcome; the session asks, and says what they answer.

    listener      who talks there                 what is asked
    ------------  ------------------------------  -------------------------------------------------------------
    smtp          any host                        mail for this host; for elsewhere only from smtp.relay_from
    submission    users, after STARTTLS           a login before MAIL, then mail for anybody
    submissions   users, under TLS at once        the same
    lmtp          a mail server in front of us    mail for this host

There is no way to relay but a login or an address in smtp.relay_from: no percent hack, no bang path, no source route
(RFC 2505 §2.1).  Who may not relay hears the same whether the address could be reached or not.
"""
from __future__ import annotations

import os
from dataclasses import dataclass

from pymta import clock, outcome
from pymta.formats.queuefile import Recipient
from pymta.outcome import Outcome
from pymta.routing import Router

SUBMISSION = frozenset(("submission", "submissions"))
_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class Client:
    """Who is there.  address: IP as text; trusted: in smtp.relay_from, on the MX port; login: the mailbox's address, or empty."""

    address: str
    listener: str
    trusted: bool = False
    helo: bytes = b""
    tls: bool = False
    login: str = ""

    @property
    def submits(self) -> bool:
        return self.listener in SUBMISSION


def sender(client: Client) -> Outcome:
    """Whether a transaction may begin (RFC 6409 §4.3, RFC 8314 §3.3)."""
    if client.listener in SUBMISSION:
        if not client.tls:
            return outcome.TLS_REQUIRED
        if not client.login:
            return outcome.AUTH_REQUIRED
    return outcome.SENDER_OK


def recipient(client: Client, address: bytes, sender: bytes, router: Router) -> Outcome | list[Recipient]:
    """The final recipients of mail for address, or why it is not taken."""
    if not client.trusted and not client.login and not router.relay(address):
        return outcome.RELAY_DENIED
    return router.resolve(address, sender=sender)


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
