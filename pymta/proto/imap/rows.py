"""rows: FETCH replies of many messages that differ in few places, made at one stroke: clients ask this of whole mailboxes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

from pymta.proto.imap.fetchitem import FetchItem

Rows = Callable[[Sequence[int], Sequence[Any], Sequence[bytes]], bytes]       # (numbers, messages, a text of each) -> the replies
_TEXTS = {"FLAGS": b"(%b)", "ENVELOPE": b"%b", "BODYSTRUCTURE": b"%b", "PREVIEW": b"%b"}


def plan(items: tuple[FetchItem, ...], *, uid: bool, word: bytes = b"FETCH") -> tuple[str, Rows] | None:
    """Where one text of each message, with its UID perhaps, is all that is asked: (which text, how to say it).  word: of the reply."""
    kinds = {item.kind for item in items}
    with_uid = uid or "UID" in kinds
    kinds.discard("UID")
    if len(kinds) != 1 or not kinds <= _TEXTS.keys():
        return None
    (kind,) = kinds
    return kind, of(kind, uid=with_uid, word=word)


def of(kind: str, *, uid: bool, word: bytes = b"FETCH") -> Rows:
    """How to say this one text, and the UID if uid."""
    row = b"* %%d %b (%b%b %b)\r\n" % (word, b"UID %d " if uid else b"", kind.encode(), _TEXTS[kind])

    def say(numbers: Sequence[int], messages: Sequence[Any], texts: Sequence[bytes]) -> bytes:
        columns = [numbers, [message.uid for message in messages], texts] if uid else [numbers, texts]
        said: list[Any] = [None] * (len(columns) * len(texts))
        for at, column in enumerate(columns):
            said[at::len(columns)] = column
        return row * len(texts) % tuple(said)
    return say
