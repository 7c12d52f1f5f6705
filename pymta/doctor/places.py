"""places: accounts, and owner and rights of every place of layout.PLACES and of every mailbox."""
from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator

from pymta import layout
from pymta.accounts import Accounts, Trouble
from pymta.doctor import systemd
from pymta.doctor.finding import NOTE, WARNING, Case, Finding, unseen
from pymta.formats.live import quiet
from pymta.formats.queuefile import SHARDS

SUBJECT = "places"
_MAILBOXES_MAX = 1000
_WRITERS = ("pymta-local.service", "pymta-imapd.service", "pymta-pop3d.service")
_MAKE = "run pymta-setup as root, or systemd-tmpfiles --create"


def look(case: Case) -> Iterator[Finding]:
    if case.one_owner is None:
        yield from _accounts()
    closed: list[str] = []
    missing: list[str] = []
    for place in layout.PLACES:
        path = layout.where(place, case.settings)
        for each in [path, *(f"{path}/{name}" for name in SHARDS if place.spread)]:
            if not any(each.startswith(f"{top}/") for top in closed + missing):
                yield from _place(case, place, each, closed, missing)
    for path in closed:
        yield Finding(SUBJECT, path, "what lies in it may not be looked at by this user", "run pymta-doctor as root", NOTE)
    try:
        layout.check_format(case.spool)
    except layout.Newer as newer:
        yield Finding(SUBJECT, case.spool, str(newer), "install the newer pymta again, or ask pymta(7) what it takes to go back")
    except OSError:
        pass                                            # told with the places
    yield from _mailboxes(case)


# ---- accounts ---------------------------------------------------------------------------------------------------------
def _accounts() -> Iterator[Finding]:
    for name, what in layout.ACCOUNTS.items():
        try:
            entry = pwd.getpwnam(name)
            grp.getgrnam(name)
        except KeyError:
            yield Finding(SUBJECT, name, f"there is no such account or group, and it {what}", "run pymta-setup as root, or systemd-sysusers")
            continue
        if entry.pw_uid == 0 or entry.pw_gid == 0:
            yield Finding(SUBJECT, name, "it is root, so nothing is kept from who breaks into it", f"give {name} a uid and gid of its own")


# ---- the table --------------------------------------------------------------------------------------------------------
def _place(case: Case, place: layout.Place, path: str, closed: list[str], missing: list[str]) -> Iterator[Finding]:
    try:
        facts = os.stat(path) if place.path.startswith("{etc}") else os.lstat(path)
    except FileNotFoundError:
        if not place.path.startswith("{"):
            missing.append(path)
            yield Finding(SUBJECT, path, f"it is missing ({place.doc})", _MAKE)
        return
    except PermissionError:
        closed.append(os.path.dirname(path))
        return
    except OSError as error:
        yield unseen(SUBJECT, path, error)
        return
    is_directory = bool(place.mode & 0o100)
    if is_directory and not stat.S_ISDIR(facts.st_mode):
        yield Finding(SUBJECT, path, "it is no directory", f"move it away; {_MAKE}")
        return
    yield from _owner(case, place, path, facts)
    yield from _mode(place, path, stat.S_IMODE(facts.st_mode), place.path.startswith("{etc}"))


def _owner(case: Case, place: layout.Place, path: str, facts: os.stat_result) -> Iterator[Finding]:
    if case.one_owner is not None:
        if facts.st_uid not in (case.one_owner, 0):
            yield Finding(SUBJECT, path, f"it belongs to {_user(facts.st_uid)}, all else to {_user(case.one_owner)}",
                          f"chown {_user(case.one_owner)} {path}")
        return
    try:
        wanted = pwd.getpwnam(place.owner).pw_uid, grp.getgrnam(place.group).gr_gid
    except KeyError:
        return                                          # told with the accounts
    if facts.st_uid != wanted[0] or facts.st_gid != wanted[1] and not place.path.startswith("{etc}"):
        yield Finding(SUBJECT, path, f"it belongs to {_user(facts.st_uid)}:{_group(facts.st_gid)}, not to {place.owner}:{place.group}",
                      f"chown {place.owner}:{place.group} {path}")


