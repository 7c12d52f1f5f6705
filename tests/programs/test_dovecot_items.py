"""The same Maildir, the same commands, to us and to Dovecot: BINARY, SAVEDATE, PREVIEW, CATENATE."""
from __future__ import annotations

import imaplib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pymta import mailbox
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation
from tests.programs.test_dovecot_imap import lines_of, rows

pytestmark = needs_dovecot


@contextmanager
def maildir(*messages: bytes) -> Iterator[str]:
    with directory() as top:
        path = top + "/Maildir"
        mailbox.make(path, ())
        for number, message in enumerate(messages):
            with open(f"{path}/new/{1_700_000_000 + number}.M{number}P1.host", "wb") as file:
                file.write(message)
        yield path


@contextmanager
def us(path: str) -> Iterator[Conversation]:
    talk = Conversation(mailbox.MailStore(path), logged_in=True)                  # type: ignore[arg-type]
    talk.say("a SELECT INBOX")
    try:
        yield talk
    finally:
        assert talk.session is not None
        talk.session.close()
        opened.forget_all()


def fetched(talk: Conversation, what: str) -> dict:
    talk.feed(f"a FETCH {what}\r\n".encode())
    return rows(lines_of(talk.take()))


def fetched_by(dovecot: Dovecot, what: str) -> dict:
    return rows(dovecot.command(f"FETCH {what}"))


def part(encoding: str, body: bytes) -> bytes:
    return b"--q\nContent-Transfer-Encoding: %b\n\n%b\n" % (encoding.encode(), body)


# Dovecot gives up at the first octet that is no base64, and hangs up where a part ends too early, and does not know an empty encoding: only what is whole can be compared.
PARTS = [part("base64", b"aGVs\nbG8A\n"), part("BASE64 (c)", b"  aGVs\n\n\naGVs\n"), part("base64", b""), part("base64", b"aGVsbG8="),
         part("quoted-printable", b"a=3Db=\nc  \n\td \t\n=3d\n x"), part("quoted-printable", b"trailing  "), part("quoted-printable", b"soft=\n"),
         part("7bit", b"plain"), part("8bit", b"nul \0 and \x80 and \xff"), part("binary", b"\n\n"), b"--q\n\nno field\n"]


def test_binary_means_the_same() -> None:
    messages = [b"Content-Type: multipart/mixed; boundary=q\n\n" + b"".join(PARTS) + b"--q--\n",
                b"Subject: only one\nContent-Transfer-Encoding: base64\n\naGVsbG8h\n"]
    numbers = range(1, len(PARTS) + 2)
    items = " ".join(f"BINARY.PEEK[{number}] BINARY.PEEK[{number}]<2.3>" for number in numbers)
    sizes = " ".join(f"BINARY.SIZE[{number}]" for number in numbers)
    with maildir(*messages) as path:
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = fetched_by(dovecot, f"1:* ({items})")
            unknown = dovecot.command("FETCH 1 BINARY.PEEK[99]")
        with us(path) as talk:
            ours, our_sizes = fetched(talk, f"1:* ({items})"), fetched(talk, f"1:* ({sizes})")
    assert b"{0}" in unknown[0]                         # where Dovecot says "" of a part that is not there, we say NIL
    for number, row in theirs.items():
        for item, value in row.items():
            assert ours[number][item] == value or value == b"" and ours[number][item] == b"NIL", (number, item, value, ours[number][item])
            if not item.endswith(b">"):                 # Dovecot's BINARY.SIZE does not always agree with what it sends: ours does
                assert our_sizes[number][item.replace(b"BINARY", b"BINARY.SIZE")] == b"%d" % len(value)             # type: ignore[arg-type]
    assert len(ours) == len(messages) and ours[2][b"BINARY[1]"] == b"hello!"


def test_a_literal8_is_kept_the_same() -> None:
    data = b"Subject: x\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\n\r\r\xff"
    said = b"x APPEND INBOX ~{%d+}\r\n%b\r\n" % (len(data), data)
    with maildir() as path:
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            dovecot.process.stdin.write(said)
            dovecot.process.stdin.flush()
            while not dovecot._line().startswith(b"x OK"):
                pass
        with us(path) as talk:
            talk.feed(said)
            talk.take()
            ours = fetched(talk, "1:2 (BINARY.PEEK[1] BODY.PEEK[HEADER] BODYSTRUCTURE)")
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = fetched_by(dovecot, "1:2 (BINARY.PEEK[1])")
    assert theirs[1] == theirs[2] == {b"BINARY[1]": data.partition(b"\r\n\r\n")[2]} and ours[1][b"BINARY[1]"] == ours[2][b"BINARY[1]"]
    assert ours[1][b"BODYSTRUCTURE"][5] == ours[2][b"BODYSTRUCTURE"][5] == b"base64"


