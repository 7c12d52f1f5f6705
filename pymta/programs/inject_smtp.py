"""inject_smtp: `sendmail -bs`, SMTP with one local program on standard input and output.

The engine is pymta-smtpd's; each message goes the way of any other drop, under the caller's uid.
"""
from __future__ import annotations

import os

from pymta import outcome
from pymta.outcome import Outcome
from pymta.programs import inject
from pymta.proto import smtp_server


def converse(options: inject.Options, values: dict[str, str]) -> int:
    """Speak until QUIT or the end of input.  options.from_header and the like do not apply.  Returns an exit status."""
    limits = smtp_server.Limits(size_octets=inject.octets(values["queue.size_max"]) or 0,
                                recipients=inject.octets(values["queue.recipients_max"]) or 0)
    session = smtp_server.SmtpServer(values["host.name"].encode("ascii", "replace"), limits)
    session.greet()
    message, text = inject.Options(), bytearray()
    while True:
        if not _send(session.take()):
            return 0
        try:
            chunk = os.read(0, 65536)
        except OSError:
            return inject.NOINPUT
        if not chunk:
            return 0
        for event in session.feed(chunk):
            match event:
                case smtp_server.Hello():
                    session.answer(outcome.OK)
                case smtp_server.Sender():
                    message, text = inject.Options(), bytearray()
                    message.sender, message.full_name = event.path.address, b""
                    session.answer(outcome.SENDER_OK)
                case smtp_server.Recipient():
                    message.recipients.append(event.path.address)
                    session.answer(outcome.RECIPIENT_OK)
                case smtp_server.Content():
                    text += event.text
                case smtp_server.EndOfData():
                    session.answer(_take(message, bytes(text) + event.text, values))
                case smtp_server.Close():
                    _send(session.take())
                    return 0
                case smtp_server.StartTls() | smtp_server.Login():
                    session.answer(outcome.NOT_IMPLEMENTED)


def _take(message: inject.Options, text: bytes, values: dict[str, str]) -> Outcome:
    try:
        id = inject.submit(message, text, values)
    except inject.Refused as refused:
        kind = outcome.LOCAL_ERROR if refused.status in (inject.TEMPFAIL, inject.CONFIG, inject.NOPERM) else outcome.BAD_RECIPIENT
        return kind.because(refused.text)
    return outcome.QUEUED.because(f"queued as {id}")


def _send(data: bytes) -> bool:
    """Write everything; False if nobody reads it."""
    try:
        while data:
            data = data[os.write(1, data):]
    except BrokenPipeError:
        return False
    return True
