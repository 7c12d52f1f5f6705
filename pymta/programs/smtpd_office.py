"""smtpd_office: what the sessions of one worker of pymta-smtpd share: limits, look-ups, the intake, the way to the password child."""
from __future__ import annotations

import errno
import os
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_address

from pymta import clock, log, outcome, serve, settings
from pymta.login import auth
from pymta.policy import limits, rules as policy, submission
from pymta.formats.queuefile import Envelope
from pymta.policy.gate import Gate
from pymta.outcome import Outcome
from pymta.proto import smtp_events as smtp
from pymta.queue import committer, full, intake
from pymta.resolver import Resolver
from pymta.routing import Router

INTAKE = "in/smtpd"
_TROUBLE_EVERY_S = 10.0
_CROWD_OCTETS = 64 << 10                                # a session that comes then keeps no more than this in memory


class Office:
    """What the sessions of one worker share."""

    def __init__(self, worker: serve.Worker, gate: Gate) -> None:
        self.worker = worker
        self.gate = gate
        self.rules = policy.Rules.of(worker.settings)
        self.resolver = None if self.rules.require_ptr == "no" else _resolver(worker.settings)
        self.settings = given = worker.settings
        self.host = given.host.encode("ascii", "replace")
        self.limits = smtp.Limits(size_octets=given["queue.size_max"], recipients=given["smtp.recipients_max"],
                                  errors=given["smtp.errors_max"], mails=given["smtp.mails_max"])
        self.crowded = replace(self.limits, gather_octets=_CROWD_OCTETS)
        self.release_max_s: float = given["smtp.release_max"]
        self.timeout_s: float = given["smtp.timeout"]
        self.session_max_s: float = given["smtp.session_max"]
        self.hops_max: int = given["queue.hops_max"]
        self.recipients_max: int = given["queue.recipients_max"]
        self.router = Router(given)
        self.full = full.Full()
        self.owners = submission.Owners(given, self.router) if given["smtp.sender_check"] else None
        self.counts = limits.Limits(worker) if limits.wanted(given) else None
        self.hide_client: bool = given["smtp.hide_client"]
        os.umask(0o002)                                 # queue files are 0664, see layout.py: they need no chmod then
        self.intake = committer.Committer(worker, INTAKE, "commit", syncfs=intake.has_own_filesystem(".", given["queue.own_filesystem"]))
        self.disk = policy.Disk(INTAKE, given["queue.free_min"])
        self.passwords = auth.Passwords(worker)
        self.trusts = lru_cache(10_000)(lambda address: among(given["smtp.relay_from"], address))
        self.speaks_for_others = lru_cache(1000)(lambda address: among(given["smtp.xclient_from"], address))
        self._troubled = -_TROUBLE_EVERY_S

    async def alarm(self, login: str, what: str) -> None:
        """Tell the admin, by mail and in the log."""
        log.event("trouble", what=what, remedy="give the login a new password if its owner does not know why")
        answer = self.router.resolve(b"postmaster")
        if isinstance(answer, Outcome):
            return
        now = clock.now()
        envelope = Envelope(b"", answer, self.intake.ids.new(now))
        try:
            draft = self.intake.draft(envelope)
            draft.write(submission.alarm(self.host, login, what, now=now, id=envelope.id))
            await self.intake.submit(draft)
        except OSError as error:
            self.trouble(error)

    def trouble(self, error: OSError) -> Outcome:
        """What a client hears when the disk refused: always that it should try again."""
        if clock.tick() - self._troubled >= _TROUBLE_EVERY_S:
            self._troubled = clock.tick()
            log.event("trouble", what=f"cannot write in {INTAKE}", why=error.strerror or str(error),
                      remedy="the clients were told to try again; make room or mend the disk")
        return outcome.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else outcome.LOCAL_ERROR


def among(networks, address: str) -> bool:
    """Whether an address (text, not always one) is in one of these networks."""
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in network for network in networks)


def _resolver(given: settings.Settings) -> Resolver:
    import dns.asyncresolver                            # now: the first session would make all others wait for it
    import dns.reversename                              # noqa: F401
    return Resolver(given.host, server=given["dns.server"], timeout_s=given["dns.timeout"])
