"""Every transcript of tests/sessions/smtp against the bare engine, whole and a byte at a time."""
from __future__ import annotations

import pytest

from pymta import outcome
from pymta.policy import rules as policy
from pymta.formats.queuefile import LOCAL, REMOTE, Recipient
from pymta.outcome import Outcome
from pymta.proto import smtp_server as smtp
from tests.sessions.runner import EnginePeer, Transcript, play, transcripts


class Router:
    """alice and bob of example.test."""

    def relay(self, address: bytes) -> bool:
        return address.endswith(b"@example.test") or b"@" not in address

    def resolve(self, address: bytes, *, sender: bytes) -> Outcome | list[Recipient]:
        if not self.relay(address):
            return [Recipient(REMOTE, address)]
        known = address.lower().partition(b"@")[0] in (b"alice", b"bob", b"postmaster")
        return [Recipient(LOCAL, address)] if known else outcome.NO_SUCH_USER


class Stage:
    """What the program is to the engine, without a network or a disk."""

    def __init__(self, listener: str) -> None:
        self.client = policy.Client("192.0.2.1", listener, tls=listener == "submissions")
        self.engine = smtp.SmtpServer(b"mx.example.test", smtp.Limits(), lmtp=listener == "lmtp", starttls=True, tls=self.client.tls,
                                      mechanisms=(b"PLAIN", b"LOGIN") if self.client.submits else (), xclient=listener == "front")
        self.engine.greet()
        self.over = False

    def feed(self, octets: bytes) -> None:
        for event in self.engine.feed(octets):
            match event:
                case smtp.Hello():
                    if self.client.submits and self.client.tls:
                        self.engine.future_release = b"2592000 2026-12-01T00:00:00Z"
                    self.engine.answer(outcome.OK)
                case smtp.XClient():
                    self.engine.answer(outcome.OK)
                case smtp.StartTls():
                    self.engine.answer(outcome.OK)
                case smtp.Sender(wishes=wishes):
                    too_far = wishes is not None and ((wishes.hold_for_s or 0) > 2592000 or (wishes.hold_until or 0) > 2e10)
                    self.engine.answer(outcome.BAD_ARGUMENT if too_far else policy.sender(self.client))
                case smtp.Recipient(path=path):
                    answer = policy.recipient(self.client, path.address, b"", Router())
                    self.engine.answer(answer if isinstance(answer, Outcome) else outcome.RECIPIENT_OK)
                case smtp.EndOfData():
                    self.engine.answer(Outcome(250, "2.0.0", 0, "queued as 1"))
                case smtp.Login(credentials=credentials):
                    right = (credentials.name, credentials.password) == ("alice@example.test", "correct horse")
                    self.client.login = credentials.name * right
                    self.engine.answer(outcome.OK if right else outcome.AUTH_FAILED)
                case smtp.Close():
                    self.over = True

    def secured(self) -> None:
        self.engine.secured()
        self.client.tls = True


@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("transcript", transcripts("smtp"))
def test_engine(transcript: Transcript, bite: int) -> None:
    if bite and transcript.option("whole"):
        pytest.skip(transcript.option("whole"))
    stage = Stage(transcript.option("listener", "smtp"))
    play(transcript, EnginePeer(stage.feed, stage.engine.take, lambda: stage.over, stage.secured, bite=bite))
