"""disk: room for mail, and file systems that keep what was promised of them."""
from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from pymta.accounts import Accounts
from pymta.doctor.finding import NOTE, WARNING, Case, Finding, unseen
from pymta.formats.live import quiet

SUBJECT = "disk"
_INODES_MIN, _LOW = 1000, 0.05
_MOUNTS = "/proc/self/mountinfo"
_USERS_MAX = 1000
# what a file system does not do that the laws of queue and Maildir stand on
_GONE = ("tmpfs", "ramfs")
_NO_LINKS = ("vfat", "exfat", "msdos", "fuseblk", "ntfs", "ntfs3")
_SHARED = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs")


@dataclass(frozen=True, slots=True)
class Mount:
    top: str
    kind: str
    options: frozenset[str]


def look(case: Case) -> Iterator[Finding]:
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
            mounts = parse(file.read())
    except OSError as error:
        yield unseen(SUBJECT, _MOUNTS, error)
        mounts = []
    places = {case.spool: "the queue"}
    places.update(dict.fromkeys(_mail(case), "mailboxes"))
    seen: set[int] = set()
    devices: dict[str, set[int]] = {}
    for path, what in places.items():
        there = _existing(path)
        try:
            device = os.stat(there).st_dev
            devices.setdefault(what, set()).add(device)
            if device in seen:
                continue
            seen.add(device)
            room = os.statvfs(there)
        except OSError as error:
            yield unseen(SUBJECT, path, error)
            continue
        yield from judge_room(path, what, room, case.settings["queue.free_min"])
        yield from judge_mount(path, what, mount_of(os.path.realpath(there), mounts))
    if devices.get("mailboxes") and devices.get("the queue") and not devices["mailboxes"] & devices["the queue"]:
        yield Finding(SUBJECT, case.spool, "mailboxes lie on another file system, so mail is copied to them and not renamed",
                      "nothing need be done; on one file system delivery is quicker", NOTE)


def _mail(case: Case) -> Iterator[str]:
    """Where mailboxes lie: the parents of homes, each once."""
    yield case.settings["local.virtual_home"]
    try:
        for number, box in enumerate(Accounts(case.settings, quiet).users()):
            if number < _USERS_MAX:
                yield os.path.dirname(box.home)
    except OSError:
        return                                          # told with the configuration


def _existing(path: str) -> str:
    """path, or the nearest directory above it that is there."""
    while path not in ("/", "") and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path or "/"


# ---- judgements -------------------------------------------------------------------------------------------------------
def judge_room(path: str, what: str, room: os.statvfs_result, free_min_octets: int) -> Iterator[Finding]:
    free, all_ = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    if free < free_min_octets:
        yield Finding(SUBJECT, path, f"{_shown(free)} are free, less than queue.free_min ({_shown(free_min_octets)}), so new mail is put off",
                      "make room, or give it a bigger disk")
    elif free < 4 * free_min_octets or all_ and free < _LOW * all_:
        yield Finding(SUBJECT, path, f"only {_shown(free)} of {_shown(all_)} are free for {what}", "make room before it is full", WARNING)
    if room.f_files and room.f_favail < _INODES_MIN:
        yield Finding(SUBJECT, path, f"{room.f_favail} inodes are free, and each mail takes one", "remove files, or make the file system anew with more (mkfs -N)")
    elif room.f_files and room.f_favail < _LOW * room.f_files:
        yield Finding(SUBJECT, path, f"only {room.f_favail} of {room.f_files} inodes are free for {what}", "remove files before they are used up", WARNING)
    if room.f_flag & os.ST_RDONLY:
        yield Finding(SUBJECT, path, "its file system is mounted read-only", "see dmesg for the reason; check it and mount it again")


def judge_mount(path: str, what: str, mount: Mount | None) -> Iterator[Finding]:
    if mount is None:
        return
    where = f"{mount.top} ({mount.kind})"
    if mount.kind in _GONE:
        yield Finding(SUBJECT, path, f"{where} is in memory: {what} would not outlast the power", "put it on a disk")
    elif mount.kind in _NO_LINKS:
        yield Finding(SUBJECT, path, f"{where} knows no owners or links, without which mail is not safe", "put it on ext4, xfs or btrfs")
    elif mount.kind in _SHARED:
        yield Finding(SUBJECT, path, f"{where} is on another host: changes made there are not seen at once, and a rename may be done twice",
                      "put it on a disk of this host", WARNING)
    elif mount.kind == "overlay":
        yield Finding(SUBJECT, path, f"{where}: it goes with the container", "give the container a volume for it", WARNING)
    off = mount.options & {"nobarrier", "barrier=0"}
    if off:
        yield Finding(SUBJECT, path, f"{mount.top} is mounted with {', '.join(sorted(off))}: a power cut may lose mail that was acknowledged", "mount it without that")


def _shown(octets: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets} octets"


# ---- /proc/self/mountinfo (proc(5)) -----------------------------------------------------------------------------------
def parse(text: str) -> list[Mount]:
    """Lines that do not read as proc(5) says are left out."""
    out = []
    for line in text.split("\n"):
        head, dash, tail = line.partition(" - ")
        fields, kinds = head.split(" "), tail.split(" ")
        if dash and len(fields) >= 6 and len(kinds) >= 3:
            out.append(Mount(_plain(fields[4]), kinds[0], frozenset(fields[5].split(",") + kinds[2].split(","))))
    return out


def _plain(path: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def mount_of(path: str, mounts: list[Mount]) -> Mount | None:
    """The mount that path lies on: the deepest, and of several on one point the last."""
    best: Mount | None = None
    for mount in mounts:
        if (path == mount.top or path.startswith(mount.top.rstrip("/") + "/")) and (best is None or len(mount.top) >= len(best.top)):
            best = mount
    return best
