"""The same Maildir, the same commands, to us and to Dovecot: ENVELOPE, BODYSTRUCTURE, sections and SEARCH of odd and of ordinary mail."""
from __future__ import annotations

import random
import re

from pymta import mailbox
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation
from tests.oddmail import ODD
from tests.unit.test_mime import read_imap

pytestmark = needs_dovecot

ITEMS = ("(UID RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODY.PEEK[1.MIME] "
         "BODY.PEEK[1.HEADER] BODY.PEEK[2] BODY.PEEK[2.TEXT] BODY.PEEK[1.2.MIME] BODY.PEEK[2.1.2] BODY.PEEK[]<7.30> "
         "BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)] BODY.PEEK[HEADER.FIELDS.NOT (FROM)])")
SEARCHES = ("SUBJECT x", "FROM b", "TEXT body", 'HEADER Subject ""', "SENTON 1-Jan-2024", "TO z", "CC undis", "LARGER 100", "SMALLER 60",
            "NOT SUBJECT x", "OR FROM b TO z", "TEXT nowhere", "UID 3:9 SUBJECT x", "1:5", "UNSEEN", "BODY no")

# Where we mean to say something else than Dovecot 2.3 (number of the message in ODD from 1, item).
EXPLAINED = {
    **{(number, item): "a broken address or type is read another way" for number in (6, 7, 13, 27, 32, 36, 38, 39) for item in (
        b"ENVELOPE", b"BODYSTRUCTURE", b"BODY")},
    **{(37, item): "behind a parameter in pieces Dovecot calls b* b*1*" for item in (b"BODY", b"BODYSTRUCTURE")},
    (4, b"BODY[HEADER.FIELDS (FROM SUBJECT)]"): "we always end it with an empty line",
    (31, b"ENVELOPE"): "From is taken from Sender where it is absent",
    (26, b"ENVELOPE"): "blanks at the end of a field are not part of it",
}


def ordinary(dice: random.Random, depth: int = 3, name: str = "q") -> bytes:
    """A well-formed part."""
    kind = dice.choice(["text", "text", "html", "file", "multipart", "message"] if depth else ["text", "file"])
    if kind == "multipart":
        inside = b"".join(b"--%b\n%b\n" % (name.encode(), ordinary(dice, depth - 1, f"{name}{index}")) for index in range(dice.randint(1, 3)))
        kind_of = dice.choice([b"mixed", b"alternative", b"related"])
        return b"Content-Type: multipart/%b; boundary=%b\n\npreamble\n%b--%b--\n" % (kind_of, name.encode(), inside, name.encode())
    if kind == "message":
        return b"Content-Type: message/rfc822\n\nFrom: Inner <i@b.example>\nSubject: inner\n" + ordinary(dice, depth - 1, name + "m")
    if kind == "file":
        return b"Content-Type: application/pdf; name=\"a b.pdf\"\nContent-Disposition: attachment\nContent-Transfer-Encoding: base64\n\nAAAA\n"
    head = b"Content-Type: text/html; charset=utf-8\n" if kind == "html" else b""
    return head + b"\n" + b"".join(dice.choice([b"line\n", b"\n", b"x y z\n", b"-- \n"]) for _ in range(dice.randint(0, 4)))


def lines_of(said: bytes) -> list[bytes]:
    """Replies, with the literals in them."""
    out, at = [], 0
    while at < len(said):
        end = at
        while True:
            end = said.index(b"\r\n", end) + 2
            literal = re.search(rb"\{(\d+)\}\r\n\Z", said[at:end])
            if literal is None:
                break
            end += int(literal[1])
        out.append(said[at:end - 2])
        at = end
    return out


def rows(lines: list[bytes]) -> dict[int, dict[bytes, object]]:
    out = {}
    for line in lines:
        head = re.match(rb"\* (\d+) FETCH \(", line)
        if head is None:
            continue
        at, row = head.end(), {}
        while line[at:at + 1] != b")":
            at += line[at:at + 1] == b" "
            name = re.compile(rb"[A-Z0-9.]+(\[[^\]]*\])?(<\d+>)?").match(line, at)
            assert name
            row[name[0]], at = read_imap(line, name.end() + 1)
        out[int(head[1])] = row
    return out


NOBODY = [[b"NIL", b"NIL", b"", b""]]


def plain(value: object) -> object:
    """Without regard to case; who is missing in an ENVELOPE is NIL in Dovecot, one empty address in ours."""
    if isinstance(value, list):
        return b"nil" if value == NOBODY else [plain(one) for one in value]
    assert isinstance(value, bytes)
    return value.lower()


def test_fetch_and_search_say_the_same() -> None:
    dice = random.Random(4)
    corpus = ODD + [b"From: a@b.example\nSubject: m%d\nDate: Mon, 1 Jan 2024 00:00:00 +0000\n" % number + ordinary(dice) for number in range(200)]
    with directory() as top:
        path = top + "/Maildir"
        mailbox.make(path, ())
        for number, message in enumerate(corpus):
            with open(f"{path}/new/{1_700_000_000 + number}.M{number}P1.host", "wb") as file:
                file.write(message)
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = rows(dovecot.command("FETCH 1:* " + ITEMS))
            their_finds = [dovecot.command("SEARCH " + search)[0] for search in SEARCHES]
        us = Conversation(mailbox.MailStore(path), logged_in=True)                # type: ignore[arg-type]
        us.say("a ENABLE UTF8=ACCEPT")                  # Dovecot 2.3 says header fields as they stand to everybody
        us.say("a SELECT INBOX")
        us.feed(f"a FETCH 1:* {ITEMS}\r\n".encode())
        ours = rows(lines_of(us.take()))
        our_finds = [us.say("a SEARCH " + search)[0].encode() for search in SEARCHES]
        assert us.session is not None
        us.session.close()
        opened.forget_all()
    assert len(theirs) == len(ours) == len(corpus)
    different = []
    for number, row in theirs.items():
        for item, value in row.items():
            mine = ours[number][item]
            missing = item.startswith(b"BODY[") and value == b"" and mine == b"NIL"       # Dovecot says "" of a part that is not there
            if plain(value) != plain(mine) and not missing and (number, item) not in EXPLAINED:
                different.append(f"{number} {item.decode()}\n  {corpus[number - 1]!r}\n  Dovecot {value!r}\n  we      {mine!r}")
    assert not different, "\n".join(different[:20])
    for search, their, our in zip(SEARCHES, their_finds, our_finds):
        assert their == our, search
