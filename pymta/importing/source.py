"""source: the files of the system that is left, read as they are asked for.

A Source gives octets by absolute path: of a disk below a root directory, or (tests) out of a dictionary.
"""
from __future__ import annotations

import os
import stat
from collections.abc import Iterator

FILE_MAX_OCTETS = 64 << 20
NAMES_MAX = 100_000


class Source:
    """root: where "/" of that system lies.  unreadable: path -> why, of what was asked for and is there."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}

    def read(self, path: str) -> bytes | None:
        """A plain file's octets; None if it is not there or cannot be read."""
        try:
            fd = os.open(self._real(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            self.unreadable[path] = getattr(error, "strerror", None) or str(error)
            return None
        with open(fd, "rb") as file:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > FILE_MAX_OCTETS:
                self.unreadable[path] = "no plain file" if not stat.S_ISREG(facts.st_mode) else "too big"
                return None
            try:
                return file.read(FILE_MAX_OCTETS)
            except OSError as error:
                self.unreadable[path] = error.strerror or str(error)
                return None

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none if there is no such directory."""
        try:
            return sorted(os.listdir(self._real(path)))[:NAMES_MAX]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as error:
            self.unreadable[path] = getattr(error, "strerror", None) or str(error)
            return []

    def has(self, path: str) -> bool:
        """Whether there is something at path."""
        try:
            return os.path.exists(self._real(path))
        except ValueError:
            return False

    def _real(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))


def text(data: bytes | None) -> str:
    """A file's text; octets that are not UTF-8 pass through."""
    return (data or b"").decode("utf-8", "surrogateescape").removeprefix("\ufeff").replace("\r\n", "\n")


def system_users(source: Source) -> Iterator[tuple[str, int, str]]:
    """(name, uid, home) of /etc/passwd."""
    for line in text(source.read("/etc/passwd")).split("\n"):
        fields = line.split(":")
        if len(fields) >= 7 and fields[2].isascii() and fields[2].isdigit() and len(fields[2]) < 11:
            yield fields[0], int(fields[2]), fields[5]
