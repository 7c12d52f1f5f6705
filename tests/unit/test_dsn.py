"""dsn: reports that the email package and RFC 3464 agree with, whatever the mail they are about."""
from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pymta.message import dsn, header

MAIL = b"From: ann@a.example\nTo: bob@b.example\nSubject: lunch\nMessage-ID: <1@a.example>\n\nNoon?\n-- \nAnn\n"
GONE = dsn.Fate(b"bob@b.example", "failed", "5.1.1", "550 5.1.1 no such user", remote="mx.b.example", smtp=True, last_attempt=1700000000)
LATE = dsn.Fate(b"bob@b.example", "delayed", "4.4.1", "no host answers", retry_until=1700400000)


def compose(*fates: dsn.Fate, original: bytes = MAIL, sender: bytes = b"ann@a.example", **more) -> bytes:
    facts = dict(now=1700000100.5, host="mx.example.test", id="1j0ug8tcdr597dd") | more
    return dsn.compose(fates, sender=sender, original=original, **facts)


def parts_of(report: bytes) -> tuple[EmailMessage, str, list[EmailMessage], bytes, str]:
    """(top, text, groups, what was returned, its type) of a report that must be flawless."""
    assert b"\r" not in report and b"\0" not in report and report.endswith(b"\n")
    assert all(len(line) <= 998 for line in report.split(b"\n"))
    top = email.message_from_bytes(report, policy=email.policy.default)
    for part in top.walk():
        assert not part.defects, part.defects
    assert top.get_content_type() == "multipart/report" and top.get_param("report-type") == "delivery-status"
    text, status, returned = top.iter_parts()
    utf8 = status.get_content_type() == "message/global-delivery-status"
    assert (text.get_content_type(), status.get_content_type().replace("global-", "")) == ("text/plain", "message/delivery-status")
    boundary = top.get_boundary().encode()
    raw = report.partition(b"\n\n")[2].split(b"--" + boundary)
    assert len(raw) == 5 and raw[4] == b"--\n"                  # the boundary stands nowhere else
    assert raw[2].isascii() == (status["Content-Transfer-Encoding"] == "7bit") and (utf8 or raw[2].isascii())
    assert raw[1].isascii() == (text["Content-Transfer-Encoding"] == "7bit")
    body = raw[3].split(b"\n\n", 1)[1].removesuffix(b"\n")
    assert body.isascii() == (returned["Content-Transfer-Encoding"] == "7bit")
    assert report.partition(b"\n\n")[2].isascii() == (top["Content-Transfer-Encoding"] == "7bit")
    groups = [email.message_from_bytes(group, policy=email.policy.SMTPUTF8) for group in raw[2].split(b"\n\n", 1)[1].strip(b"\n").split(b"\n\n")]
    return top, text.get_content(), groups, body, returned.get_content_type()


