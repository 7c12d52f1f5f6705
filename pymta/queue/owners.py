"""owners: mail that nobody owned, released from hold/: who owns it by now?

What root, postmaster and their kin get while nobody is named to read it has the note Pymta-Hold, and pymta-local sends it back to hold/.
When the admin has named somebody and releases it, its recipient is looked up again: a copy for those found takes the debt over, as
handover.py says.  Nothing is looked up for mail that is not held, so the fast path knows nothing of this.
"""
from __future__ import annotations

import os
from collections.abc import Callable

from pymta import clock
from pymta.formats.queuefile import Envelope, Ids, Recipient, Record
from pymta.outcome import Outcome
from pymta.queue import wishes
from pymta.queue.handover import Handover, hand_over
from pymta.queue.intake import Draft
from pymta.queue.message import Message
from pymta.routing import HOLD

_ORIGINAL = b"Original-Recipient"


def find(router, path: str, message: Message, held: list[int], ids: Ids, published: Callable[[list[str]], None]) -> bool:
    """Give the recipients with these numbers to whoever reads their mail now.  False if that is still nobody for one of them, or the
    disk refuses: then nothing has been done that a repeat would do twice."""
    final: dict[tuple[bytes, bytes], Recipient] = {(one.kind, one.address): one for number, one in enumerate(message.envelope.recipients)
                                                   if number not in held}      # who gets it anyway
    known = len(final)
    moved = [number for number in held if _owners(router, message, message.envelope.recipients[number], final)]
    if moved:
        attempt, now = message.attempts, clock.now()
        envelope = Envelope(message.envelope.sender, list(final.values())[known:], ids.new(now),
                            {**message.envelope.facts, "src": f"record:{os.path.basename(path)}:{attempt}:moved"})
        records = [Record(attempt, int(now), number, "moved", "-", envelope.id) for number in moved]
        drafts = []
        if envelope.recipients:                         # else all of them have had it already
            drafts.append(Draft("in/qrun", envelope))
            drafts[0].write_all(message.chunks())
        hand_over([Handover(drafts, lambda: message.append(records, sync=True), published, source=path)])
    return not set(held) & set(message.owed)


def _owners(router, message: Message, recipient: Recipient, final: dict[tuple[bytes, bytes], Recipient]) -> bool:
    """Add to final who has the mail for recipient now; whether there is anybody."""
    if HOLD not in dict(recipient.notes):
        return False
    answer = router.resolve(recipient.address, sender=message.envelope.sender)
    if isinstance(answer, Outcome) or any(HOLD in dict(one.notes) for one in answer):
        return False
    kept = [note for note in recipient.notes if note[0] != HOLD]
    if len(answer) > 1:                                 # one receipt for each would be news of people the sender did not write to
        kept = [(name, wishes.without_success(value) if name == wishes.NOTIFY else value) for name, value in kept]
    for one in answer:
        own = [] if _ORIGINAL in dict(kept) else [note for note in one.notes if note[0] == _ORIGINAL]
        final.setdefault((one.kind, one.address), Recipient(one.kind, one.address, (*own, *kept)))
    return True
