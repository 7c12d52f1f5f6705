"""durable: create, append, commit, replace, remove.  The only caller of fsync, fdatasync, syncfs, link, rename and unlink.

What is on disk changes here and nowhere else, so that one recording of this module's calls is the whole truth about
what a power cut can leave behind (tests/crash builds every such tree), and one failing call here is a full disk.

    name       what it makes durable
    ---------  ---------------------------------------------------------------------------------------------
    sync_file  the data of one file, not its name
    sync_dir   the names in one directory: what was created, linked, renamed in or out, or unlinked before
    sync_fs    everything written before on the file system that holds a path, whoever wrote it

Nothing else is durable: a rename that no sync_dir follows may be undone by a power cut (but is never half done).
A failed sync is an OSError and is never retried here: the kernel may have dropped the pages and call the next one good.

Every function takes paths as str or bytes; relative ones are relative to the working directory (the daemons work in the
spool).  `tap`, when set by a test, is called before each change with its name and arguments; it may raise OSError.
"""
from __future__ import annotations

import errno
import os

TYPE_CHECKING = False                                   # pymta-inject cannot afford to import typing or ctypes
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

Path = str | bytes

tap: Callable[..., None] | None = None

_GET_FLAGS, _SET_FLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000          # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_TOPDIR_FL
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class File:
    """One new file being written: `write`, perhaps `rewrite`, perhaps `sync`, then `close`.

    path must not exist (FileExistsError).  mode is set exactly when umask would take bits away from it.
    """

    __slots__ = ("path", "fd", "size_octets")

    def __init__(self, path: Path, mode: int = 0o600, *, exact: bool = False) -> None:
        if tap:
            tap("create", path, mode)
        self.path = path
        self.fd = os.open(path, _NEW, mode)
        if exact and os.fstat(self.fd).st_mode & 0o7777 != mode:
            os.fchmod(self.fd, mode)                    # costs a journal entry, so only where the umask has taken something away
        self.size_octets = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append data.  OSError (ENOSPC, EDQUOT, EIO) leaves the file short: discard it."""
        if tap:
            tap("write", self.path, self.size_octets, data)
        done = os.write(self.fd, data)
        while done < len(data):
            done += os.write(self.fd, memoryview(data)[done:])
        self.size_octets += done

    def rewrite(self, offset: int, data: bytes) -> None:
        """Write data over what already stands at offset: for a field whose value is known only at the end."""
        if tap:
            tap("write", self.path, offset, data)
        if os.pwrite(self.fd, data, offset) != len(data):
            raise OSError(errno.ENOSPC, "short write", self.path)

    def sync(self) -> None:
        if tap:
            tap("sync_file", self.path)
        os.fdatasync(self.fd)

    def start_sync(self) -> None:
        """Let the disk begin with the data, without waiting: a sync of several files then costs little more than one.  Makes
        nothing durable, and fails silently where the system has no such call."""
        _c().sync_file_range(self.fd, 0, 0, 2)          # SYNC_FILE_RANGE_WRITE

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def discard(self) -> None:
        """Close and remove the file, if it can be removed."""
        self.close()
        try:
            unlink(self.path)
        except OSError:
            pass


def create(path: Path, data: bytes, mode: int = 0o600, *, sync: bool = True, exact: bool = False) -> None:
    """Make a new file holding data (its data durable if sync, its name not yet).  On any error nothing is left."""
    file = File(path, mode, exact=exact)
    try:
        file.write(data)
        if sync:
            file.sync()
    except BaseException:
        file.discard()
        raise
    file.close()


def replace(path: Path, data: bytes, mode: int = 0o600, *, exact: bool = True) -> None:
    """Put data at path at one stroke: a reader, and a power cut, sees the old file or the new one.  Durable on return."""
    temporary = path + b".tmp%d" % os.getpid() if isinstance(path, bytes) else f"{path}.tmp{os.getpid()}"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    create(temporary, data, mode, exact=exact)
    try:
        rename(temporary, path)
    except BaseException:
        unlink(temporary)
        raise
    sync_dir(os.path.dirname(path) or (b"." if isinstance(path, bytes) else "."))


def append(path: Path, data: bytes, *, sync: bool = True) -> None:
    """Add data at the end of an existing file in one write; durable on return if sync.  A cut may leave part of data."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if tap:
            tap("append", path, data)
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, "short write", path)
        if sync:
            if tap:
                tap("sync_file", path)
            os.fdatasync(fd)
    finally:
        os.close(fd)


def truncate(path: Path, size_octets: int) -> None:
    """Cut a file down to size_octets."""
    if tap:
        tap("truncate", path, size_octets)
    os.truncate(path, size_octets)


def rename(old: Path, new: Path) -> None:
    """Move a name.  Atomic; an existing new is replaced.  Not durable until sync_dir of both directories."""
    if tap:
        tap("rename", old, new)
    os.rename(old, new)


def link(old: Path, new: Path) -> None:
    """Give a file a second name (FileExistsError if taken)."""
    if tap:
        tap("link", old, new)
    os.link(old, new, follow_symlinks=False)


def unlink(path: Path) -> None:
    if tap:
        tap("unlink", path)
    os.unlink(path)


def unlink_if_there(path: Path) -> bool:
    """Remove a name; False if there was none."""
    try:
        unlink(path)
    except FileNotFoundError:
        return False
    return True


def mkdir(path: Path, mode: int = 0o700, *, exact: bool = False) -> bool:
    """Make a directory; False if it is there already.  exact: give it this mode whatever the umask."""
    if tap:
        tap("mkdir", path, mode)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return False
    if exact:
        os.chmod(path, mode)
    return True


def spread_subdirectories(path: Path) -> None:
    """Let the directories made below path from now on lie far apart on the disk, where the file system knows how (ext4)."""
    import fcntl
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags = int.from_bytes(fcntl.ioctl(fd, _GET_FLAGS, bytes(8)), "little")
        fcntl.ioctl(fd, _SET_FLAGS, (flags | _TOPDIR).to_bytes(8, "little"))
    except OSError:
        pass                                            # it is for speed only
    finally:
        os.close(fd)


def rmdir(path: Path) -> bool:
    """Remove a directory if it is empty; False if it is not, or is not there."""
    if tap:
        tap("rmdir", path)
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.ENOENT, errno.EEXIST):
            return False
        raise
    return True


def sync_file(path: Path) -> None:
    """Make the data of an existing file durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if tap:
            tap("sync_file", path)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def sync_dir(path: Path) -> None:
    """Make the names of a directory durable, as they are when this is called."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if tap:
            tap("sync_dir", path)
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_dirs(paths: Iterable[Path]) -> None:
    """sync_dir for each different path."""
    for path in dict.fromkeys(paths):
        sync_dir(path)


_libc: Any = None


def _c() -> Any:
    global _libc
    if _libc is None:
        import ctypes                                   # not at the top: pymta-inject has no time for it
        _libc = ctypes.CDLL(None, use_errno=True)
        _libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return _libc


def sync_fs(path: Path) -> None:
    """Make everything written before on path's file system durable.  Errors of the write-back are reported since Linux 5.8."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if tap:
            tap("sync_fs", path)
        if _c().syncfs(fd) != 0:
            import ctypes
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
