"""What a search ought to find: the same engine over messages of which nothing is kept, one after the other."""
from __future__ import annotations

from collections.abc import Sequence

from pymta.formats.searchtext import decode
from pymta.index import matching, textwork


def by_reading(messages: Sequence[tuple[int, bytes]], key: tuple) -> dict[int, int]:
    """{UID: relevancy} for messages given as (UID, octets)."""
    matcher = matching.of(key)
    found: dict[int, int] = {}
    some = ((uid, b"", lambda octets, data=data: data[:octets]) for uid, data in messages)
    for which, octets in textwork.blocks(some, matcher.wanted):
        decoded = decode(octets)
        assert decoded is not None
        for uid, score in matcher.find(which, decoded[0], octets[decoded[0].offset:]):
            found[uid] = max(score, found.get(uid, 0))
    return found
