"""whose: the Maildir that a user's name, or a path, means; and becoming its owner before anything in it is touched."""
from __future__ import annotations

import os
import pwd

from pymta import privs, settings
from pymta.accounts import Accounts, Trouble
from pymta.formats.live import quiet


class Refused(Exception):
    """What was asked cannot be done; status is the exit status, the text says why and what would work."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def maildir(name: str, etc: str) -> str:
    """The absolute path of the Maildir of a user, or of the one given by a path (which holds a slash).  From here on this process is its
    owner, where it was root.  Raises Refused, OSError."""
    path = os.path.abspath(name) if "/" in name or name in (".", "..") else _of_user(name, etc)
    try:
        status = os.stat(path)
        os.stat(os.path.join(path, "cur"))
    except FileNotFoundError:
        raise Refused(66, f"{path}: no Maildir; a Maildir has a directory cur") from None
    if privs.is_root() and status.st_uid != 0:          # a link that the user puts there must lead nowhere that is not theirs
        privs.become(status.st_uid, _group(status.st_uid, status.st_gid))
    return os.path.realpath(path)


def _of_user(name: str, etc: str) -> str:
    try:
        mailbox = Accounts(settings.read(etc), quiet).login(name)
    except Trouble as trouble:
        raise Refused(78, str(trouble)) from None
    if mailbox is None:
        raise Refused(67, f"{name}: no such user; give the full address, or the path of a Maildir (with a slash in it)")
    return mailbox.maildir


def _group(uid: int, gid: int) -> int:
    if gid:
        return gid
    try:
        return pwd.getpwuid(uid).pw_gid or uid
    except KeyError:
        return uid
