"""volume: ext4 file systems on a loop device whose image can be cloned at one point in time.

    XFS image (reflink=1), mounted ─▶ disk.img ─▶ loop device(s) ─▶ ext4, mounted, in use
                                         └ cp --reflink=always ─▶ the disk as it was at that moment

Why the clone is what a power cut leaves.  FICLONE takes the image's inode lock and mapping lock for itself, waits for direct writes under
way, writes out the image's dirty pages, and only then shares the extents; the loop device writes under the same inode lock.  So every write
that the device had completed is in the clone, whole, and none that it completed later: one point in time.  That holds with direct-io (no
page cache between, which is what we use: ext4's pages are not held twice) and without (the dirty pages are flushed by the clone itself).
What ext4 still had in memory, and what it had not yet handed to the device, is missing, as after a cut.

What it cannot show: a disk that loses what it has completed but was not told to flush.  Such a write is in the clone.  Against that
stand the barriers of ext4, not of ours; which sync calls are made and needed is enumerated in tests/crash.

Two file systems at different offsets of one image are cut at the same moment: so a spool on a volume of its own is tested.
ext4 is mounted with commit=60,noauto_da_alloc: nothing gets to the disk by the five-second timer or by a heuristic that mends careless programs.
"""
from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

MIB = 1 << 20
_XFS_OCTETS = 8192 * MIB                                # sparse
_OPTIONS = "commit=60,noauto_da_alloc"


def why_not() -> str:
    """Why this host cannot do it; "" where it can."""
    if os.geteuid() != 0:
        return "needs root, to mount"
    missing = [name for name in ("mkfs.xfs", "mkfs.ext4", "losetup", "mount", "umount") if not shutil.which(name)]
    if missing:
        return f"needs {', '.join(missing)}: install xfsprogs, e2fsprogs and mount"
    try:
        with Volumes():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        return f"this host mounts no XFS image on a loop device: {error} {said.decode('utf-8', 'replace').strip()}"


@dataclass(frozen=True)
class Part:
    """One file system of a disk: where it is mounted below the disk's directory, and how big it is."""

    below: str
    octets: int


class Volumes:
    """Where disks are made, cloned and mounted; at the end everything is unmounted and removed, whatever happened."""

    def __init__(self) -> None:
        self.top = ""
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> "Volumes":
        with contextlib.ExitStack() as ends:
            self.top = tempfile.mkdtemp(prefix="pymta-power-", dir=os.environ.get("PYMTA_POWER_DIR"))
            ends.callback(shutil.rmtree, self.top, ignore_errors=True)
            os.chmod(self.top, 0o755)
            image = f"{self.top}/xfs.img"
            _sparse(image, _XFS_OCTETS)
            _run("mkfs.xfs", "-q", "-m", "reflink=1", image)
            os.mkdir(f"{self.top}/xfs")
            device = _run("losetup", "--find", "--show", image).strip()
            ends.callback(_detach, device)
            _run("mount", "-t", "xfs", device, f"{self.top}/xfs")
            ends.callback(_unmount, f"{self.top}/xfs")
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def disk(self, name: str, parts: tuple[Part, ...]) -> str:
        """Make a disk of these parts; the path of its image."""
        image = f"{self.top}/xfs/{name}.img"
        _sparse(image, sum(part.octets for part in parts))
        for offset, part in _placed(parts):
            with _attached(image, offset, part) as device:
                _run("mkfs.ext4", "-q", "-F", "-i", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", device)
        return image

    def clone(self, image: str, name: str) -> str:
        """The disk as it is now."""
        path = f"{self.top}/xfs/{name}.img"
        _run("cp", "--reflink=always", image, path)
        return path

    def remove(self, image: str) -> None:
        os.unlink(image)

    @contextlib.contextmanager
    def mounted(self, image: str, parts: tuple[Part, ...]):
        """The directory where a disk is mounted, during the `with`."""
        top = tempfile.mkdtemp(prefix="disk-", dir=self.top)
        os.chmod(top, 0o755)
        with contextlib.ExitStack() as ends:
            ends.callback(os.rmdir, top)
            for offset, part in _placed(parts):
                device = ends.enter_context(_attached(image, offset, part))
                where = os.path.join(top, part.below).rstrip("/")
                os.makedirs(where, exist_ok=True)
                _run("mount", "-t", "ext4", "-o", _OPTIONS, device, where)
                ends.callback(_unmount, where)
            yield top


def _placed(parts: tuple[Part, ...]) -> list[tuple[int, Part]]:
    return [(sum(part.octets for part in parts[:number]), part) for number, part in enumerate(parts)]


@contextlib.contextmanager
def _attached(image: str, offset: int, part: Part):
    device = _run("losetup", "--find", "--show", "--direct-io=on", "--offset", str(offset), "--sizelimit", str(part.octets), image).strip()
    try:
        yield device
    finally:
        _detach(device)


def _sparse(path: str, octets: int) -> None:
    with open(path, "xb") as file:
        file.truncate(octets)


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True).stdout.decode()


def _detach(device: str) -> None:
    subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


def _unmount(where: str) -> None:
    """Away with it: a process that still works there gets five seconds."""
    for _ in range(50):
        if subprocess.run(["umount", where], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    subprocess.run(["umount", "--lazy", where], check=False, capture_output=True)
    raise AssertionError(f"{where} was still in use")
