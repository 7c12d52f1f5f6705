"""outcome: every way a command or a delivery can end, once.

One row gives the SMTP reply, the enhanced status code (RFC 3463), the exit status (sysexits.h), the DSN action and the
log's status=.  Only three things are ever asked of an outcome: delivered, temporary, permanent.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Kind(Enum):
    DELIVERED = "delivered"
    TEMPORARY = "delayed"
    PERMANENT = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """reply: SMTP code; status: enhanced code; exit: sysexits; text: what a person reads (ASCII, one line, no control bytes)."""

    reply: int
    status: str
    exit: int
    text: str

    @property
    def kind(self) -> Kind:
        return {"2": Kind.DELIVERED, "4": Kind.TEMPORARY}.get(self.status[0], Kind.PERMANENT)

    @property
    def delivered(self) -> bool:
        return self.status[0] == "2"

    @property
    def temporary(self) -> bool:
        return self.status[0] == "4"

    @property
    def permanent(self) -> bool:
        return self.status[0] == "5"

    def because(self, text: str) -> "Outcome":
        """The same outcome with a text of its own; control bytes are made visible, the length is bounded."""
        return replace(self, text=clean(text))

    def smtp(self) -> bytes:
        return f"{self.reply} {self.status} {self.text}\r\n".encode("ascii", "backslashreplace")


def clean(text: str, limit: int = 400) -> str:
    """text as one printable ASCII line of at most limit characters."""
    flat = " ".join(text.split())
    safe = flat if flat.isascii() and flat.isprintable() else "".join(c if 32 <= ord(c) < 127 else "?" for c in flat)
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


OK = Outcome(250, "2.0.0", 0, "ok")
QUEUED = Outcome(250, "2.0.0", 0, "queued")
SENDER_OK = Outcome(250, "2.1.0", 0, "sender ok")
RECIPIENT_OK = Outcome(250, "2.1.5", 0, "recipient ok")
DELIVERED = Outcome(250, "2.1.5", 0, "delivered")
DISCARDED = Outcome(250, "2.1.5", 0, "discarded")

SYNTAX = Outcome(500, "5.5.2", 64, "syntax error")
UNKNOWN_COMMAND = Outcome(500, "5.5.1", 64, "command unknown")
BAD_ARGUMENT = Outcome(501, "5.5.4", 64, "bad argument")
NOT_IMPLEMENTED = Outcome(502, "5.5.1", 64, "command not implemented")
BAD_SEQUENCE = Outcome(503, "5.5.1", 64, "bad sequence of commands")
BAD_PARAMETER = Outcome(555, "5.5.4", 64, "parameter not supported")
LINE_TOO_LONG = Outcome(500, "5.5.2", 64, "line too long")
BARE_NEWLINE = Outcome(550, "5.6.0", 65, "bare CR or LF in message; lines end in CR LF")
BAD_SENDER = Outcome(553, "5.1.7", 65, "bad sender address")
BAD_RECIPIENT = Outcome(553, "5.1.3", 65, "bad recipient address")
NO_SUCH_USER = Outcome(550, "5.1.1", 67, "no such user here")
NO_SUCH_DOMAIN = Outcome(550, "5.1.2", 68, "no such domain")
NULL_MX = Outcome(556, "5.1.10", 68, "the domain accepts no mail")
RELAY_DENIED = Outcome(550, "5.7.1", 77, "relaying denied; log in first, or write to a domain of this host")
AUTH_REQUIRED = Outcome(530, "5.7.0", 77, "authentication required")
TLS_REQUIRED = Outcome(530, "5.7.0", 77, "issue a STARTTLS command first")
AUTH_FAILED = Outcome(535, "5.7.8", 77, "wrong name or password")
AUTH_TROUBLE = Outcome(454, "4.7.0", 75, "cannot check passwords now; try again later")
NOT_ALLOWED = Outcome(553, "5.7.1", 77, "not allowed to send from this address")
TOO_BIG = Outcome(552, "5.3.4", 65, "message too big")
TOO_MANY_RECIPIENTS = Outcome(452, "4.5.3", 75, "too many recipients; send the rest in another transaction")
TOO_MANY_HOPS = Outcome(554, "5.4.6", 69, "too many hops: the message loops")
MAIL_LOOP = Outcome(554, "5.4.6", 69, "mail for this address loops back to itself")
LOOPS_BACK = Outcome(554, "5.4.6", 69, "mail for this domain loops back to this host")
TOO_MANY_ERRORS = Outcome(421, "4.7.0", 75, "too many errors; closing")
TIMEOUT = Outcome(421, "4.4.2", 75, "timeout; closing")
SHUTTING_DOWN = Outcome(421, "4.3.2", 75, "service shutting down; try again")
TOO_MANY_CONNECTIONS = Outcome(421, "4.7.0", 75, "too many connections; try again later")
TOO_MUCH_MAIL = Outcome(452, "4.7.1", 75, "too many recipients lately; send the rest later")
TOO_MANY_MESSAGES = Outcome(450, "4.7.1", 75, "too many messages lately; send the rest later")
EARLY_TALKER = Outcome(554, "5.5.1", 76, "you speak before your turn; closing")
BAD_HELLO = Outcome(501, "5.5.2", 64, "not the name of a host; give yours")
NOT_YOUR_NAME = Outcome(550, "5.7.1", 77, "that is our own name; give yours")
NO_PTR = Outcome(550, "5.7.25", 77, "your address has no name in the DNS that leads back to it")
DISK_FULL = Outcome(452, "4.3.1", 75, "not enough disk space; try again later")
LOCAL_ERROR = Outcome(451, "4.3.0", 75, "local error; the message was not taken, try again")
MAILBOX_FULL = Outcome(452, "4.2.2", 75, "mailbox is full")
OVER_QUOTA = Outcome(552, "5.2.3", 65, "the message is bigger than the mailbox may ever be")
MAILBOX_TROUBLE = Outcome(451, "4.2.0", 75, "mailbox cannot be written now")
EXPIRED = Outcome(554, "5.4.7", 69, "gave up: the time limit for delivery has passed")
NO_OWNER = Outcome(451, "4.3.5", 75, "nobody is named to read this mail; set local.admin or an alias for root")
NO_HOST = Outcome(451, "4.4.1", 75, "no host answers")
CONNECTION_LOST = Outcome(451, "4.4.2", 75, "connection lost")
BAD_PEER = Outcome(451, "4.5.0", 75, "the other host broke the protocol")
DNS_TROUBLE = Outcome(451, "4.4.3", 75, "name server trouble")
ALIAS_LOOP = Outcome(554, "5.4.6", 69, "alias leads back to itself")
SURPRISE = Outcome(451, "4.3.0", 75, "unexpected trouble here; the message is kept")
