"""copying: what the index knows of messages that were copied or moved, it knows of the copies too."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymta.mailbox.folder import Folder

_AT_ONCE = 1000


def copy_known(folder: Folder, target: Folder, pairs: Sequence[tuple[int, int]]) -> None:
    """pairs: (UID in folder, UID in target), of messages that are in target now.  An index that cannot be written stays as it is."""
    for begin in range(0, len(pairs), _AT_ONCE):
        some = [(folder.contents.find(old), target.get(new)) for old, new in pairs[begin:begin + _AT_ONCE]]
        both = [(one, copy) for one, copy in some if one is not None and copy is not None]
        if packed := folder.index.copied([one for one, _ in both], [copy for _, copy in both]):
            target.index.add(packed, target.uidvalidity)
