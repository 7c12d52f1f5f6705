"""wants: what a session asks of its program, and what commands are made of."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Generator, NamedTuple, Protocol

from pymta.proto.imap.framing import Limits

OUT_HIGH_OCTETS = 1 << 16                               # a long answer is handed out in pieces of about this size


class Job(NamedTuple):
    """A call that may take its time."""

    run: Callable[[], Any]


class More:
    """There is more to say; send what take() gives first."""


class Close:
    """The conversation is over once take() has been sent."""


MORE, CLOSE = More(), Close()
Wants = Job | More | Close

# A command at work yields bytes (what it says), a Job (whose result comes back) or None (let others have a turn), and returns
# the tagged reply without its tag.
Running = Generator[Any, Any, bytes]


UID_REQUIRED = b"BAD [UIDREQUIRED] You said ENABLE UIDONLY: UIDs, please"      # RFC 9586 §3


class Refusal(Exception):
    """A command ends in NO or BAD.  text: bytes, beginning with that word."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class Tap(Protocol):
    """Hears both sides, in clear and before compression."""

    def client(self, data: bytes) -> None: ...
    def server(self, data: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Setting:
    """What a session is told by its program.

    explain: an exception of the store -> the text behind NO, None for a bug; now: the clock; wake: called, perhaps in
    another thread, when something can be told to an idling client: call poke() soon; expunged: mailbox name and how many
    messages a client had removed from it; without: the name a client says in ID -> the capabilities it is not offered, in upper case;
    who: the name a client says in ID -> what is written down of who did something; notify_mailboxes: how many a session may watch; tap: hears all that is said, where somebody wants to know.
    """

    limits: Limits
    explain: Callable[[BaseException], bytes | None]
    now: Callable[[], float]
    wake: Callable[[], None]
    expunged: Callable[[str, int], None] = lambda name, count: None
    tap: Tap | None = None
    without: Callable[[bytes], frozenset[bytes]] = lambda client: frozenset()
    notify_mailboxes: int = 1000
    who: Callable[[bytes], bytes] = lambda client: b""
