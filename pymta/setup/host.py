"""host: the accounts and places of layout.py on a host: which are missing, and how they are made with or without systemd."""
from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess

from pymta import layout, tables
from pymta.accounts import VMAIL
from pymta.settings import Settings

_NOLOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
_VMAIL_HOME_MODE = 0o711


class Failed(Exception):
    """A command that makes accounts did not; the text says which, and what it said."""


def missing_accounts() -> list[str]:
    """Accounts or groups that are not there."""
    return [name for name in layout.ACCOUNTS if not _is_there(name)]


def _is_there(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name) and grp.getgrnam(name))
    except KeyError:
        return False


def way_to_make() -> str:
    """The program that makes accounts here; "" where there is none."""
    return next((name for name in ("systemd-sysusers", "useradd", "adduser") if shutil.which(name)), "")


def make_accounts(names: list[str], home: str) -> None:
    """home: of pymta-vmail.  Raises Failed."""
    way = way_to_make()
    if way == "systemd-sysusers":
        _run([way, "-"], tables.sysusers())
        return
    shell = next((path for path in _NOLOGIN if os.path.exists(path)), _NOLOGIN[-1])
    for name in names:
        about = f"pymta {layout.ACCOUNTS[name]}"
        lives = home if name == VMAIL else "/"
        if way == "useradd":
            group = ["--gid", name] if _has_group(name) else ["--user-group"]
            _run([way, "--system", *group, "--no-create-home", "--home-dir", lives, "--shell", shell, "--comment", about, name])
        elif way == "adduser":                          # busybox
            if not _has_group(name):
                _run(["addgroup", "-S", name])
            _run([way, "-S", "-D", "-H", "-h", lives, "-s", shell, "-G", name, "-g", about, name])
        else:
            raise Failed("no systemd-sysusers, useradd or adduser here; make the accounts by hand: " + " ".join(names))


def _has_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False


def _run(command: list[str], text: str = "") -> None:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from None
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")


def missing_places(settings: Settings) -> list[str]:
    """Directories of the table that are not there."""
    wanted = [layout.where(place, settings) for place in layout.PLACES if place.mode & 0o100]
    return [path for path in [*wanted, settings["local.virtual_home"]] if not os.path.isdir(path)]


def make_places(settings: Settings) -> None:
    """As root, with the accounts there.  What is there stays as it is, but for the spool, whose owners and modes are mended.  Raises OSError, KeyError."""
    layout.make_spool(settings["host.spool"], single_uid=False)
    for place in layout.ELSEWHERE:
        path = layout.where(place, settings)
        if place.mode & 0o100 and not os.path.isdir(path):
            os.makedirs(path)
            os.chown(path, pwd.getpwnam(place.owner).pw_uid, grp.getgrnam(place.group).gr_gid)
            os.chmod(path, place.mode)
    home = settings["local.virtual_home"]
    if not os.path.isdir(home):
        os.makedirs(home)
        if not settings["local.virtual_uid"]:
            entry = pwd.getpwnam(VMAIL)
            os.chown(home, entry.pw_uid, entry.pw_gid)
        os.chmod(home, _VMAIL_HOME_MODE)
