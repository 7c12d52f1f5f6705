"""replacing: one message takes the place of another.                                               RFC 8508 §3

The new one is stored as APPEND stores it, durable and told, and only then the old one goes: whatever is cut when, one of the two is there.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pymta.mailbox import actions, storing
from pymta.mailbox.message import Gone

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder


def replace(folder: Folder, uid: int, target: Folder, message: tuple[bytes, Iterable[str], float | None], by: object) -> int:
    """The UID of the new message in target.  Raises Gone where the old one is not there; what else fails leaves the old one alone."""
    folder.sync()
    if folder.get(uid) is None:
        raise Gone(f"{folder.name}: no message {uid}")
    new = storing.append_all(target, [message], by)
    try:
        actions.expunge(folder, [uid], by)
    except BaseException:
        if folder.get(uid) is not None:                 # else it has gone before the error, and the new one is all there is
            actions.expunge(target, new, by)
        raise
    return new[0]