def test_the_save_date_is_that_of_dovecot() -> None:
    """Dovecot goes by the ctime where it has noted nothing: the same for what has just been delivered or copied."""
    searches = ("SAVEDATESUPPORTED", "SAVEDBEFORE 1-Jan-2020", "SAVEDSINCE 1-Jan-2020", "NOT SAVEDON 1-Jan-2020")
    with maildir() as path:
        with us(path) as talk:
            for day in (1, 2):
                talk.say(f'a APPEND INBOX " {day}-Feb-2010 00:00:00 +0000" {{1+}}\nx')
            talk.say("a COPY 1 INBOX")
            ours = fetched(talk, "1:* SAVEDATE")
            our_finds = [talk.say("a SEARCH " + search)[0].encode() for search in searches]
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = fetched_by(dovecot, "1:* SAVEDATE")
            their_finds = [dovecot.command("SEARCH " + search)[0] for search in searches]
    assert our_finds == their_finds == [b"* SEARCH 1 2 3", b"* SEARCH", b"* SEARCH 1 2 3", b"* SEARCH 1 2 3"]
    assert len(ours) == len(theirs) == 3
    for number, row in theirs.items():
        one, other = (imaplib.Internaldate2tuple(b'INTERNALDATE "%b"' % each[b"SAVEDATE"]) for each in (row, ours[number]))
        assert one and other and abs(time.mktime(one) - time.mktime(other)) < 30


# We leave out titles and attachments, look into forwarded messages, and read unlabelled 8-bit text as Latin-1: the rest is the same.
PREVIEWED = [
    b"\n> quoted\n> more\nmine\n>x\n", b"\n> quoted\n> more\n", b"\n" + b"word " * 100, b"Content-Type: image/png\n\nx\n", b"\n",
    "Content-Type: text/plain; charset=utf-8\n\nGrüße € 日本\n".encode(), "Content-Type: text/plain; charset=iso-8859-1\n\nGrüße\n".encode("latin-1"),
    b"Content-Transfer-Encoding: base64\n\naGVsbG8K\n", b"Content-Transfer-Encoding: quoted-printable\n\na=3Db=\n c\n",
    b"Content-Type: text/html; charset=utf-8\n\n<html><head><style>a{}</style></head><body><p>Hello</p><div>x</div>y<br>z &amp;&lt;&euro;&#65;</body>",
    b"Content-Type: text/html\n\n<blockquote>quoted</blockquote>mine", b"Content-Type: text/html\n\n<blockquote>quoted</blockquote>",
    b"Content-Type: text/html\n\na<script>if (a<b) {}</script>b<!-- c -->d", b"Content-Type: text/html\n\nunclosed <a href",
    b"Content-Type: multipart/alternative; boundary=q\n\n--q\nContent-Type: text/plain\n\nplain\n--q\nContent-Type: text/html\n\n<b>html</b>\n--q--\n",
]


def test_previews_are_the_same() -> None:
    with maildir(*PREVIEWED) as path:
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = fetched_by(dovecot, "1:* (PREVIEW)")
        with us(path) as talk:
            before = fetched(talk, "1 (PREVIEW (LAZY))")
            ours = fetched(talk, "1:* (PREVIEW)")
            lazy = fetched(talk, "1:* (PREVIEW (LAZY))")
    assert before == {1: {b"PREVIEW": b"NIL"}} and len(ours) == len(PREVIEWED)
    assert ours == theirs and lazy == ours


CATENATED = [
    ('(TEXT {%d+}', b"Subject: new\r\n\r\n", ' URL "/INBOX/;UID=1/;SECTION=1")'),
    ('(URL "/INBOX/;UID=1" TEXT {%d+}', b"more\r\n", ')'), ('(URL ";UID=1/;SECTION=HEADER" TEXT {%d+}', b"x", ')'),
    ('(TEXT {%d+}', b"\r\n", ' URL "/INBOX/;UID=1/;SECTION=2.MIME/;PARTIAL=3.9" URL "/INBOX/;UID=1/;section=TEXT")'),
    ('(TEXT {%d+}', b"\r\n", ' URL "/INBOX/;UID=99")'), ('(TEXT {%d+}', b"\r\n", ' URL "/No/;UID=1")'), ('(TEXT {%d+}', b"\r\n", ' URL "imap://x/INBOX/;UID=1")'),
    ('(TEXT {%d+}', b"\r\n", ' URL "/INBOX;UIDVALIDITY=1/;UID=1")'),
]


def test_what_is_catenated_is_the_same() -> None:
    mail = b"Subject: one\nContent-Type: multipart/mixed; boundary=q\n\npre\n--q\n\nfirst\n--q\nContent-Type: a/b\n\nsecond\n--q--\n"
    replies: list[tuple[bytes, bytes]] = []
    said = [(before % len(text)).encode() + b"\r\n" + text + after.encode() + b"\r\n" for before, text, after in CATENATED]
    with maildir(mail) as path:
        with us(path) as talk:
            for one in said:
                talk.feed(b"x APPEND INBOX CATENATE " + one)
                replies.append((talk.heard()[-1].encode(), b""))
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            for number, one in enumerate(said):
                dovecot.process.stdin.write(b"x APPEND INBOX CATENATE " + one)
                dovecot.process.stdin.flush()
                while not (line := dovecot._line()).startswith(b"x "):
                    pass
                replies[number] = (replies[number][0], line)
            kept = fetched_by(dovecot, "1:* BODY.PEEK[]")
    stored = [number for number, (ours, _) in enumerate(replies) if ours.startswith(b"x OK")]
    assert stored == [0, 1, 2, 3] == [number for number, (_, theirs) in enumerate(replies) if theirs.startswith(b"x OK")]
    assert all(b"NO [BADURL" in ours and b"NO [BADURL" in theirs for ours, theirs in replies[4:])
    texts = [row[b"BODY[]"] for _, row in sorted(kept.items())]
    assert texts[1:5] == texts[5:] and len(texts) == 9
