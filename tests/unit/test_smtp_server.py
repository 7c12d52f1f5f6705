"""The SMTP engine: order, syntax, limits, and that a peer can cause nothing but replies."""
from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pymta import outcome
from pymta.message.address import Path
from pymta.proto import smtp_server as smtp
from pymta.proto.smtp_server import (
    Close,
    Content,
    EndOfData,
    Event,
    Forgotten,
    Hello,
    Limits,
    Login,
    Recipient,
    Refused,
    Sender,
    SmtpServer,
    StartTls,
    XClient,
)

ANN = Path(b"ann", b"client.example")
BOB = Path(b"bob", b"example.test")


def server(limits: Limits = Limits(), **options) -> SmtpServer:
    return SmtpServer(b"mx.example.test", limits, **options)


def drive(session: SmtpServer, *chunks: bytes, refuse: frozenset[bytes] = frozenset()) -> tuple[list[Event], bytes]:
    """(events, all that was said) when everything is answered with success but recipients in refuse."""
    events: list[Event] = []
    for chunk in chunks:
        for event in session.feed(chunk):
            events.append(event)
            match event:
                case Recipient(path=path) if path.local in refuse:
                    session.answer(outcome.NO_SUCH_USER)
                case EndOfData():
                    session.answer(outcome.QUEUED)
                case Recipient():
                    session.answer(outcome.RECIPIENT_OK)
                case Sender():
                    session.answer(outcome.SENDER_OK)
                case Hello() | StartTls() | Login() | XClient():
                    session.answer(outcome.OK)
            if isinstance(event, StartTls):
                session.secured()
    return events, session.take()


def codes(said: bytes) -> list[int]:
    """The codes of the replies, one for each."""
    return [int(line[:3]) for line in said.split(b"\r\n") if line and line[3:4] == b" "]


def one_at_a_time(wire: bytes) -> list[bytes]:
    return [wire[i:i + 1] for i in range(len(wire))]


WHOLE = (b"EHLO client.example\r\nMAIL FROM:<ann@client.example> SIZE=10 BODY=8BITMIME\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
         b"Subject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n")


@pytest.mark.parametrize("cut", [lambda wire: [wire], one_at_a_time])
def test_a_mail(cut) -> None:
    events, said = drive(server(), *cut(WHOLE))
    assert events == [Hello(b"EHLO", b"client.example"), Sender(ANN_WITH_PARAMETERS, 10, {b"SIZE": b"10", b"BODY": b"8BITMIME"},
                                                                  smtp.smtp_params.Wishes(10, {"body": "8BITMIME"})),
                      Recipient(BOB), EndOfData(b"Subject: x\n\n.dot\n", 20), Close("")]
    assert codes(said) == [250, 250, 250, 354, 250, 221]


ANN_WITH_PARAMETERS = Path(b"ann", b"client.example", b" SIZE=10 BODY=8BITMIME")


def test_greeting_and_extensions() -> None:
    session = server(Limits(size_octets=1000), starttls=True, mechanisms=(b"PLAIN", b"LOGIN"))
    session.greet()
    assert session.take() == b"220 mx.example.test ESMTP\r\n"
    _, said = drive(session, b"EHLO a\r\n")
    assert said == (b"250-mx.example.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-DSN\r\n"
                    b"250-LIMITS RCPTMAX=1000\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS\r\n")                # no AUTH without TLS
    _, said = drive(session, b"STARTTLS\r\n", b"EHLO a\r\n")
    assert said.endswith(b"250 AUTH PLAIN LOGIN\r\n") and b"STARTTLS" not in said
    assert drive(server(), b"HELO a\r\n")[1] == b"250 mx.example.test\r\n"


