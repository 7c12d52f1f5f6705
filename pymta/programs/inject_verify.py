"""inject_verify: `sendmail -bv`, where mail for an address would go."""
from __future__ import annotations

import sys

from pymta import settings
from pymta.formats import queuefile
from pymta.outcome import Outcome
from pymta.programs import inject
from pymta.routing import Router

_WAYS = {queuefile.LOCAL: "mailbox", queuefile.REMOTE: "relayed to"}


def verify(etc: str, words: list[bytes]) -> int:
    """One line or more for each address.  Returns 0, or the exit status of the worst of those that cannot be reached."""
    if not words:
        raise inject.Refused(inject.USAGE, "-bv: no address to verify")
    values = settings.read(etc)
    router = Router(values)
    worst = 0
    for word in words:
        for address in inject.every_address(word, values.host.encode("utf-8"), "-bv"):
            answer = router.resolve(address)
            if isinstance(answer, Outcome):
                _say(address, f"undeliverable: {answer.status} {answer.text}")
                worst = max(worst, answer.exit)
            else:
                for recipient in answer:
                    _say(address, f"deliverable: {_WAYS[recipient.kind]} <{recipient.address.decode('utf-8', 'replace')}>")
    return worst


def _say(address: bytes, text: str) -> None:
    line = f"{address.decode('utf-8', 'replace')}... {text}"
    sys.stdout.write("".join(c if c.isprintable() else "?" for c in line) + "\n")