def _mode(place: layout.Place, path: str, mode: int, is_admins: bool) -> Iterator[Finding]:
    """An admin's file may be closed further, and group and others may read more, but for passwords; nobody may write more."""
    if mode == place.mode:
        return
    more = mode & ~place.mode
    if is_admins:
        if more & 0o022 or place.mode & 0o004 == 0 and more & 0o007:
            yield Finding(SUBJECT, path, f"its mode is {mode:04o}, which lets others in; the table says {place.mode:04o}", f"chmod {place.mode:o} {path}")
        elif place.mode & 0o004 and not mode & 0o004:
            yield Finding(SUBJECT, path, f"its mode is {mode:04o}, so the daemons cannot read it", f"chmod {place.mode:o} {path}")
        return
    said = "which lets others in" if more & 0o777 else "so some program cannot do its work"
    yield Finding(SUBJECT, path, f"its mode is {mode:04o}, {said}; the table says {place.mode:04o}", f"chmod {place.mode:o} {path}")


# ---- mailboxes --------------------------------------------------------------------------------------------------------
def _mailboxes(case: Case) -> Iterator[Finding]:
    accounts = Accounts(case.settings, quiet)
    yield from _virtual_home(case, accounts)
    try:
        boxes = list(accounts.users())
    except OSError as error:
        yield unseen(SUBJECT, error.filename or case.settings.etc, error)
        return
    if len(boxes) > _MAILBOXES_MAX:
        yield Finding(SUBJECT, f"{len(boxes)} mailboxes", f"only the first {_MAILBOXES_MAX} were looked at", "pymta-maildir check looks at any", NOTE)
    if case.systemd:
        yield from systemd.read_only(SUBJECT, _WRITERS, [*(box.home for box in boxes[:_MAILBOXES_MAX]), case.settings["local.virtual_home"]])
    closed = 0
    for box in boxes[:_MAILBOXES_MAX]:
        try:
            facts = os.stat(box.maildir)
        except FileNotFoundError:
            continue                                    # made at the first delivery
        except PermissionError:
            closed += 1
            continue
        except OSError as error:
            if isinstance(error, NotADirectoryError) and box.home.startswith(case.settings["local.virtual_home"].rstrip("/") + "/"):
                continue                                # told with that
            yield unseen(SUBJECT, box.maildir, error)
            continue
        mode = stat.S_IMODE(facts.st_mode)
        if not stat.S_ISDIR(facts.st_mode):
            yield Finding(SUBJECT, box.maildir, f"the mailbox of {box.address} is no directory", "move it away; it is made at the next delivery")
        elif facts.st_uid != box.uid:
            yield Finding(SUBJECT, box.maildir, f"it belongs to {_user(facts.st_uid)}, but {box.address} is {_user(box.uid)}, so no mail gets in",
                          f"chown -R {_user(box.uid)} {box.maildir}")
        elif mode & 0o002:
            yield Finding(SUBJECT, box.maildir, "everybody may write it", f"chmod 700 {box.maildir}")
        elif mode & 0o005:
            yield Finding(SUBJECT, box.maildir, "everybody may look into it", f"chmod 700 {box.maildir}", WARNING)
    if closed:
        yield Finding(SUBJECT, f"{closed} mailboxes", "may not be looked at by this user", "run pymta-doctor as root", NOTE)


def _virtual_home(case: Case, accounts: Accounts) -> Iterator[Finding]:
    """Where the mailboxes of virtual users lie; made with the first of them."""
    path = case.settings["local.virtual_home"]
    try:
        facts = os.stat(path)
        owner, _ = accounts.virtual_owner()
    except FileNotFoundError:
        return
    except Trouble:
        return                                          # told with the configuration
    except OSError as error:
        yield unseen(SUBJECT, path, error)
        return
    if not stat.S_ISDIR(facts.st_mode):
        yield Finding(SUBJECT, path, "it is no directory, so virtual users get no mail", f"move it away; {_MAKE}")
    elif facts.st_mode & 0o002:
        yield Finding(SUBJECT, path, "everybody may write it, and so take the place of a mailbox", f"chmod o-w {path}")
    elif facts.st_uid not in (0, owner):
        yield Finding(SUBJECT, path, f"it belongs to {_user(facts.st_uid)}, but mailboxes in it to {_user(owner)}", f"chown {_user(owner)} {path}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


