"""submission: what a user who hands in mail may do.  Functions from facts to an Outcome.                       RFC 6409

The sender is bound to the login: MAIL FROM and every address in From: must be the login's own address, one with an extension, an
alias that leads to it (alone or among others: who reads mail for sales@ may write as sales@), or stand in the senders file.
The empty reverse-path is everybody's: receipts have it (RFC 8098 §3).
"""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pymta import outcome
from pymta.accounts import Trouble
from pymta.formats import senders
from pymta.formats.live import Live, Tell, tell
from pymta.formats.queuefile import LOCAL
from pymta.message import header
from pymta.outcome import Outcome

if TYPE_CHECKING:
    from pymta.routing import Router
    from pymta.settings import Settings

_FROM_MAX = 50                                          # addresses that are looked at in one header
NO_FROM = outcome.NOT_ALLOWED.because("the From field holds no address that can be read")


class Owners:
    """Whose addresses are whose."""

    def __init__(self, settings: Settings, router: Router, tell: Tell = tell) -> None:
        self._router = router
        self._host = settings.host.encode("ascii", "replace")
        self._first = router.accounts.local_domains[0]
        self.path = os.path.join(settings.etc, "senders")
        self._tell = tell
        self._live: Live[senders.Senders] = Live(self.path, senders.decode, self._report)

    def owns(self, login: str, address: bytes) -> bool:
        """Whether login (the mailbox's address) may send from address, which has a domain.  Raises OSError while that cannot be told."""
        name, _, domain = login.rpartition("@")
        logins = (login, name) if domain == self._first else (login,)
        if self._live.get().allows(logins, address.decode("utf-8", "surrogateescape").lower()):
            return True
        if not self._router.relay(address):
            return False
        reached = self._router.resolve(address)
        if isinstance(reached, Outcome):
            if reached.temporary:
                raise OSError(11, reached.text)
            return False
        return any(one.kind == LOCAL and self._is(login, one.address) for one in reached)

    def _report(self, table: senders.Senders) -> None:
        for number, why in table.complaints:
            self._tell(f"{self.path}:{number}", why)

    def _is(self, login: str, recipient: bytes) -> bool:
        mailbox = self._router.accounts.find(recipient.decode("utf-8", "surrogateescape"))
        return mailbox is not None and mailbox.address == login

    # ---- what is asked ------------------------------------------------------------------------------------------------
    def sender(self, login: str, address: bytes) -> Outcome | None:
        """Why login may not say MAIL FROM:<address>; None if it may."""
        return self._refusal(login, address) if address else None

    def author(self, login: str, fields: bytes) -> Outcome | None:
        """Why login may not send a message with these header fields; None if it may.  A message without From gets one."""
        froms = header.get_all(fields, b"From")
        found = [address for value in froms for address, _, _ in header.scan(value)][:_FROM_MAX + 1]
        if froms and (not found or not all(found) or len(found) > _FROM_MAX):
            return NO_FROM
        for address in dict.fromkeys(found):
            refusal = self._refusal(login, header.qualify(address or b"", self._host))
            if refusal:
                return refusal
        return None

    def _refusal(self, login: str, address: bytes) -> Outcome | None:
        try:
            if self.owns(login, address):
                return None
        except (OSError, Trouble):
            return outcome.LOCAL_ERROR
        return outcome.NOT_ALLOWED.because(f"{address.decode('ascii', 'replace')}: not an address of {login}")


# ---- alarms -----------------------------------------------------------------------------------------------------------
def alarm(host: bytes, login: str, what: str, *, now: float, id: str) -> bytes:
    """The message (LF lines) that tells the admin of a login that behaves as if its password were stolen."""
    return b"".join((
        b"From: Mail system <postmaster@%s>\nTo: postmaster@%s\n" % (host, host),
        b"Subject: %s: unusual sending\n" % outcome.clean(login, 100).encode(),
        b"Date: %s\nMessage-ID: %s\n" % (header.date(now), header.message_id(id, host)),
        b"Auto-Submitted: auto-generated\nMIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n",
        outcome.clean(what).encode(), b"\n\nIf that is not its owner at work, give it a new password: pymta-passwd\n",
        b"Mail that was held: pymta-mailq, then pymta-mailq release or delete.\n",
        b"This is said once an hour at most for each login.\n"))
