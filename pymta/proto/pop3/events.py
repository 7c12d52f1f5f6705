"""events: what a POP3 session asks of the program."""
from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody says who they are.  Answer with logged_in or refused."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """The go-ahead stands in take().  Answer with secured once the handshake is done."""


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Message index is wanted: all of it, or with lines only its header and so many lines of its body.
    utf8: whether the client takes UTF-8 in its header; else it is to be given the surrogate of an internationalised message."""

    index: int
    lines: int | None
    utf8: bool = False


@dataclass(frozen=True, slots=True)
class Commit:
    """QUIT after the login: remove these messages (perhaps none) and let go of the drop.  Answer with committed."""

    indices: tuple[int, ...]


Event = Login | StartTls | Retrieve | Commit


class Refused(Exception):
    """A command is answered -ERR with this text (bytes)."""

    def __init__(self, text: bytes) -> None:
        self.text = text
