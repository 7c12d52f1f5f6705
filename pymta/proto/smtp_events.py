"""smtp_events: what smtp_server tells the program, and what a session may ask for."""
from __future__ import annotations

from dataclasses import dataclass, field

from pymta.message.address import Path
from pymta.outcome import Outcome
from pymta.proto import sasl
from pymta.proto.smtp_params import Wishes


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may ask for."""

    size_octets: int = 50 << 20         # of a message, as RFC 1870 counts
    recipients: int = 1000              # accepted ones in one transaction
    errors: int = 20                    # refused commands since the last accepted message
    line_octets: int = 2048             # of a command line with its CRLF; RFC 5321 §4.5.3.1.4 wants 512, extensions more
    line_octets_max: int = 16384        # of any line, those of AUTH included; beyond it the session is closed
    gather_octets: int = 256 << 10      # a text up to this size comes in one piece
    mails: int = 0                      # MAIL commands in one session; 0: any number


# ---- events (mutable only because frozen ones take three times as long to make) ---------------------------------------
@dataclass(slots=True)
class Hello:
    """HELO, EHLO or LHLO; name: as the peer wrote it, printable ASCII."""

    verb: bytes
    name: bytes


@dataclass(slots=True)
class Sender:
    """MAIL.  size_octets: what SIZE= promised, or 0; parameters: keyword in upper case -> value; wishes: what they mean."""

    path: Path
    size_octets: int = 0
    parameters: dict[bytes, bytes] = field(default_factory=dict)
    wishes: Wishes | None = None


@dataclass(slots=True)
class Recipient:
    """RCPT.  notes: what the parameters mean, as (name, value) for the queue file."""

    path: Path
    parameters: dict[bytes, bytes] = field(default_factory=dict)
    notes: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Content:
    """The text of the message so far (lines ended by LF); only for texts longer than Limits.gather_octets."""

    text: bytes


@dataclass(slots=True)
class EndOfData:
    """The rest of the text, or all of it.  size_octets: of the whole, as RFC 1870 counts."""

    text: bytes
    size_octets: int


@dataclass(slots=True)
class Forgotten:
    """RSET after a part of a text (BDAT): the text is void."""


@dataclass(slots=True)
class XClient:
    """A front end names its client; attributes as of xclient.parse.  Answered with OK: the session begins again."""

    attributes: dict[bytes, str]


@dataclass(slots=True)
class StartTls:
    """Answered with OK: send what take() gives, shake hands, then call secured()."""


@dataclass(slots=True)
class Login:
    """A name and a password to be checked."""

    mechanism: bytes
    credentials: sasl.Credentials


@dataclass(slots=True)
class Refused:
    """The engine itself refused this command (verb only); a text that had begun is void."""

    verb: bytes
    outcome: Outcome


@dataclass(slots=True)
class Close:
    """The session is over: send what take() gives and close.  why: empty after QUIT."""

    why: str = ""


Event = Hello | Sender | Recipient | Content | EndOfData | Forgotten | XClient | StartTls | Login | Refused | Close
