"""returns: the messages that tell a sender what became of a mail, as drafts of the runner's own intake."""
from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import NamedTuple

from pymta import clock, log, outcome
from pymta.formats import report
from pymta.formats.queuefile import LOCAL, Envelope, Ids, Recipient, birth, Record
from pymta.message import address, dsn
from pymta.outcome import Outcome
from pymta.queue import wishes
from pymta.queue.intake import Draft
from pymta.queue.message import Message, shown
from pymta.settings import Settings

_WANTED = {"failed": "FAILURE", "delayed": "DELAY"}     # what the sender must wish to hear; else SUCCESS
_EXPANDED = outcome.DELIVERED.because("the address stands for several, and the message goes to them")
_WORDS = {"failed": "bounce", "delayed": "defer"}


class News(NamedTuple):
    """What became of one recipient.  action: one of dsn.ACTIONS."""

    recipient: Recipient
    ending: Outcome
    action: str = "failed"


class Returns:
    """router: routing.Router, for the way back."""

    def __init__(self, settings: Settings, router, ids: Ids) -> None:
        self.settings = settings
        self.router = router
        self.ids = ids

    def drafts(self, message: Message, news: list[News], source: str, id: str, *, until: float | None = None) -> list[Draft]:
        """A draft of the message that tells the sender what became of these recipients; none for a null reverse-path, and none for
        those of whom the sender wants to hear nothing.

        source: what the draft takes over, for its src= fact; id: of the message that failed, for the log; until: the message is
        only late and will be tried until then.  Raises OSError while it cannot be told where the sender's mail goes.
        """
        sender = message.envelope.sender
        for each in news:
            log.event(_WORDS.get(each.action, "receipt"), id=id, rcpt=f"<{shown(each.recipient.address)}>", status=each.ending.status,
                      why=each.ending.text)
        news = [each for each in news if wishes.wants(each.recipient, _WANTED.get(each.action, "SUCCESS"))]
        if not sender or not news:
            return []
        answer = self.router.resolve(sender)
        if isinstance(answer, Outcome) and answer.temporary:
            raise OSError(errno.EAGAIN, f"{shown(sender)}: {answer.text}")
        new_id = self.ids.new(clock.now())
        to = address.ascii_form(sender)
        facts = {"src": source} if to.isascii() else {"src": source, "utf8": "1"}
        if isinstance(answer, Outcome):                 # nobody to tell: it is kept for the admin to see
            envelope = Envelope(b"", [Recipient(LOCAL, b"postmaster@" + self.settings.host.encode("ascii", "replace"),
                                                ((b"Pymta-Hold", b"the sender of the bounced message does not exist"),))], new_id, facts)
        else:
            envelope = Envelope(b"", list(answer), new_id, facts)
        draft = Draft("in/qrun", envelope)
        fates = [_fate(each, until) for each in news]
        original = message.start(dsn.RETURN_MAX_OCTETS + 1)
        draft.write(dsn.compose(fates, now=clock.now(), host=self.settings.host, id=new_id, sender=to, original=original,
                                whole=len(original) <= dsn.RETURN_MAX_OCTETS, original_id=message.id, arrival=birth(message.id),
                                envid=dsn.xtext_decode(message.envelope.facts.get("envid", "")), ret=message.envelope.facts.get("ret", "")))
        return [draft]


def successes(message: Message, records: list[Record], actions: Mapping[int, str]) -> list[News]:
    """The news of these records, each about a recipient who has the message and of whom the sender wants to hear.  actions: number -> how
    he has it.  The targets of an alias are one piece of news together."""
    several = wishes.expanded(message.envelope)
    return expansions(message, records) + [
        News(message.envelope.recipients[r.recipient], Outcome(250, r.status, 0, r.text), actions[r.recipient])
        for r in records if r.recipient is not None and r.recipient not in several]


def expansions(message: Message, records: list[Record]) -> list[News]:
    """One piece of news for each alias with several targets of which these records are the first to tell that a target is settled well
    (RFC 3461 §5.2.7.3 c)."""
    several = wishes.expanded(message.envelope)
    told = {_group(several, record) for record in message.records if record.word in ("delivered", "moved")}
    out = []
    for group in dict.fromkeys(_group(several, record) for record in records):
        if group and group not in told:
            alias = message.envelope.recipients[group[0]]
            out.append(News(Recipient(alias.kind, alias.original, alias.notes), _EXPANDED, "expanded"))
    return out


def _group(several: dict[int, tuple[int, ...]], record: Record) -> tuple[int, ...]:
    return () if record.recipient is None else several.get(record.recipient, ())


def _fate(news: News, until: float | None) -> dsn.Fate:
    recipient, ending, action = news
    host, text, said = report.reply(ending.text)
    if ":" in host or host.replace(".", "").isdigit():  # an admin's transport names it by its address
        host = f"[{host}]"
    return dsn.Fate(recipient.address, action, ending.status, text, original=recipient.original if recipient.original != recipient.address else b"",
                    remote=host, smtp=said, last_attempt=clock.now(), retry_until=until, orcpt=wishes.original(recipient))
