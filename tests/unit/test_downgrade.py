"""downgrade: what the email package reads in a message is the same before and after, and all of it is 7-bit."""
from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.message.downgrade import Impossible, Signed, seven_bit

TEXT = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\ngrüße = \n.\nFrom me\n" + "lang " * 40 + "ß\n"
IMAGE = b"Content-Type: image/x\nContent-Transfer-Encoding: 8bit\n\n\xff\xfe\n\x80 \x01 eight\nlines\n"
TOP = b"Received: x\nSubject: s\nMIME-Version: 1.0\n"


def multipart(*parts: bytes, kind: bytes = b"mixed", encoding: bytes = b"8bit") -> bytes:
    return b"Content-Type: multipart/" + kind + b"; boundary=\"b" + kind + b"\"\nContent-Transfer-Encoding: " + encoding + b"\n\npreamble\n" + b"".join(
        b"--b" + kind + b"\n" + part + b"\n" for part in parts) + b"--b" + kind + b"--\nepilogue\n"


def contents(message: bytes) -> list[tuple[str, bytes | None]]:
    """(type, decoded) of every part, line ends as on the wire."""
    parts = email.message_from_bytes(message.replace(b"\n", b"\r\n"), policy=email.policy.SMTP).walk()
    return [(part.get_content_type(), None if part.is_multipart() else part.get_payload(decode=True)) for part in parts]      # type: ignore[misc]


@pytest.mark.parametrize("message", [
    TOP + TEXT.encode(), TOP + IMAGE, TOP + multipart(TEXT.encode(), IMAGE), TOP + multipart(multipart(TEXT.encode(), b"\nplain", kind=b"alternative"), IMAGE),
    TOP + b"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n" + TOP + multipart(TEXT.encode()),
    TOP + multipart(b"Content-Type: message/rfc822\n\n" + TOP + TEXT.encode(), encoding=b"binary"),
    TOP + multipart(b"\nno header: \xc3\xb6"), TOP + multipart(TOP + TEXT.encode(), kind=b"digest"),
    TOP + b"content-transfer-encoding:\n 8BIT (comment)\nContent-Type: text/html; charset=iso-8859-1\n\n\xfc\n"], ids=range(9))
def test_the_meaning_stays(message):
    out = seven_bit(message)
    assert out.isascii() and not message.isascii() and max(map(len, out.split(b"\n"))) <= 210
    assert contents(out) == contents(message)
    labels = {str(part["Content-Transfer-Encoding"]).split(" ")[0].lower() for part in email.message_from_bytes(out).walk()}
    assert labels <= {"7bit", "quoted-printable", "base64", "none"} and labels & {"quoted-printable", "base64"}
    assert seven_bit(out) == out
    assert not any(part.defects for part in email.message_from_bytes(out).walk())


@pytest.mark.parametrize("body, charset", [("grüße\n".encode(), "utf-8"), (b"gr\xfc\xdfe\n", "unknown-8bit")])
def test_a_message_from_before_mime_is_labelled(body, charset):
    out = email.message_from_bytes(seven_bit(b"Subject: s\n\n" + body))
    assert out["MIME-Version"] == "1.0" and out.get_content_charset() == charset and out.get_payload(decode=True) == body


@pytest.mark.parametrize("message", [TOP + b"\nascii\n", "Subject: grüße\n\nascii\n".encode(), b"", b"\n", TOP + multipart(b"\nascii")])
def test_what_needs_no_change_has_none(message):
    assert seven_bit(message) == message


def test_only_what_must_change_does():
    plain = b"Content-Type: text/x\nContent-Transfer-Encoding: 7bit\n\n=3D stays  \n"
    assert plain in seven_bit(TOP + multipart(plain, TEXT.encode()))
    masked = seven_bit(TOP + multipart(TEXT.encode()).replace(b"preamble", b"pr\xc3\xa4").replace(b"epilogue", b"\xff"))
    assert b"\npr??\n" in masked and masked.endswith(b"\n?\n")


def test_what_is_signed_is_not_touched():
    with pytest.raises(Signed):
        seven_bit(TOP + multipart(multipart(TEXT.encode(), b"Content-Type: application/pgp-signature\n\nsig", kind=b"signed"), IMAGE))
    seven_bit(TOP + multipart(multipart(b"\nascii", kind=b"signed"), IMAGE))


@pytest.mark.parametrize("message", [
    TOP + b"Content-Transfer-Encoding: base64\n\n\xff\n", TOP + b"Content-Transfer-Encoding: x-uuencode\n\n\xff\n",
    TOP + b"Content-Type: message/partial; id=x\n\n\xff\n", TOP + b"Content-Type: multipart/mixed\n\n\xff\n",
    TOP + multipart(TEXT.encode(), encoding=b"quoted-printable"), TOP + b"Content-Type: multipart/mixed; boundary=\"\xff\"\n\n--\xff\n\n\xff\n--\xff--\n"])
def test_what_cannot_be_changed_is_refused(message):
    with pytest.raises(Impossible):
        seven_bit(message)


@given(st.lists(st.sampled_from([b"Content-Type: multipart/mixed; boundary=b\n", b"--b\n", b"--b--\n", b"\n", b"Content-Transfer-Encoding: 8bit\n", b"\xff\xfe\n",
                                 b"Content-Type: message/rfc822\n", b"x", b" folded\n", b"content-transfer-encoding: base64\n", b"Content-Type: text/plain\n"]),
                max_size=25).map(b"".join))
def test_any_message_has_an_end(message):
    try:
        out = seven_bit(message)
    except (Impossible, Signed):
        return
    assert message.isascii() <= (out == message)
    assert seven_bit(out) == out
