"""SEARCH of text in the same Maildir by us and by Dovecot: headers, encoded words, character sets, transfer encodings, parts."""
from __future__ import annotations

import base64
import re

from pymta import mailbox
from pymta.mailbox import opened
from tests.dovecot import Dovecot, directory, needs_dovecot
from tests.imapengine import Conversation
from tests.oddmail import ODD

pytestmark = needs_dovecot


def words(text: str, charset: str, kind: str = "b") -> bytes:
    octets = text.encode(charset)
    said = base64.b64encode(octets) if kind == "b" else b"".join(b"=%02X" % octet for octet in octets)
    return b"=?%b?%b?%b?=" % (charset.encode(), kind.encode(), said)


def body(text: str, charset: str, encoding: str = "8bit", kind: str = "plain") -> bytes:
    octets = text.encode(charset)
    if encoding == "base64":
        octets = base64.encodebytes(octets)
    elif encoding == "quoted-printable":
        octets = re.sub(rb"[^ -<>-~\n]", lambda found: b"=%02X" % found[0][0], octets)
    return b"Content-Type: text/%b; charset=%b\nContent-Transfer-Encoding: %b\n\n%b" % (kind.encode(), charset.encode(), encoding.encode(), octets)


CHARSETS = ("utf-8", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1252", "koi8-r", "windows-1251", "iso-2022-jp", "shift_jis", "euc-jp",
            "gb2312", "big5", "euc-kr", "utf-16be", "utf-7")
TEXTS = {"koi8-r": "Привет Мир", "windows-1251": "Привет Мир", "iso-2022-jp": "日本語のメール", "shift_jis": "日本語のメール", "euc-jp": "日本語のメール",
         "gb2312": "中文邮件", "big5": "中文郵件", "euc-kr": "한국어 메일", "iso-8859-2": "Žluťoučký kůň"}
WESTERN = "Größe Straße Café naïve Ærø"
UNICODE = "ﬁx ½ Ⅷ ẞ ǆ İ ı ŉ µ ς K Å ｆｕｌｌ Ａ é e\u0301 \u1e69 s\u0323\u0307 ﷺ"

MINE: list[bytes] = [
    *[b"Subject: " + words(TEXTS.get(charset, WESTERN), charset, kind) + b"\n" + body(TEXTS.get(charset, WESTERN), charset, encoding)
      for charset in CHARSETS for kind, encoding in (("b", "base64"), ("q", "quoted-printable"))],
    b"Subject: " + words(UNICODE, "utf-8") + b"\n" + body(UNICODE, "utf-8"),
    b"Subject: 8-bit Gr\xc3\xb6\xc3\x9fe\nFrom: J\xc3\xb6rg <j@b.example>\n" + body(WESTERN, "iso-8859-1"),
    b"Subject: =?utf-8?q?one?= =?utf-8?q?two?=\n =?utf-8?b?dGhyZWU=?= four =?utf-8?q?five_six?=\n\nx\n",
    b"Subject: =?utf-8*en?q?lang=75age?= =?us-ascii?q?broken\nX-A: =?utf-8?x?bad?= =?utf-8?q?=E4?=\n\nx\n",
    b"Subject: folded\n  two blanks\n\ta tab\nX-Long: a\n b\n c\nx-long: second\n\nline one\nline two\n",
    b"From: \"Foo, Bar\" <foo@b.example>\nTo: a@b.example,\n c@d.example\nCc: " + words("Zoë", "utf-8") + b" <zoe@b.example>\nBcc: secret@b.example\n\nx\n",
    b"Content-Type: multipart/mixed; boundary=q\n\npreamble\n--q\nContent-Type: text/plain; name=\"attached.txt\"\n\ntextbody\n--q\n"
    b"Content-Type: message/rfc822\n\nFrom: innerfrom <a@b>\nSubject: " + words("innersubjectä", "utf-8", "q") + b"\n\ninnerbody\n--q\n"
    b"Content-Type: application/pdf; name=paper.pdf\n\npdfbody\n--q\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\naW1hZ2Vib2R5\n--q--\nepilogue\n",
    b"Content-Type: multipart/alternative; boundary=q\n\n--q\n" + body("plain sicht", "utf-8") + b"\n--q\n"
    + body("<p>html <b>si</b>cht &auml; \u00e4</p>", "utf-8", "quoted-printable", "html") + b"\n--q--\n",
    b"Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nsoft=\nbreak and =\nmore= x=3Dy =zz\nblanks end here\n",
    b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(b"first line\r\nsecond line\n")[:-3],
    b"Content-Type: text/plain\nContent-Transfer-Encoding: BASE64\n\n!!notbase64 at all!!\n",
    b"Content-Type: text/plain; charset=x-unknown\n\nunknown charset text\n",
    b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; statusbody\n",
    b"Content-Type: application/json\n\n{\"json\": \"jsonbody\"}\n",
    b"Content-Type: TEXT/calendar\n\nBEGIN:VCALENDAR calbody\n",
    b"Subject: crlf\r\n folded\r\n\r\nbody of\r\ncrlf\r\n",
]

