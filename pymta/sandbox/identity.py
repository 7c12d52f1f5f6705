"""identity: as whom the sandbox runs.

Started as root it becomes the owner of DIR, or nobody (who is then given DIR); started by anybody else it stays who it is.
There is no way to run it as root: nothing of pymta delivers mail as uid 0.
"""
from __future__ import annotations

import os
import pwd
import sys

from pymta import privs

OURS = ("bin", "etc", "home", "log", "run", "spool")   # what the sandbox makes below DIR; it touches nothing else there


class Unreadable(Exception):
    """The uid we became cannot read something it needs; the text names the folder and the remedy."""


def settle(directory: str) -> None:
    """Make directory where it is missing, and be who may work there.  Raises OSError, Unreadable."""
    os.makedirs(directory, exist_ok=True)
    if privs.is_root():
        uid, gid = _who(directory)
        _give(directory, uid, gid)
        privs.become(uid, gid)
    os.umask(0o022)
    _check(directory)


def _who(directory: str) -> tuple[int, int]:
    """(uid, gid) to run as: neither is 0."""
    facts = os.stat(directory)
    if facts.st_uid == 0:
        try:
            nobody = pwd.getpwnam("nobody")
            return nobody.pw_uid or 65534, nobody.pw_gid or 65534
        except KeyError:
            return 65534, 65534
    try:
        gid = pwd.getpwuid(facts.st_uid).pw_gid
    except KeyError:
        gid = facts.st_gid
    return facts.st_uid, gid or facts.st_gid or 65534


def _give(directory: str, uid: int, gid: int) -> None:
    """Let directory, and what an earlier run left there, belong to uid.  lost+found and other strangers are left alone."""
    if os.stat(directory).st_uid != uid:
        os.chown(directory, uid, gid)
    pending = [os.path.join(directory, name) for name in OURS]
    while pending:
        path = pending.pop()
        if os.path.basename(path) == "lost+found":      # of a file system of its own
            continue
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            continue
        if facts.st_uid != uid:
            os.chown(path, uid, gid, follow_symlinks=False)
        if os.path.isdir(path) and not os.path.islink(path):
            with os.scandir(path) as entries:
                pending += [entry.path for entry in entries
                            if entry.is_dir(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_uid != uid]


def _check(directory: str) -> None:
    """Raise Unreadable where this process, started anew, could not read its code or reach its directory."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    needed = {"the code of pymta": [package, *_files(package)], "the directory": [directory],
              "Python": [sys.executable, os.path.dirname(os.__file__), *filter(os.path.exists, sys.path)]}
    for what, paths in needed.items():
        for path in paths:
            blocked = _blocked(path)
            if blocked:
                raise Unreadable(f"uid {os.geteuid()} cannot read {blocked} ({what}); give everybody the right "
                                 f"(chmod o+rX {blocked}), or give DIR to a user who can read it")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise Unreadable(f"uid {os.geteuid()} cannot write in {directory}; give it to that uid, or choose another DIR")


def _files(package: str) -> list[str]:
    return [os.path.join(top, name) for top, _, names in os.walk(package) for name in names if name.endswith(".py")]


def _blocked(path: str) -> str:
    """The first folder or file on the way to path that cannot be passed or read, or an empty text."""
    path = os.path.abspath(path)
    for at in (i for i, c in enumerate(path + "/") if c == "/"):
        part = path[:at] or "/"
        if part != path and not os.access(part, os.X_OK):
            return part
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        return path
    real = os.path.realpath(path)
    return _blocked(real) if real != path else ""
