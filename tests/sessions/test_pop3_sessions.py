"""The POP3 transcripts, each against the bare engine (whole, and a byte at a time) and against pymta-pop3d over loopback."""
import itertools

import pytest

from pymta.message.surrogate import surrogate
from pymta.proto import pop3
from tests.daemons import Stage
from tests.sessions import runner

TRANSCRIPTS = runner.transcripts("pop3")
MAIL = {
    "cur/1000000001.M1P1Q1.mail,S=20,W=23:2,S": b"Subject: one\n\nhello\n",
    "cur/1000000002.M1P1Q2.mail,S=29,W=35:2,": b"Subject: dots\n\n.\n..\n.dot\nend\n",
    "new/1000000003.M1P1Q3.mail,S=31,W=39": b"Subject: lines\nX: y\n\n1\n2\n3\n4\n5\n",
}
INTERNATIONAL = {"new/1000000004.M1P1Q4.mail,S=63,W=67": "From: Jürgen <jürgen@client.example>\nSubject: grüße\n\nhallo\n".encode()}
NAMES = ("alice", "alice@example.test")


def mail(transcript: runner.Transcript) -> dict[str, bytes]:
    """What alice has; a fourth with `@ mail international`."""
    return MAIL | INTERNATIONAL if transcript.option("mail") == "international" else MAIL


def bases(path: str) -> str:
    return path[4:].partition(":")[0]


class Engine:
    """What pymta-pop3d is to the engine, without disk and sockets."""

    def __init__(self, transcript: runner.Transcript) -> None:
        self.mail = dict(mail(transcript))
        self.drop = dict(self.mail)
        tls = transcript.option("listener") == "pop3s"
        self.server = pop3.Pop3Server(tls=tls, stls=not tls and transcript.option("certificate") != "no",
                                      login=tls or transcript.option("clear") != "no")
        if any(name == "login" for name, _ in transcript.options):
            self.feed(b"USER alice\r\nPASS correct horse\r\n")
            self.said = self.server.take().split(b"\r\n", 2)[2]
        else:
            self.said = b""

    def feed(self, octets: bytes) -> None:
        self.server.feed(octets)
        while (event := self.server.next_event()) is not None:
            match event:
                case pop3.Login(name, password) if name.lower() in NAMES and password == "correct horse":
                    self.server.logged_in([pop3.wire_octets(octets) for octets in self.drop.values()], [bases(path).encode() for path in self.drop])
                case pop3.Login():
                    self.server.refused(b"AUTH", b"wrong name or password")
                case pop3.Retrieve(index, _, utf8):
                    octets = list(self.drop.values())[index]
                    self.server.message(octets if utf8 else surrogate(octets))
                case pop3.Commit(indices):
                    for index in indices:
                        del self.mail[list(self.drop)[index]]
                    self.server.committed(removed=True)

    def take(self) -> bytes:
        said, self.said = self.said, b""
        return said + self.server.take()


@pytest.mark.parametrize("bite", [0, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_engine(transcript, bite):
    engine = Engine(transcript)
    peer = runner.EnginePeer(engine.feed, engine.take, lambda: engine.server.ended, lambda: engine.server.secured(login=True),
                             bite=0 if any(step.kind == "C" and b"STLS\r\n" in step.text and step.text != b"STLS\r\n" for step in transcript.steps)
                             else bite)
    runner.play(transcript, peer)
    check_what_is_left(transcript, [bases(path) for path in engine.mail])


def check_what_is_left(transcript, names):
    if left := transcript.option("left"):
        assert [name.partition(".")[0] for name in sorted(names)] == left.split()


class Daemons:
    """One pymta-pop3d for each way it has to be set up, started when it is first wanted."""

    def __init__(self) -> None:
        self.stages: dict[tuple[str, str], Stage] = {}
        self.homes = itertools.count()

    def get(self, transcript: runner.Transcript) -> Stage:
        key = transcript.option("certificate"), transcript.option("clear")
        if key not in self.stages:
            stage = Stage(certificate=key[0] != "no", pop3_workers=1, login_plain_from="10.0.0.0/8" if key[1] == "no" else "127.0.0.0/8")
            self.stages[key] = stage
            stage.user("alice", "correct horse")
            stage.start("pymta-pop3d", {"pop3.listen": "pop3", "pop3.listen_tls": "pop3s"})
        return self.stages[key]


@pytest.fixture(scope="module")
def daemons():
    started = Daemons()
    yield started
    for stage in started.stages.values():
        stage.__exit__()


@pytest.mark.parametrize("transcript", TRANSCRIPTS)
def test_program(transcript, daemons):
    stage = daemons.get(transcript)
    maildir = stage.user("alice", "correct horse", stage.mail / f"home{next(daemons.homes)}")
    stage.fill(maildir, mail(transcript))
    listener = transcript.option("listener", "pop3")
    with runner.SocketPeer("127.0.0.1", stage.ports[listener], tls=stage.context, at_once=listener == "pop3s") as peer:
        if any(name == "login" for name, _ in transcript.options):
            log_in(peer)
        runner.play(transcript, peer)
    check_what_is_left(transcript, [path.name for part in ("new", "cur") for path in (maildir / part).iterdir()])
    assert " bug " not in stage.log()


def log_in(peer):
    """Up to the answer to USER: the answer to PASS is the first the transcript hears."""
    heard = b""
    while heard.count(b"\r\n") < 1:
        heard += peer.receive()
    peer.send(b"USER alice\r\n")
    while heard.count(b"\r\n") < 2:
        heard += peer.receive()
    peer.send(b"PASS correct horse\r\n")
