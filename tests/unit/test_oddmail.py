"""Odd, broken and hostile mail, asked for everything that FETCH can say: replies that can be read, sizes that agree, work that is bounded."""
from __future__ import annotations

import tracemalloc

import pytest

from pymta.index.describe import describe
from pymta.message import mime
from tests.imapengine import Conversation
from tests.mailboxes import Store
from tests.oddmail import ODD, ODDER, TEXT, forwarded, multipart, nested
from tests.programs.test_dovecot_imap import lines_of, rows

ITEMS = ("RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY PREVIEW SAVEDATE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[1.MIME] "
         "BODY.PEEK[2.HEADER] BODY.PEEK[1.1.1.TEXT]")


def fetch(data: bytes, what: str) -> dict:
    store = Store()
    store.folders["INBOX"].append(data)
    talk = Conversation(store, logged_in=True)
    talk.say("a SELECT INBOX")
    talk.feed(f"a FETCH 1 ({what})\r\n".encode())
    lines = lines_of(talk.take())
    assert lines[-1].startswith(b"a ")
    return rows(lines)[1]


@pytest.mark.parametrize("data", [*ODD, *ODDER.values()], ids=[*map(str, range(len(ODD))), *ODDER])
def test_everything_can_be_asked_and_agrees(data: bytes) -> None:
    row = fetch(data, ITEMS)
    assert row[b"BODY[]"] == mime.wire(data) == row[b"BODY[HEADER]"] + row[b"BODY[TEXT]"] and row[b"RFC822.SIZE"] == b"%d" % len(row[b"BODY[]"])
    for item in ("BINARY.PEEK[1] BINARY.SIZE[1]", "BINARY.PEEK[2] BINARY.SIZE[2]"):
        binary = fetch(data, "UID " + item)
        if len(binary) == 3:
            octets, size = [value for name, value in binary.items() if name.startswith(b"BINARY")]
            assert size == b"%d" % (0 if octets == b"NIL" else len(octets))
    for item in ITEMS.split(" BODY.PEEK[]")[0].split():           # one by one the index or another path may answer
        assert fetch(data, item)[item.encode()] == row[item.encode()] or item == "SAVEDATE"


HOSTILE = {
    "multiparts in multiparts": nested(5000), "messages in messages": forwarded(5000), "many parts": multipart(*[TEXT] * 50_000),
    "many messages": multipart(*[b"\nSubject: x\n\ny\n"] * 20_000, kind=b"digest"),
    "continuations": b"Content-Type: a/b" + b"".join(b"; n*%d*=x" % number for number in range(50_000)) + b"\n\nx\n",
    "one continuation": b"Content-Type: a/b" + b"; n*0=x" * 50_000 + b"\n\nx\n", "comments": b"Content-Type: a/b " + b"(" * 300_000 + b"\n\nx\n",
    "dispositions": b"Content-Disposition: x" + b"; a*1=y" * 50_000 + b"\n\nx\n", "languages": b"Content-Language: " + b"de," * 100_000 + b"\n\nx\n",
    "addresses": b"To: " + b"a@b," * 100_000 + b"\n\nx\n", "fields": b"X: y\n" * 100_000 + b"\nx\n", "To and To": b"To: a@b\n" * 50_000 + b"\nx\n",
    "ids": b"References: " + b"<a@b> " * 100_000 + b"\n\nx\n", "encoded words": b"Subject: " + b"=?utf-8?q?x?= " * 50_000 + b"\n\nx\n",
    "folds": b"Subject: x" + b"\n y" * 100_000 + b"\n\nx\n", "delimiters": b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--q\n" * 100_000,
    "almost delimiters": b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--qq\n" * 100_000,
    "one boundary for all": b"".join(b"--q\nContent-Type: multipart/mixed; boundary=q\n\n" for _ in range(10_000)),
    "punycode": b"Content-Type: text/plain; charset=punycode\n\n" + b"a" * 300_000, "quotes": b"To: " + b'"' * 300_001 + b"\n\nx\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_kept_of_a_hostile_message_is_bounded(name: bytes) -> None:
    """Counts, not clocks: octets of the answers and memory in use stand in proportion to the message; depth, parts, parameters have limits."""
    data = HOSTILE[name]
    tracemalloc.start()
    entry = describe(1, data, 0.0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(entry.bodystructure) + len(entry.envelope) + len(entry.parts) + len(entry.keys) < 4 * len(data) + 200 * mime.PARTS_MAX
    assert most < 40 * len(data) + 2_000 * mime.PARTS_MAX
    left, parts, depth = [(mime.scan(mime.wire(data)), 0)], 0, 0
    while left:
        part, level = left.pop()
        parts, depth = parts + 1, max(depth, level)
        left += [(one, level + 1) for one in part.parts]
        assert len(part.parameters) <= mime.PARAMETERS_MAX + 1
    assert parts <= mime.PARTS_MAX + 2 and depth <= mime.DEPTH_MAX
