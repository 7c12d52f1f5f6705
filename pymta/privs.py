"""privs: give up rights.  The only caller of setuid, setgid, setgroups and prctl.

Nobody gains rights in pymta: a program starts as root or as itself, and each of its processes becomes, as its first act, the
one account it needs.  After `become` there is no way back.
"""
from __future__ import annotations

import ctypes
import os
import pwd
import signal

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38


def is_root() -> bool:
    return os.geteuid() == 0


def become(uid: int, gid: int, groups: tuple[int, ...] = ()) -> None:
    """Be this user from now on, with no other rights.  Raises PermissionError where that cannot be, ValueError for uid 0."""
    if uid == 0 or gid == 0 or 0 in groups:
        raise ValueError("refusing to work as root")
    if os.geteuid() == uid and os.getuid() == uid:
        return
    os.setgroups(list(groups) or [gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    os.umask(0o077)


def become_account(name: str) -> None:
    """Be a system account where we are root; where we are not, stay who we are (the sandbox has one uid for all).

    An empty name changes nothing.  Raises KeyError, its text naming the remedy, if there is no such account.
    """
    if not is_root() or not name:
        return
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise KeyError(f"no account {name}; make the accounts with systemd-sysusers or useradd, see pymta(7)") from None
    become(account.pw_uid, account.pw_gid, tuple(os.getgrouplist(name, account.pw_gid)))


def die_with_parent(parent: int, sig: int = signal.SIGKILL) -> None:
    """Let the kernel end this process when its parent (whose pid that was before the fork) ends.  Forgotten by a setuid:
    call it after `become`."""
    _prctl(_PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets away.  Kept over exec."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