SETUP = {smtp.START: b"", smtp.READY: b"EHLO a\r\n", smtp.MAIL: b"EHLO a\r\nMAIL FROM:<>\r\n",
         smtp.RCPT: b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\n",
         smtp.CHUNKS: b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nBDAT 1\r\nA"}
COMMANDS = {b"EHLO": b"EHLO b", b"HELO": b"HELO b", b"MAIL": b"MAIL FROM:<ann@client.example>", b"RCPT": b"RCPT TO:<eve@example.test>",
            b"DATA": b"DATA", b"RSET": b"RSET", b"NOOP": b"NOOP x y", b"VRFY": b"VRFY bob", b"HELP": b"HELP", b"QUIT": b"QUIT",
            b"BDAT": b"BDAT 0", b"XCLIENT": b"XCLIENT ADDR=192.0.2.7", b"STARTTLS": b"STARTTLS", b"AUTH": b"AUTH PLAIN " + base64.b64encode(b"\0bob\0pw")}


@pytest.mark.parametrize("state", SETUP)
@pytest.mark.parametrize("verb", COMMANDS)
def test_order(state: str, verb: bytes) -> None:
    session = server(starttls=verb == b"STARTTLS", mechanisms=(b"PLAIN",), tls=verb == b"AUTH", xclient=True)
    drive(session, SETUP[state])
    assert session.state == state
    events, said = drive(session, verb.lower() + COMMANDS[verb][len(verb):] + b"\r\n")
    following = smtp.ORDER[verb].get(state)
    if following is None:
        assert session.state == state and codes(said) == [503] and isinstance(events[0], Refused) and session.accepted == (state in (smtp.RCPT, smtp.CHUNKS))
    else:
        assert session.state == following and codes(said)[0] < 400


def test_a_hello_ends_the_transaction() -> None:
    for command in (b"EHLO a\r\n", b"RSET\r\n"):
        session = server()
        drive(session, SETUP[smtp.RCPT], command)
        assert codes(drive(session, b"DATA\r\n")[1]) == [503]
        assert session.accepted == 0


# (line, code, enhanced code or nothing) in the state RCPT of a session under TLS with AUTH
REFUSED = [
    (b"", 500), (b"FOO", 500), (b"MAILFROM:<>", 500), (b"LHLO a", 500), (b"EXPN list", 502), (b"VRFY", 501), (b"HELO", 501), (b"EHLO ", 501),
    (b"EHLO a\x00b", 501), (b"EHLO " + b"x" * 256, 501), (b"EHLO \xff", 501), (b"DATA now", 501), (b"RSET now", 501),
    (b"RCPT FROM:<a@b>", 501), (b"RCPT TO:<>", 553), (b"RCPT TO:bob@example.test", 553), (b"RCPT TO:<bob@example.test> FOO=1", 555),
    (b"RCPT TO:<bob@example.test>FOO=1", 553), (b"RCPT TO:<bob@a@example.test>", 553), (b"RCPT TO:<bob\x00@example.test>", 553),
    (b"RCPT TO:<" + b"x" * 300 + b"@example.test>", 553), (b"RCPT TO:<\xc3\xa9@example.test>", 553),
    (b"RCPT TO:<bob@" + b"x." * 130 + b"test>", 553), (b"RCPT TO:<" + b"(" * 1500 + b">", 553), (b"NOOP " + b"x" * 2043, 500),
]
REFUSED_MAIL = [
    (b"MAIL TO:<a@b>", 501), (b"MAIL FROM:<ann@client.example> SIZE=1001", 552), (b"MAIL FROM:<ann@client.example> SIZE=x", 501),
    (b"MAIL FROM:<ann@client.example> SIZE=-1", 501), (b"MAIL FROM:<ann@client.example> SIZE", 501),
    (b"MAIL FROM:<ann@client.example> SIZE=" + b"9" * 400, 501), (b"MAIL FROM:<ann@client.example> SIZE=1 SIZE=1", 501),
    (b"MAIL FROM:<ann@client.example> BODY=BINARYMIME", 501), (b"MAIL FROM:<ann@client.example> =", 501), (b"MAIL FROM:<postmaster>", 553),
    (b"MAIL FROM:<ann@client.example> FOO=FULL", 555), (b"MAIL FROM:<ann@client.example> HOLDFOR=1", 555), (b"MAIL FROM:ann@client.example", 553),
    (b"MAIL FROM:<ann@client.example> \x00", 501), (b"AUTH", 504), (b"AUTH FOO", 504), (b"AUTH PLAIN !!", 501), (b"AUTH PLAIN =", 501),
    (b"STARTTLS", 503),
]


@pytest.mark.parametrize("state, line, code", [(smtp.RCPT, *row) for row in REFUSED] + [(smtp.READY, *row) for row in REFUSED_MAIL])
def test_refused(state: str, line: bytes, code: int) -> None:
    session = server(Limits(size_octets=1000), tls=True, mechanisms=(b"PLAIN",), starttls=True)
    drive(session, SETUP[state])
    events, said = drive(session, line + b"\r\n")
    assert codes(said) == [code] and session.state == state
    assert said[3:6] == b" %d." % (code // 100)         # RFC 2034 §4
    assert [type(event) for event in events] == [Refused]


def test_taken() -> None:
    for line in (b"mail from:<>", b"MAIL FROM: <ann@client.example>", b"MAIL FROM:<ann@client.example>  size=1000  ",
                 b'MAIL FROM:<"a> b"@client.example> BODY=7bit', b"MAIL FROM:<@a.example,@b.example:ann@client.example>",
                 b"MAIL FROM:<ann@[IPv6:2001:db8::1]>", b"MAIL FROM:<ann@client.example> AUTH=<>"):
        session = server(Limits(size_octets=1000))
        drive(session, SETUP[smtp.READY])
        assert codes(drive(session, line + b"\r\n")[1]) == [250], line
    session = server()
    drive(session, SETUP[smtp.MAIL])
    events, said = drive(session, b"RCPT TO:<Postmaster>\r\n")
    assert events == [Recipient(Path(b"Postmaster", b""))] and codes(said) == [250]


@pytest.mark.parametrize("line", [b"NOOP\n", b"NOOP\r\r\n", b"NO\rOP\r\n", b"\n", b"RCPT TO:<bob@example.test>\nDATA\r\n", b"\r\r\n"])
def test_lines_end_in_crlf_alone(line: bytes) -> None:
    for chunks in ([line + b"QUIT\r\n"], one_at_a_time(line + b"QUIT\r\n")):
        session = server()
        drive(session, SETUP[smtp.RCPT])
        events, said = drive(session, *chunks)
        assert codes(said) == [500] and isinstance(events[-1], Close) and len(events) == 2
        assert session.state == smtp.CLOSED


def test_long_lines() -> None:
    for chunk_octets in (1, 1000, 100_000):
        for wire, expected in ((b"x" * 16000 + b"\r\nNOOP\r\n", [500, 250]), (b"x" * 17000 + b"\r\nNOOP\r\n", [500])):
            session = server()
            said = b"".join(drive(session, wire[i:i + chunk_octets])[1] for i in range(0, len(wire), chunk_octets))
            drive(session)
            assert codes(said) == expected
            assert len(session._buffer) <= 16384 + chunk_octets


def test_too_many_errors() -> None:
    session = server(Limits(errors=3))
    events, said = drive(session, b"FOO\r\n" * 5)
    assert codes(said) == [500, 500, 500, 421] and events[-1] == Close("too many errors")
    session = server(Limits(errors=3))
    drive(session, SETUP[smtp.MAIL] + b"RCPT TO:<eve@example.test>\r\n", refuse=frozenset((b"eve",)))
    _, said = drive(session, b"RCPT TO:<bob@example.test>\r\nFOO\r\nDATA\r\n.\r\nFOO\r\nFOO\r\nFOO\r\n")
    assert codes(said) == [250, 500, 354, 250, 500, 500, 500, 421]       # an accepted message wipes the slate


def test_http_is_cut_off() -> None:
    events, said = drive(server(), b"POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO a\r\nMAIL FROM:<a@b.example>\r\n")
    assert codes(said) == [500] and events[-1] == Close("speaks HTTP")


def test_recipients_have_a_limit() -> None:
    _, said = drive(server(Limits(recipients=2)), SETUP[smtp.MAIL] + b"RCPT TO:<bob@example.test>\r\n" * 4 + b"DATA\r\n.\r\n")
    assert codes(said) == [250, 250, 250, 250, 452, 452, 354, 250]


def test_pipelined_input_waits_for_the_answer() -> None:
    session = server()
    events = []
    for event in session.feed(SETUP[smtp.RCPT] + b"DATA\r\n.\r\nMAIL FROM:<>\r\n"):
        events.append(event)
        if not isinstance(event, EndOfData):
            session.answer(outcome.OK)
    assert isinstance(events[-1], EndOfData) and session.waiting
    assert list(session.feed(b"RSET\r\n")) == []
    session.answer(outcome.DISK_FULL)
    assert isinstance(next(iter(session.feed(b""))), Sender)
    session.answer(outcome.SENDER_OK)
    assert list(session.feed(b"")) == [] and codes(session.take())[-4:] == [354, 452, 250, 250]


@pytest.mark.parametrize("text, result, closes", [
    (b"a\nb\r\n", outcome.BARE_NEWLINE, True), (b"a\rb\r\n", outcome.BARE_NEWLINE, True), (b"a\0b\r\n", smtp._NUL, True),
    (b"x" * 1000, outcome.TOO_BIG, False), (b"\0\n" + b"x" * 1000, outcome.BARE_NEWLINE, True),
])
def test_spoiled_text(text: bytes, result: outcome.Outcome, closes: bool) -> None:
    wire = b"DATA\r\n" + text + b"\r\n.\r\nNOOP\r\n"
    for chunks in ([wire], one_at_a_time(wire)):
        session = server(Limits(size_octets=500))
        drive(session, SETUP[smtp.RCPT])
        events, said = drive(session, *chunks)
        assert events[0] == Refused(smtp.TEXT_END, result) and said.startswith(b"354 ")
        assert result.smtp() in said and said.endswith(b"250 2.0.0 ok\r\n") is not closes
        assert isinstance(events[-1], Close) is closes and not any(isinstance(event, EndOfData) for event in events)


@pytest.mark.parametrize("cut", [lambda wire: [wire], one_at_a_time])
def test_chunks(cut) -> None:
    """RFC 3030: the text is what stands in the chunks, wherever they and the wire are cut."""
    text = b"Subject: x\r\n\r\n.\r\n..\r\nQUIT\r\n"
    for sizes in ((len(text),), (1,) * len(text), (0, 10, 0, len(text) - 10, 0), (11, len(text) - 11), (len(text), 0)):
        wire, at = b"", 0
        for number, size in enumerate(sizes):
            wire += b"BDAT %d%s\r\n" % (size, b" LAST" * (number == len(sizes) - 1)) + text[at:at + size]
            at += size
        session = server(Limits(gather_octets=8))
        drive(session, SETUP[smtp.RCPT])
        events, said = drive(session, *cut(wire + b"NOOP\r\n"))
        assert normal(events) == [EndOfData(text.replace(b"\r\n", b"\n"), len(text))]
        assert codes(said) == [250] * (len(sizes) + 1) and session.state == smtp.READY


def test_a_last_line_without_an_end_gets_one() -> None:
    session = server()
    drive(session, SETUP[smtp.RCPT])
    events, _ = drive(session, b"BDAT 3 LAST\r\nA:b")
    assert events == [EndOfData(b"A:b\n", 3)]


def test_a_chunk_that_is_too_big_passes_by() -> None:
    """It is not kept, its size is believed, and the session stays in step.  Nor does a chunk that belongs nowhere cost memory."""
    for start, verb in ((SETUP[smtp.RCPT], smtp.TEXT_END), (SETUP[smtp.READY], b"BDAT")):
        session = server(Limits(size_octets=1000))
        drive(session, start + b"BDAT 1000000 LAST\r\n")
        for _ in range(10):
            events, said = drive(session, b"x" * 99_999)
            assert events == [] and said == b"" and len(session._buffer) == 0 and (session._data is None or session._data.held_octets == 0)
        events, said = drive(session, b"y" * 10 + b"NOOP\r\n")
        assert [event.verb for event in events] == [verb] and codes(said) == [552 if verb == smtp.TEXT_END else 503, 250]
    session = server(Limits(size_octets=1000))
    drive(session, SETUP[smtp.RCPT])
    _, said = drive(session, b"BDAT 600\r\n" + b"x" * 600 + b"BDAT 600\r\n" + b"x" * 600 + b"BDAT 0 LAST\r\n")
    assert codes(said) == [250, 552, 503]


@pytest.mark.parametrize("command", [b"RSET", b"EHLO a"])
def test_what_ends_a_transaction_ends_its_chunks(command: bytes) -> None:
    session = server(Limits(gather_octets=1))
    drive(session, SETUP[smtp.CHUNKS])
    events, _ = drive(session, command + b"\r\n")
    assert events == [Forgotten() if command == b"RSET" else Hello(b"EHLO", b"a")] and session._data is None
    assert codes(drive(session, b"BDAT 0 LAST\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nBDAT 2 LAST\r\n\r\n")[1]) == [503, 250, 250, 250]


@pytest.mark.parametrize("line", [b"BDAT", b"BDAT x", b"BDAT -1", b"BDAT 1 FIRST", b"BDAT 1 LAST x", b"BDAT " + b"9" * 21, b"BDAT 1LAST", b"BDAT 0x1", b"BDAT +1"])
@pytest.mark.parametrize("state", [smtp.START, smtp.RCPT])
def test_a_chunk_without_a_size_ends_the_session(line: bytes, state: str) -> None:
    session = server()
    drive(session, SETUP[state])
    events, said = drive(session, line + b"\r\nMAIL FROM:<>\r\n")
    assert codes(said) == [501] and events[-1] == Close("a BDAT without a size")


def test_dripped_chunks_cost_no_object_each() -> None:
    for verb in (b"BDAT 50000\r\n", b"DATA\r\n"):
        session = server()
        drive(session, SETUP[smtp.RCPT] + verb)
        for _ in range(20_000):
            drive(session, b"xy")
        assert session._data is not None and session._data.held_octets >= 39_000 and len(session._data._pieces) < 300


def test_utf8_lasts_one_transaction() -> None:
    session = server()
    drive(session, SETUP[smtp.READY])
    events, said = drive(session, "MAIL FROM:<änn@bücher.example> SMTPUTF8\r\nRCPT TO:<böb@example.test>\r\nDATA\r\n.\r\n".encode())
    assert codes(said) == [250, 250, 354, 250]
    assert isinstance(events[0], Sender) and events[0].wishes is not None and events[0].wishes.facts == {"utf8": "1"}
    assert events[0].path.address == "änn@xn--bcher-kva.example".encode() and isinstance(events[1], Recipient) and events[1].path.local == "böb".encode()
    _, said = drive(session, "MAIL FROM:<>\r\nRCPT TO:<böb@example.test>\r\n".encode())
    assert codes(said) == [250, 553] and b" 5.6.7 " in said


def test_notes_of_a_recipient() -> None:
    session = server()
    events, _ = drive(session, SETUP[smtp.MAIL] + b"RCPT TO:<bob@example.test> NOTIFY=SUCCESS ORCPT=rfc822;b+2Bb@x.example\r\n")
    assert isinstance(events[-1], Recipient) and events[-1].notes == ((b"Pymta-Notify", b"SUCCESS"), (b"Pymta-Orcpt", b"rfc822;b+b@x.example"))


def test_enough_messages_for_one_session() -> None:
    session = server(Limits(mails=2))
    _, said = drive(session, b"EHLO a\r\n")
    assert b"250-LIMITS MAILMAX=2 RCPTMAX=1000\r\n" in said
    events, said = drive(session, b"MAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<>\r\nRSET\r\n")
    assert codes(said) == [250, 250, 250, 250, 421] and isinstance(events[-1], Close)


def test_xclient_begins_the_session_again() -> None:
    session = server(xclient=True, tls=True, mechanisms=(b"PLAIN",))
    events, said = drive(session, SETUP[smtp.READY] + b"XCLIENT ADDR=192.0.2.7 LOGIN=bob\r\nMAIL FROM:<>\r\n")
    assert XClient({b"ADDR": "192.0.2.7", b"LOGIN": "bob"}) in events and codes(said) == [250, 220, 503] and not session.extended
    assert b"XCLIENT" not in drive(server(), b"EHLO a\r\n")[1]


def test_future_release_is_offered_where_the_program_says_so() -> None:
    session = server()
    session.future_release = b"60 2026-11-23T18:00:00Z"
    _, said = drive(session, b"EHLO a\r\nMAIL FROM:<> HOLDFOR=60\r\n")
    assert said.startswith(b"250-mx.example.test\r\n250-FUTURERELEASE 60 2026-11-23T18:00:00Z\r\n250-PIPELINING\r\n") and codes(said) == [250, 250]


def test_a_long_text_comes_in_pieces() -> None:
    session = server(Limits(gather_octets=1000))
    drive(session, SETUP[smtp.RCPT], b"DATA\r\n")
    line = b"x" * 98 + b"\r\n"
    events, _ = drive(session, *[line] * 35, b".\r\n")
    assert [type(event) for event in events] == [Content] * 3 + [EndOfData]
    assert b"".join(event.text for event in events) == line.replace(b"\r\n", b"\n") * 35
    assert events[-1].size_octets == 3500
    assert all(len(event.text) < 1200 for event in events)


def test_starttls_forgets_everything() -> None:
    session = server(starttls=True)
    drive(session, SETUP[smtp.READY])
    events, said = drive(session, b"STARTTLS\r\n")
    assert events == [StartTls()] and codes(said) == [220] and session.tls and not session.extended
    assert codes(drive(session, b"MAIL FROM:<>\r\n")[1]) == [503]
    assert codes(drive(session, b"EHLO a\r\nSTARTTLS\r\n")[1]) == [250, 503]
    assert codes(drive(server(), SETUP[smtp.READY] + b"STARTTLS\r\n")[1]) == [250, 502]


def test_nothing_may_follow_starttls() -> None:
    session = server(starttls=True)
    events, said = drive(session, SETUP[smtp.READY] + b"STARTTLS\r\nMAIL FROM:<evil@x.example>\r\n")
    assert codes(said) == [250, 503] and isinstance(events[-1], Close) and StartTls() not in events


def test_auth() -> None:
    plain, login = base64.b64encode(b"\0bob\0pw"), [base64.b64encode(b"bob"), base64.b64encode(b"pw")]
    for wire, expected in ((b"AUTH PLAIN %s\r\n" % plain, [235]), (b"auth plain\r\n%s\r\n" % plain, [334, 235]),
                           (b"AUTH LOGIN\r\n%s\r\n%s\r\n" % (*login,), [334, 334, 235]), (b"AUTH LOGIN %s\r\n%s\r\n" % (*login,), [334, 235]),
                           (b"AUTH PLAIN\r\n*\r\n", [334, 501]), (b"AUTH LOGIN\r\nx\r\n", [334, 501]), (b"AUTH PLAIN\r\n\r\n", [334, 501]),
                           (b"AUTH PLAIN\r\n" + b"A" * 13000 + b"\r\n", [334, 501]),
                           (b"AUTH PLAIN %s\r\nAUTH PLAIN %s\r\n" % (plain, plain), [235, 503])):
        for chunks in ([wire], one_at_a_time(wire) if len(wire) < 1000 else [wire]):
            session = server(tls=True, mechanisms=(b"PLAIN", b"LOGIN"))
            drive(session, SETUP[smtp.READY])
            events, said = drive(session, *chunks)
            assert codes(said) == expected, wire
            assert session.logged_in is (235 in expected)
            assert [event.credentials.name for event in events if isinstance(event, Login)] == ["bob"] * session.logged_in


def test_auth_needs_tls_and_a_reason() -> None:
    wire = SETUP[smtp.READY] + b"AUTH PLAIN AGJvYgBwdw==\r\n"
    assert codes(drive(server(mechanisms=(b"PLAIN",)), wire)[1]) == [250, 530]
    assert codes(drive(server(tls=True), wire)[1]) == [250, 502]


def test_lmtp() -> None:
    """RFC 2033 §4.2"""
    session = server(lmtp=True)
    session.greet()
    _, said = drive(session, b"EHLO a\r\nHELO a\r\nLHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nRCPT TO:<eve@example.test>\r\n"
                    b"RCPT TO:<bob2@example.test>\r\nDATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\na\nb\r\n.\r\n",
                    refuse=frozenset((b"eve",)))
    assert said.startswith(b"220 mx.example.test LMTP\r\n")
    assert codes(said) == [220, 500, 500, 250, 250, 250, 550, 250, 354, 250, 250, 250, 250, 354, 550]


# ---- whatever the peer does ---------------------------------------------------------------------------------------------
LINES = st.sampled_from([b"EHLO a\r\n", b"HELO b\r\n", b"LHLO c\r\n", b"MAIL FROM:<>\r\n", b"MAIL FROM:<ann@client.example> SIZE=5\r\n",
                         b"RCPT TO:<bob@example.test>\r\n", b"RCPT TO:<eve@example.test>\r\n", b"DATA\r\n", b".\r\n", b"text\r\n", b"..\r\n",
                         b"RSET\r\n", b"QUIT\r\n", b"AUTH PLAIN\r\n", b"AUTH LOGIN\r\n", b"AGJvYgBwdw==\r\n", b"Ym9i\r\n", b"*\r\n", b"\r\n",
                         b"BDAT 3\r\na\r\n", b"BDAT 4 LAST\r\nb\r\n.", b"BDAT 0 LAST\r\n", b"BDAT 9\r\n\r\n.\r\n", b"BDAT 200 LAST\r\n", b"BDAT x\r\n", b"\r\n.\r",
                         b"XCLIENT ADDR=192.0.2.7\r\n", b"XCLIENT ADDR=x\r\n", "MAIL FROM:<ä@x.example> SMTPUTF8\r\n".encode(),
                         "RCPT TO:<ö@example.test> ORCPT=utf-8;ö@x NOTIFY=SUCCESS\r\n".encode(), b"RCPT TO:<bob@example.test> NOTIFY=X\r\n",
                         b"MAIL FROM:<> RET=FULL ENVID=a+0A\r\n", b"MAIL FROM:<> RET=FULL ENVID=a HOLDFOR=9\r\n",
                         b"\0\r\n", b"NOOP\r\n", b"VRFY x\r\n", b"HELP\r\n", b"STARTTLS x\r\n"])
JUNK = st.one_of(st.sampled_from([b"\n", b"\r", b"\0", b".", b"\xff", b"MAIL FROM:<", b"GET / HTTP/1.0\r\n"]), st.binary(max_size=20))


def normal(events: list[Event]) -> list[Event]:
    """events with the pieces of each text put together, and those of spoiled texts left out."""
    out: list[Event] = []
    text = b""
    for event in events:
        match event:
            case Content(text=piece):
                text += piece
            case EndOfData(text=piece, size_octets=octets):
                out.append(EndOfData(text + piece, octets))
                text = b""
            case _:
                text = b""
                out.append(event)
    return out


@settings(max_examples=300)
@given(st.lists(st.one_of(LINES, LINES, LINES, JUNK), max_size=40), st.data(), st.booleans(), st.booleans())
def test_only_replies_and_the_same_for_any_cut(lines: list[bytes], data: st.DataObject, lmtp: bool, ready: bool) -> None:
    start = SETUP[data.draw(st.sampled_from(sorted(SETUP)))] if ready else b""
    wire = (start.replace(b"EHLO", b"LHLO") if lmtp else start) + b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    limits = Limits(size_octets=60, recipients=3, errors=6, line_octets=64, line_octets_max=96, gather_octets=16)
    runs = []
    for places in ([0, len(wire)], [0, *cuts, len(wire)], list(range(len(wire) + 1))):
        session = server(limits, lmtp=lmtp, tls=True, mechanisms=(b"PLAIN", b"LOGIN"), xclient=True)
        events, said = drive(session, *[wire[start:stop] for start, stop in zip(places, places[1:])], refuse=frozenset((b"eve",)))
        assert len(session._buffer) <= 96 + len(wire) * (len(places) == 2)
        assert session._data is None or session._data.held_octets <= limits.size_octets
        runs.append((normal(events), said, session.state))
    assert runs[0] == runs[1] == runs[2]
    for line in said.split(b"\r\n"):
        assert line.isascii() and (not line or line[:3].isdigit())


@given(st.binary(max_size=3000))
def test_any_octets(wire: bytes) -> None:
    drive(server(Limits(errors=1000)), SETUP[smtp.READY], wire.replace(b"\n", b"\r\n"))
    drive(server(Limits(errors=1000)), wire)


@pytest.mark.parametrize("command", [b"AUTH LOGIN", b"AUTH CRAM-MD5", b"AUTH PLAIN !"])
def test_a_password_sent_without_waiting_is_not_named_as_a_command(command):
    """A log shows the verbs of refused commands."""
    for session in (server(), server(mechanisms=(b"PLAIN",)), server(mechanisms=(b"PLAIN",), tls=True)):
        events, said = drive(session, b"EHLO c.example\r\n" + command + b"\r\nYWxpY2U=\r\naHVudGVyMg==\r\n")
        assert codes(said)[-2:] == [500, 500]
        assert [event.verb for event in events if isinstance(event, Refused)] == [b"AUTH", b"", b""]
    events, _ = drive(server(), b"EHLO c.example\r\nFROB\r\n")
    assert events[-1].verb == b"FROB"
