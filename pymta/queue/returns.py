"""returns: the messages that tell a sender what became of a mail, as drafts of the runner's own intake."""
from __future__ import annotations

import errno

from pymta import clock, log
from pymta.formats.queuefile import LOCAL, Envelope, Ids, Recipient
from pymta.message import dsn
from pymta.outcome import Outcome
from pymta.queue.intake import Draft
from pymta.queue.message import Message, shown
from pymta.settings import Settings


class Returns:
    """router: routing.Router, for the way back."""

    def __init__(self, settings: Settings, router, ids: Ids) -> None:
        self.settings = settings
        self.router = router
        self.ids = ids

    def drafts(self, message: Message, recipients: list[tuple[Recipient, Outcome]], source: str, id: str,
               *, until: float | None = None) -> list[Draft]:
        """A draft of the message that tells the sender what became of these recipients; none for a null reverse-path, and none for
        those of whom the sender wants to hear nothing.

        source: what the draft takes over, for its src= fact; id: of the message that failed, for the log; until: the message is
        only late and will be tried until then.  Raises OSError while it cannot be told where the sender's mail goes.
        """
        sender = message.envelope.sender
        for recipient, ending in recipients:
            log.event("bounce" if until is None else "defer", id=id, rcpt=f"<{shown(recipient.address)}>", status=ending.status, why=ending.text)
        wanted = "FAILURE" if until is None else "DELAY"
        recipients = [(recipient, ending) for recipient, ending in recipients if wants(recipient, wanted)]
        if not sender or not recipients:
            return []
        answer = self.router.resolve(sender)
        if isinstance(answer, Outcome) and answer.temporary:
            raise OSError(errno.EAGAIN, f"{shown(sender)}: {answer.text}")
        new_id = self.ids.new(clock.now())
        facts = {"src": source}
        if isinstance(answer, Outcome):                 # nobody to tell: it is kept for the admin to see
            envelope = Envelope(b"", [Recipient(LOCAL, b"postmaster@" + self.settings.host.encode("ascii", "replace"),
                                                ((b"Pymta-Hold", b"the sender of the bounced message does not exist"),))], new_id, facts)
        else:
            envelope = Envelope(b"", list(answer), new_id, facts)
        draft = Draft("in/qrun", envelope)
        fates = [dsn.Fate(r.address, "failed" if until is None else "delayed", ending.status, ending.text,
                          original=r.original if r.original != r.address else b"", last_attempt=clock.now(), retry_until=until,
                          smtp=ending.text[:1] in "45" and ending.text[3:4] in " -") for r, ending in recipients]
        original = message.start(dsn.RETURN_MAX_OCTETS + 1)
        draft.write(dsn.compose(fates, now=clock.now(), host=self.settings.host, id=new_id, sender=sender, original=original,
                                whole=len(original) <= dsn.RETURN_MAX_OCTETS, original_id=message.id, arrival=message.birth,
                                envid=dsn.xtext_decode(message.envelope.facts.get("envid", "")), ret=message.envelope.facts.get("ret", "")))
        return [draft]


def wants(recipient: Recipient, what: str) -> bool:
    """Whether the sender wants to hear this of a recipient (NOTIFY, RFC 3461 §4.1); without a wish: failures and delays."""
    wish = next((value for name, value in recipient.notes if name == b"Pymta-Notify"), b"FAILURE,DELAY")
    return what.encode() in wish.upper().split(b",")
