"""COMPRESS=DEFLATE: both directions, however cut; what would grow without end does not."""
from __future__ import annotations

import random
import tracemalloc
import zlib

import pytest

from tests.imapengine import LIMITS, Conversation
from tests.mailboxes import Store


class Client:
    """The other side."""

    def __init__(self) -> None:
        self.talk = Conversation(Store(), logged_in=True)
        self.talk.feed(b"a COMPRESS DEFLATE\r\n")
        assert self.talk.take().startswith(b"a OK")
        self.out = zlib.compressobj(9, zlib.DEFLATED, -15)
        self.into = zlib.decompressobj(-15)

    def pack(self, data: bytes) -> bytes:
        return self.out.compress(data) + self.out.flush(zlib.Z_SYNC_FLUSH)

    def heard(self) -> bytes:
        return self.into.decompress(self.talk.take())


@pytest.mark.parametrize("bite", [1, 7, 10_000])
def test_both_directions_however_cut(bite: int) -> None:
    client = Client()
    message = random.Random(1).randbytes(30_000).replace(b"\0", b"x").replace(b"\r", b"y").replace(b"\n", b"z")
    said = client.pack(b"b SELECT INBOX\r\nc APPEND INBOX {%d+}\r\n%b\r\nd FETCH 1 BODY.PEEK[]\r\n" % (len(message), message))
    heard = b""
    for at in range(0, len(said), bite):
        client.talk.feed(said[at:at + bite])
        heard += client.heard()
    assert b"\r\nb OK" in heard and b"c OK [APPENDUID" in heard and message in heard and heard.endswith(b"d OK Done\r\n")


def test_a_second_time_is_refused_and_idle_is_told_compressed() -> None:
    client = Client()
    client.talk.feed(client.pack(b"b COMPRESS DEFLATE\r\nc SELECT INBOX\r\nd IDLE\r\n"))
    assert client.heard().startswith(b"b NO [COMPRESSIONACTIVE]")
    inbox = client.talk.store.folders["INBOX"]
    inbox.append(b"x")
    assert b"* 1 EXISTS\r\n" in client.heard()
    client.talk.feed(client.pack(b"DONE\r\ne LOGOUT\r\n"))
    assert client.heard().startswith(b"d OK") and client.talk.over


def test_what_was_said_ahead_in_clear_ends_the_session() -> None:
    talk = Conversation(Store(), logged_in=True)
    talk.feed(b"a COMPRESS DEFLATE\r\nb NOOP\r\n")
    clear, _, rest = talk.take().partition(b"\r\n")
    assert clear.startswith(b"a OK") and talk.over
    assert zlib.decompressobj(-15).decompress(rest).startswith(b"* BYE")


def test_a_bomb_stays_small() -> None:
    client = Client()
    bomb = client.pack(b"b APPEND INBOX {99+}\r\n" + b"x" * 50_000_000)
    tracemalloc.start()
    client.talk.feed(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert client.talk.over and b"* BYE" in client.heard()
    assert peak < 8 * LIMITS.command_octets + 2_000_000


def test_nothing_comes_behind_the_end_of_the_stream() -> None:
    client = Client()
    client.talk.feed(client.out.compress(b"b NOOP\r\n") + client.out.flush(zlib.Z_FINISH))
    assert client.heard().startswith(b"b OK") and not client.talk.over
    client.talk.feed(b"\3\0")
    assert client.heard().startswith(b"* BYE") and client.talk.over