def test_a_failure():
    top, text, (about, fate), returned, kind = parts_of(compose(GONE, original_id="1abc", arrival=1699999999, envid="QQ 314"))
    assert top["Subject"] == "Undelivered: your mail to bob@b.example"
    assert top["To"] == "ann@a.example" and top["From"] == "Mail Delivery System <MAILER-DAEMON@mx.example.test>"
    assert top["Auto-Submitted"] == "auto-replied" and top["In-Reply-To"] == "<1@a.example>"
    assert top["Date"].datetime.timestamp() == 1700000100 and top["Message-ID"] == "<1j0ug8tcdr597dd@mx.example.test>"
    assert dict(about.items()) == {"Original-Envelope-Id": "QQ 314", "Reporting-MTA": "dns; mx.example.test",
                                   "Arrival-Date": header.date(1699999999).decode()}
    assert dict(fate.items()) == {
        "Final-Recipient": "rfc822; bob@b.example", "Action": "failed", "Status": "5.1.1", "Remote-MTA": "dns; mx.b.example",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user", "Last-Attempt-Date": header.date(1700000000).decode(), "Final-Log-ID": "1abc"}
    assert (returned, kind) == (MAIL, "message/rfc822")
    for words in ("lunch", "bob@b.example", "mx.b.example said: 550 5.1.1 no such user", "spelling"):
        assert words in text


def test_a_delay_returns_headers_only_and_says_until_when():
    top, text, (_, fate), returned, kind = parts_of(compose(LATE, ret="FULL"))
    assert top["Subject"] == "Delayed: your mail to bob@b.example"
    assert fate["Action"] == "delayed" and fate["Will-Retry-Until"] == header.date(1700400000).decode()
    assert fate["Diagnostic-Code"] == "x-pymta; no host answers"
    assert (returned, kind) == (header.split(MAIL)[0], "text/rfc822-headers")
    assert "You need to do nothing" in text and header.date(1700400000).decode() in " ".join(text.split())


def test_several_recipients_each_have_a_group():
    fates = [dsn.Fate(b"u%d@b.example" % n, "failed", "5.2.2", "full") for n in range(200)]
    top, text, groups, _, _ = parts_of(compose(*fates))
    assert len(groups) == 201 and groups[200]["Final-Recipient"] == "rfc822; u199@b.example"
    assert top["Subject"] == "Undelivered: your mail to 200 recipients" and "and 150 more" in text


def test_success():
    top, text, (_, fate), _, kind = parts_of(compose(dsn.Fate(b"bob@b.example", "relayed", "2.1.5", "250 ok", smtp=True, remote="mx")))
    assert fate["Status"] == "2.1.5" and fate["Action"] == "relayed" and kind == "text/rfc822-headers"
    assert top["Subject"].startswith("Delivered")


def test_the_address_the_sender_wrote_is_named():
    _, text, (_, fate), _, _ = parts_of(compose(dsn.Fate(b"bob@b.example", "failed", "5.1.1", "", original=b"team@example.test")))
    assert fate["Original-Recipient"] == "rfc822; team@example.test" and "you wrote to <team@example.test>" in text
    _, _, (_, fate), _, _ = parts_of(compose(dsn.Fate(b"bob@b.example", "failed", "5.1.1", "", orcpt=b"x-fax;12 34\n5")))
    assert fate["Original-Recipient"] == "x-fax; 12 34 5"


@pytest.mark.parametrize("action, status, said", [("failed", "4.4.1", "5.4.1"), ("delayed", "5.1.1", "4.1.1"), ("failed", "-", "5.0.0"),
                                                  ("failed", "5.1", "5.0.0"), ("delivered", "", "2.0.0"), ("failed", "5.7.26", "5.7.26")])
def test_the_status_says_what_the_action_says(action, status, said):
    _, _, (_, fate), _, _ = parts_of(compose(dsn.Fate(b"b@c", action, status, "x")))
    assert fate["Status"] == said


@pytest.mark.parametrize("original, whole", [
    (b"Subject: x\n\n" + b"y" * 70 + b"\n" * 50_001, True), (b"Subject: x\n\nbinary \0\n", True), (b"Subject: x\n\nbare \r\n", True),
    (b"Subject: x\n\n" + b"z" * 999 + b"\n", True), (b"Subject: x\n\nbeginning", False)])
def test_what_cannot_go_back_whole_goes_back_as_header(original, whole):
    *_, returned, kind = parts_of(compose(GONE, original=original, whole=whole))
    assert (returned, kind) == (b"Subject: x\n", "text/rfc822-headers")


def test_hdrs_is_honoured():
    assert parts_of(compose(GONE, ret="HDRS"))[4] == "text/rfc822-headers"
    assert parts_of(compose(GONE, ret="FULL"))[4] == "message/rfc822"


def test_a_header_that_was_cut_loses_its_last_field():
    *_, returned, _ = parts_of(compose(GONE, original=b"A: 1\nB: 2\nSubject: cut in the mid", whole=False))
    assert returned == b"A: 1\nB: 2\n"
    *_, returned, _ = parts_of(compose(GONE, original=b"A: 1\n" + b"B: 2\n" * 20000, whole=True))
    assert len(returned) <= 50_000 and returned.startswith(b"A: 1\nB: 2\n") and returned.endswith(b"\nB: 2\n")


def test_beyond_ascii():
    fate = dsn.Fate("jörg+x@bücher.example".encode(), "failed", "5.6.7", "nö")
    top, text, (_, group), returned, _ = parts_of(compose(fate, original="Subject: Grüße\n\nhallö\n".encode(), sender="ä@ü.example".encode()))
    assert group["Final-Recipient"] == "utf-8; jörg\\x{2B}x@bücher.example"
    assert "jörg+x@bücher.example" in text and "Grüße" in text
    encoded = compose(GONE, original=b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe=0A_an_alle?=\n\n")
    assert '"Grüße an alle"' in " ".join(parts_of(encoded)[1].split())
    parts_of(compose(GONE, original=b"Subject: =?utf-16?b?////?= =?nonsense?q?x?=\n\n"))


NASTY = st.one_of(st.binary(max_size=120), st.sampled_from([
    b"a@b\nBcc: x", b"a\r\nX: y@b", b"--=_1j0ug8tcdr597dd.0", b"\xff\xfe@x", b"a" * 2000, b"<>", b"", "\u202e\u0085x@y".encode(), b"(((@x", b"a@b;c,d"]))
TEXT = st.one_of(st.text(max_size=200), st.sampled_from(["a\nSubject: x", "\r\n\r\n--x", "\0\x1b[2J", "x" * 5000, "=_1j0ug8tcdr597dd.0"]))


@given(NASTY, NASTY, TEXT, TEXT, NASTY, NASTY, TEXT, TEXT)
@example(b"x" * 899 + "ö".encode(), b"\t", "", " ", b"=", b"a@b\xff", "\n\n", "")
def test_nothing_from_outside_breaks_a_report(final, other, text, remote, sender, orcpt, envid, status):
    fate = dsn.Fate(final, "failed", status, text, original=other, remote=remote, smtp=True, orcpt=orcpt)
    top, _, groups, _, _ = parts_of(compose(fate, sender=sender, envid=envid))
    assert len(groups) == 2
    assert set(groups[0].keys()) <= {"Original-Envelope-Id", "Reporting-MTA"}
    assert set(groups[1].keys()) <= {"Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"}
    assert sorted(top.keys()) == sorted(["Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
                                         "MIME-Version", "Content-Type", "Content-Transfer-Encoding"])


@given(st.one_of(st.binary(max_size=300), st.lists(st.sampled_from([
    b"Subject: x\n", b"--=_1j0ug8tcdr597dd.0\n", b"--=_1j0ug8tcdr597dd.0--\n", b"\n", b"Content-Type: multipart/mixed; boundary=\"=_1j0ug8tcdr597dd.0\"\n",
    b"Message-ID: <a b\n c>\n", b"Message-ID: <>\n", b"x" * 1200 + b"\n", b"X: \xff\x80\x01\n", b"\r", b"--", b"Subject: =?x?=\n"]),
    max_size=12).map(b"".join)), st.booleans())
def test_no_mail_breaks_a_report(original, whole):
    report = compose(GONE, original=original, whole=whole)
    assert b"\n\0" not in report
    boundary = email.message_from_bytes(report).get_boundary().encode()
    assert report.count(b"--" + boundary) == 4 and all(len(line) <= 998 for line in report.split(b"\n"))
    assert b"\r" not in report and b"\0" not in report
    if report.count(b"message/rfc822\n"):
        assert b"\n\n" + original + b"\n--" + boundary + b"--\n" in report


@pytest.mark.parametrize("text, plain", [("QQ+2B314", "QQ+314"), ("a+20b", "a b"), ("x+", "x+"), ("x+2", "x+2"), ("+C3+B6", "ö"), ("+zz", "+zz"), ("", "")])
def test_xtext(text, plain):
    assert dsn.xtext_decode(text) == plain