KEYS = ("SUBJECT", "FROM", "TO", "CC", "BCC", "BODY", "TEXT", "HEADER X-Long", "HEADER Content-Type", "HEADER Received")
NEEDLES = ("", "a", "A", "o", "größe", "GRÖSSE", "GRÖßE", "strasse", "straße", "ß", "ẞ", "cafe", "café", "CAFE\u0301", "naïve", "NAIVE", "ærø", "привет",
           "ПРИВЕТ", "мир", "日本", "メール", "中文", "한국", "한", "žluť", "zlu", "kůň", "fix", "ﬁx", "½", "1/2", "1⁄2", "viii", "Ⅷ", "ⅷ", "ǆ", "dž", "i",
           "İ", "ı", "ŉ", "ʼn", "μ", "µ", "σ", "ς", "k", "K", "å", "Å", "full", "ａ", "e\u0301", "ṩ", "s\u0323\u0307", "s\u0307\u0323", "صلى",
           "j\u00f6rg", "jorg", "onetwothree", "one two", "four five six", "language", "broken", "bad", "folded  two", "folded two", "two blanks\ta",
           "a b c", "second", "line one", "foo", "\"foo", "foo, bar", "zoë <", "zoë", "secret", "b.example", "preamble", "attached", "textbody", "innerfrom",
           "innersubjectä", "innerbody", "paper", "pdfbody", "imagebody", "epilogue", "sicht", "<b>si", "&auml", "ä", "softbreak", "and more", "x=y", "zz",
           "blanks end", "first line", "second line", "notbase64", "unknown charset", "statusbody", "jsonbody", "calbody", "subject: ", "subject:folded",
           "crlf folded", "body of", "text/", "multipart", "x", "q", "\u0308", "  ")

ADDRESSES = ("FROM", "TO", "CC", "BCC")
TEXT = ("SUBJECT", "BODY", "TEXT")
# Where we mean to find something else than Dovecot 2.3: number of the message from 1 -> the keys for which this may be, and why.
EXPLAINED: dict[int, tuple[tuple[str, ...], str]] = {
    31: (TEXT, "two marks on a letter are the same in either order (canonical equivalence); Dovecot leaves them as they stand"),
    34: (TEXT, "an encoded word may name its language (RFC 2231), and octets that are no UTF-8 are read as Latin-1, not passed over"),
    35: (("TEXT",), "a fold and its blanks are one blank for every key, in Dovecot for SUBJECT alone"),
    56: (("TEXT",), "the same"),
    41: (("BODY",), "as much of broken base64 as can be read is read"),
    52: (ADDRESSES, "Dovecot looks in what its parser made of a broken address (MISSING_MAILBOX, SYNTAX_ERROR), we in what stands there"),
    53: (ADDRESSES, "the same"),
    54: (ADDRESSES, "the same"),
    78: (ADDRESSES, "the same"),
    59: (("BODY",), "a type that cannot be read is text (RFC 2045 section 5.2)"),
    85: (("BODY", "TEXT"), "the same"),
    84: (("BODY", "TEXT"), "a transfer encoding nobody knows leaves the text as it stands"),
}


def numbers(lines: list[bytes]) -> set[int]:
    return {int(number) for line in lines if line.startswith(b"* SEARCH") for number in line.split()[2:]}


def asked(key: str, needle: str) -> tuple[str, bytes]:
    return f"SEARCH CHARSET UTF-8 {key}", needle.encode()


def test_the_same_is_found() -> None:
    corpus = MINE + ODD
    questions = [(key, needle) for key in KEYS for needle in NEEDLES]
    with directory() as top:
        path = top + "/Maildir"
        mailbox.make(path, ())
        for number, message in enumerate(corpus):
            with open(f"{path}/new/{1_700_000_000 + number}.M{number}P1.host", "wb") as file:
                file.write(message)
        with Dovecot(path) as dovecot:
            dovecot.command("SELECT INBOX")
            theirs = {question: numbers(dovecot.command(*asked(*question))) for question in questions}
        us = Conversation(mailbox.MailStore(path), logged_in=True)                # type: ignore[arg-type]
        us.say("a SELECT INBOX")
        ours = {}
        for _ in range(2):                                                        # the second time from what was kept
            for question in questions:
                head, literal = asked(*question)
                us.feed(b"a %b {%d+}\r\n%b\r\n" % (head.encode(), len(literal), literal))
                found = numbers(us.take().split(b"\r\n"))
                assert ours.setdefault(question, found) == found, question
        assert us.session is not None
        us.session.close()
        opened.forget_all()
    different = [f"{number} {key} {needle!r}: only {'Dovecot' if number in theirs[key, needle] else 'we'}"
                 for key, needle in questions for number in sorted(theirs[key, needle] ^ ours[key, needle])
                 if key not in EXPLAINED.get(number, ((), ""))[0]]
    assert not different, "\n".join(different)
    unneeded = [number for number, (keys, _) in EXPLAINED.items()
                if not any(number in theirs[key, needle] ^ ours[key, needle] for key in keys for needle in NEEDLES)]
    assert not unneeded
