"""The client engine: what it says, what it makes of the answers, however they are cut."""
from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pymta.proto.smtp_client import Closed, Ready, Result, SendBody, SmtpClient, StartTls, Transaction
from pymta.proto.smtp_reply import LINE_MAX_OCTETS, REPLY_MAX_LINES, read_reply
from pymta.proto.stuffing import Stuffing

TO_ONE = Transaction(b"ann@a.example", (b"bob@b.example",), 100, False)
TO_THREE = Transaction(b"ann@a.example", (b"r0@b.example", b"r1@b.example", b"r2@b.example"), 100, False)
PIPELINING = b"250-b.example\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
PLAIN = b"250 b.example\r\n"


class Talk:
    """A client and the peer's side of the talk.  step: how many octets of an answer are fed at a time (None: all)."""

    def __init__(self, step: int | None = None, **options: object) -> None:
        self.client = SmtpClient(b"a.example", **options)       # type: ignore[arg-type]
        self.step = step
        self.events: list[object] = []

    def hear(self, data: bytes) -> bytes:
        """Feed data; what the client then says."""
        step = self.step or max(1, len(data))
        for at in range(0, len(data), step):
            self.events += self.client.feed(data[at:at + step])
        return self.client.take()

    def up(self, ehlo: bytes = PIPELINING) -> Talk:
        self.hear(b"220 b.example ESMTP\r\n")
        self.hear(ehlo)
        assert self.events == [Ready()]
        self.events.clear()
        return self

    def begin(self, transaction: Transaction) -> bytes:
        self.events += self.client.begin(transaction)
        return self.client.take()

    def send(self, message: bytes = b"Subject: x\n\nbody\n") -> bytes:
        assert self.events.pop() == SendBody()
        self.client.body(message)
        self.client.end_of_body()
        return self.client.take()

    def fates(self) -> dict[int, tuple[int, str]]:
        """recipient -> (code, status); each has one at most."""
        results = [event for event in self.events if isinstance(event, Result)]
        assert len({result.recipient for result in results}) == len(results)
        return {result.recipient: (result.outcome.reply, result.outcome.status) for result in results}

    def ended(self) -> object:
        return self.events[-1]


@pytest.fixture(params=[None, 1, 2], ids=["whole", "bytewise", "by two"])
def talk(request: pytest.FixtureRequest) -> Talk:
    return Talk(request.param)


def test_greets(talk: Talk) -> None:
    assert talk.hear(b"220-hello\r\n220 b.example\r\n") == b"EHLO a.example\r\n"
    assert talk.hear(PIPELINING) == b""
    assert talk.events == [Ready()]
    assert talk.client.extensions[b"SIZE"] == b"1000"


def test_falls_back_to_helo(talk: Talk) -> None:
    talk.hear(b"220 b.example\r\n")
    assert talk.hear(b"502 5.5.1 what?\r\n") == b"HELO a.example\r\n"
    talk.hear(b"250 b.example\r\n")
    assert talk.events == [Ready()] and not talk.client.extensions


@pytest.mark.parametrize("greeting, code", [(b"554 no", 554), (b"421 later", 421), (b"521 never", 521)])
def test_refused_at_the_door(talk: Talk, greeting: bytes, code: int) -> None:
    assert talk.hear(greeting + b"\r\n") == b""
    closed = talk.ended()
    assert isinstance(closed, Closed) and closed.outcome.reply == code and closed.said


def test_pipelined_transaction_is_one_write(talk: Talk) -> None:
    talk.up()
    assert talk.begin(TO_THREE) == (b"MAIL FROM:<ann@a.example> SIZE=100\r\nRCPT TO:<r0@b.example>\r\nRCPT TO:<r1@b.example>\r\n"
                                    b"RCPT TO:<r2@b.example>\r\nDATA\r\n")
    assert talk.hear(b"250 ok\r\n250 ok\r\n450 4.2.1 later\r\n250 ok\r\n354 go\r\n") == b""
    assert talk.send() == b"Subject: x\r\n\r\nbody\r\n.\r\n"
    talk.hear(b"250 2.0.0 taken\r\n")
    assert talk.fates() == {0: (250, "2.0.0"), 1: (450, "4.2.1"), 2: (250, "2.0.0")}
    assert talk.ended() == Ready()
    assert talk.begin(TO_ONE).startswith(b"MAIL FROM")          # no RSET after a message


def test_without_pipelining_line_by_line(talk: Talk) -> None:
    talk.up(PLAIN)
    assert talk.begin(TO_THREE) == b"MAIL FROM:<ann@a.example>\r\n"
    assert talk.hear(b"250 ok\r\n") == b"RCPT TO:<r0@b.example>\r\n"
    assert talk.hear(b"550 5.1.1 no\r\n") == b"RCPT TO:<r1@b.example>\r\n"
    assert talk.hear(b"250 ok\r\n") == b"RCPT TO:<r2@b.example>\r\n"
    assert talk.hear(b"250 ok\r\n") == b"DATA\r\n"
    talk.hear(b"354 go\r\n")
    talk.send()
    talk.hear(b"250 taken\r\n")
    assert talk.fates() == {0: (550, "5.1.1"), 1: (250, "2.0.0"), 2: (250, "2.0.0")}


def test_mail_refused_line_by_line_needs_no_rset(talk: Talk) -> None:
    talk.up(PLAIN)
    talk.begin(TO_ONE)
    assert talk.hear(b"550 5.7.1 not you\r\n") == b""
    assert talk.fates() == {0: (550, "5.7.1")} and talk.ended() == Ready()
    assert talk.begin(TO_ONE) == b"MAIL FROM:<ann@a.example>\r\n"


def test_mail_refused_in_a_pipeline_decides_for_all(talk: Talk) -> None:
    talk.up()
    talk.begin(TO_THREE)
    assert talk.hear(b"452 4.3.1 full\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n503 5.5.1 no\r\n") == b""
    assert Ready() not in talk.events                           # the answer to DATA is still to come
    talk.hear(b"503 5.5.1 no\r\n")
    assert talk.fates() == dict.fromkeys(range(3), (452, "4.3.1")) and talk.ended() == Ready()


def test_everybody_refused_without_pipelining_sends_no_data(talk: Talk) -> None:
    talk.up(PLAIN)
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n")
    assert talk.hear(b"550 5.1.1 no\r\n") == b""
    assert talk.ended() == Ready()
    assert talk.begin(TO_ONE) == b"RSET\r\n"                    # the refused transaction is still open there
    assert talk.hear(b"250 ok\r\n") == b"MAIL FROM:<ann@a.example>\r\n"


def test_everybody_refused_but_data_accepted_ends_it_at_once(talk: Talk) -> None:
    # RFC 2920 §3.1
    talk.up()
    talk.begin(TO_ONE)
    assert talk.hear(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n") == b".\r\n"
    talk.hear(b"554 5.5.1 nobody\r\n")
    assert talk.fates() == {0: (550, "5.1.1")} and talk.ended() == Ready()


def test_no_message_for_a_sender_who_was_refused(talk: Talk) -> None:
    # a peer that refuses MAIL and takes RCPT and DATA all the same would get an empty message from nobody
    talk.up()
    talk.begin(TO_ONE)
    assert talk.hear(b"550 5.7.1 no\r\n250 ok\r\n354 go\r\n") == b""
    assert talk.fates() == {0: (550, "5.7.1")} and isinstance(talk.ended(), Closed)


def test_everybody_refused_in_a_pipeline_is_reset_with_the_next(talk: Talk) -> None:
    talk.up()
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 nobody\r\n")
    assert talk.begin(TO_ONE).startswith(b"RSET\r\nMAIL FROM:")
    talk.events.clear()
    talk.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.hear(b"250 ok\r\n")
    assert talk.fates() == {0: (250, "2.0.0")}


def test_rset_refused_sends_nobody_a_bounce(talk: Talk) -> None:
    talk.up()
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 nobody\r\n")
    talk.events.clear()
    talk.begin(TO_ONE)
    talk.hear(b"500 5.5.2 what?\r\n")
    closed = talk.ended()
    assert isinstance(closed, Closed) and closed.unsent and closed.outcome.temporary and not talk.fates()


def test_final_refusal_is_for_the_accepted_only(talk: Talk) -> None:
    talk.up()
    talk.begin(TO_THREE)
    talk.hear(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.hear(b"554 5.6.0 dislike\r\n")
    assert talk.fates() == {0: (554, "5.6.0"), 1: (550, "5.1.1"), 2: (554, "5.6.0")} and talk.ended() == Ready()


def test_421_in_the_middle_defers_the_rest(talk: Talk) -> None:
    talk.up()
    talk.begin(TO_THREE)
    talk.hear(b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 going down\r\n")
    assert talk.fates() == {0: (550, "5.1.1"), 1: (421, "4.3.2"), 2: (421, "4.3.2")}
    closed = talk.ended()
    assert isinstance(closed, Closed) and not closed.unsent


def test_stale_connection_gives_the_transaction_back() -> None:
    talk = Talk().up()
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.hear(b"250 ok\r\n")
    talk.events.clear()
    talk.begin(TO_ONE)
    assert [event.unsent for event in talk.client.lost() if isinstance(event, Closed)] == [True]


def test_fresh_connection_does_not() -> None:
    talk = Talk().up()
    talk.begin(TO_ONE)
    talk.events += talk.client.lost()
    assert talk.fates() == {0: (451, "4.4.2")} and talk.ended().unsent is False      # type: ignore[attr-defined]


def test_cut_after_the_message_defers() -> None:
    talk = Talk().up()
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.events += talk.client.lost()
    assert talk.fates() == {0: (451, "4.4.2")}
    assert "the final reply" in talk.events[0].outcome.text      # type: ignore[attr-defined]


@pytest.mark.parametrize("reply, fate", [(b"552 5.3.4 too big\r\n", (552, "5.3.4")), (b"451 4.3.0 disk\r\n", (451, "4.3.0")),
                                         (b"250 2.0.0 thanks\r\n", (451, "4.5.0"))])
def test_reply_before_the_message_has_ended(talk: Talk, reply: bytes, fate: tuple[int, str]) -> None:
    talk.up()
    talk.begin(TO_ONE)
    talk.hear(b"250 ok\r\n250 ok\r\n354 go\r\n")
    talk.client.body(b"Subject: x\n")
    talk.hear(reply)
    assert talk.fates() == {0: fate} and isinstance(talk.ended(), Closed)


def test_lmtp_has_a_reply_for_each_accepted_recipient(talk: Talk) -> None:
    talk.client = SmtpClient(b"a.example", lmtp=True)
    assert talk.hear(b"220 b\r\n") == b"LHLO a.example\r\n"
    talk.hear(PIPELINING)
    talk.begin(TO_THREE)
    talk.hear(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.hear(b"250 2.1.5 r0 has it\r\n452 4.2.2 r2 is full\r\n")
    assert talk.fates() == {0: (250, "2.1.5"), 1: (550, "5.1.1"), 2: (452, "4.2.2")} and talk.ended() == Ready()


def test_lmtp_cut_between_the_final_replies(talk: Talk) -> None:
    talk.client = SmtpClient(b"a.example", lmtp=True)
    talk.hear(b"220 b\r\n")
    talk.hear(PIPELINING)
    talk.begin(TO_THREE)
    talk.hear(b"250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    talk.send()
    talk.hear(b"250 2.1.5 r0 has it\r\n")
    talk.events += talk.client.lost()
    assert talk.fates() == {0: (250, "2.1.5"), 1: (451, "4.4.2"), 2: (451, "4.4.2")}


def test_lmtp_has_no_helo() -> None:
    talk = Talk(lmtp=True)
    talk.hear(b"220 b\r\n")
    assert talk.hear(b"502 what?\r\n") == b"" and isinstance(talk.ended(), Closed)


# ---- TLS --------------------------------------------------------------------------------------------------------------
def test_starttls_forgets_what_was_said(talk: Talk) -> None:
    talk.hear(b"220 b\r\n")
    assert talk.hear(b"250-b\r\n250-PIPELINING\r\n250 STARTTLS\r\n") == b"STARTTLS\r\n"
    talk.hear(b"220 2.0.0 go\r\n")
    assert talk.events == [StartTls()]
    talk.client.secured()
    assert talk.client.take() == b"EHLO a.example\r\n"
    talk.hear(b"250-b\r\n250 STARTTLS\r\n")
    assert talk.events == [StartTls(), Ready()] and talk.client.secure
    assert talk.begin(TO_ONE).count(b"\r\n") == 1               # no PIPELINING any more


@pytest.mark.parametrize("extra", [b"250 b\r\n", b"2", b"\r\n"])
def test_bytes_behind_the_go_ahead(talk: Talk, extra: bytes) -> None:
    # RFC 3207 §5
    talk.hear(b"220 b\r\n")
    talk.hear(b"250-b\r\n250 STARTTLS\r\n")
    talk.hear(b"220 go\r\n" + extra)
    closed = talk.ended()
    assert isinstance(closed, Closed) and closed.outcome.status == "4.5.0"


def test_starttls_refused_goes_on_in_clear(talk: Talk) -> None:
    talk.hear(b"220 b\r\n")
    talk.hear(b"250-b\r\n250 STARTTLS\r\n")
    talk.hear(b"454 4.7.0 no key\r\n")
    assert talk.events == [Ready()] and talk.client.tls_refused and talk.client.tls_refused.reply == 454


def test_no_starttls_when_told_so() -> None:
    talk = Talk(tls=False)
    talk.hear(b"220 b\r\n")
    assert talk.hear(b"250-b\r\n250 STARTTLS\r\n") == b"" and talk.events == [Ready()]


# ---- what is known before anything is said ----------------------------------------------------------------------------
def test_too_big_for_the_peer_is_not_even_tried() -> None:
    talk = Talk().up()
    assert talk.begin(Transaction(b"a@a.example", (b"b@b.example",), 1001, False)) == b""
    assert talk.fates() == {0: (552, "5.3.4")} and talk.ended() == Ready()


@pytest.mark.parametrize("eight_bit, word", [(True, True), (False, False)])
def test_8bitmime_is_declared_when_offered_and_needed(eight_bit: bool, word: bool) -> None:
    talk = Talk().up()
    assert (b"BODY=8BITMIME" in talk.begin(Transaction(b"a@a.example", (b"b@b.example",), 10, eight_bit))) == word


def test_8bit_goes_as_it_is_to_a_peer_without_8bitmime() -> None:
    talk = Talk().up(PLAIN)
    assert talk.begin(Transaction(b"a@a.example", (b"b@b.example",), 10, True)) == b"MAIL FROM:<a@a.example>\r\n"


def test_addresses_outside_ascii_need_smtputf8() -> None:
    talk = Talk().up()
    said = talk.begin(Transaction(b"a@a.example", ("jürgen@b.example".encode(), b"b@b.example"), 10, False))
    assert b"rgen" not in said and b"RCPT TO:<b@b.example>" in said
    assert talk.fates() == {0: (553, "5.6.7")}


def test_a_header_outside_ascii_needs_smtputf8() -> None:
    unicode = Transaction(b"a@a.example", (b"b@b.example",), 10, True, utf8=True)
    assert (talk := Talk().up()).begin(unicode) == b"" and talk.fates() == {0: (554, "5.6.7")} and talk.ended() == Ready()
    assert b"MAIL FROM:<a@a.example> BODY=8BITMIME SMTPUTF8\r\n" in Talk().up(b"250-b\r\n250-8BITMIME\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n").begin(unicode)


ASKING = Transaction(b"a@a.example", (b"b@b.example", b"c@b.example"), 10, False, ret=b"HDRS", envid=b"QQ+2B1",
                     wishes=((b"SUCCESS,DELAY", b"rfc822;B@b.example"), (b"", b"")))


def test_dsn_parameters_go_to_a_host_that_has_dsn() -> None:
    """RFC 3461 §5.2.1."""
    assert Talk().up(b"250-b\r\n250-PIPELINING\r\n250 DSN\r\n").begin(ASKING) == (
        b"MAIL FROM:<a@a.example> RET=HDRS ENVID=QQ+2B1\r\nRCPT TO:<b@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;B@b.example\r\n"
        b"RCPT TO:<c@b.example>\r\nDATA\r\n")


def test_dsn_parameters_go_to_no_other() -> None:
    assert Talk().up(b"250-b\r\n250 PIPELINING\r\n").begin(ASKING) == \
        b"MAIL FROM:<a@a.example>\r\nRCPT TO:<b@b.example>\r\nRCPT TO:<c@b.example>\r\nDATA\r\n"


@pytest.mark.parametrize("broken", [{"envid": b"a b"}, {"ret": b"\r\n"}, {"wishes": ((b"NEVER\r\nDATA", b""),)}, {"wishes": ((b"", "ö".encode()),)}])
def test_no_dsn_parameter_breaks_a_line(broken) -> None:
    with pytest.raises(ValueError):
        Talk().up().client.begin(Transaction(b"a@a.example", (b"b@b.example",), 10, False, **broken))


def test_control_bytes_never_reach_the_wire() -> None:
    talk = Talk().up()
    with pytest.raises(ValueError):
        talk.client.begin(Transaction(b"a@a.example", (b"b@b.example>\r\nRCPT TO:<c@c.example",), 10, False))
    assert talk.client.take() == b""


# ---- liars ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rubbish", [b"HTTP/1.1 400 Bad Request\r\n", b"\r\n", b"99 x\r\n", b"25O ok\r\n", b"150 wait\r\n", b"650 x\r\n",
                                     b"250ok\r\n", b"\xff\xfe\r\n", b"x" * (LINE_MAX_OCTETS + 1), b"220-x\r\n" * (REPLY_MAX_LINES + 1),
                                     b"354 go\r\n"])
def test_no_reply_at_all(talk: Talk, rubbish: bytes) -> None:
    talk.hear(rubbish)
    closed = talk.ended()
    assert isinstance(closed, Closed) and closed.outcome.status == "4.5.0" and not closed.said
    assert closed.outcome.text.isprintable() and closed.outcome.text.isascii()


@pytest.mark.parametrize("unasked", [b"250 surprise\r\n", b"550 surprise\r\n"])
def test_a_reply_nobody_asked_for(talk: Talk, unasked: bytes) -> None:
    talk.up()
    talk.hear(unasked)
    assert talk.ended().outcome.status == "4.5.0"                # type: ignore[attr-defined]


def test_421_unasked_is_a_goodbye(talk: Talk) -> None:
    talk.up()
    talk.hear(b"421 4.4.2 idle\r\n")
    assert talk.ended().outcome.reply == 421                     # type: ignore[attr-defined]


@pytest.mark.parametrize("answers", [b"354 go\r\n", b"250 ok\r\n354 go\r\n", b"250 ok\r\n250 ok\r\n250 ok\r\n"])
def test_3xx_and_2xx_in_the_wrong_place(talk: Talk, answers: bytes) -> None:
    talk.up()
    talk.begin(TO_ONE)
    talk.hear(answers)
    assert talk.fates() == {0: (451, "4.5.0")} and isinstance(talk.ended(), Closed)


def test_goodbye(talk: Talk) -> None:
    talk.up()
    talk.client.quit()
    assert talk.client.take() == b"QUIT\r\n"
    talk.hear(b"221 2.0.0 bye\r\n")
    assert isinstance(talk.ended(), Closed)


@pytest.mark.parametrize("code, lines, status, text", [
    (b"550", [b"5.1.1 no such user"], "5.1.1", "550 5.1.1 no such user"),
    (b"550", [b"5.1.1 no such", b"5.1.1 user"], "5.1.1", "550 5.1.1 no such user"),
    (b"550", [b"no such user"], "5.0.0", "550 no such user"),
    (b"550", [b"4.1.1 classes differ"], "5.0.0", "550 4.1.1 classes differ"),
    (b"550", [b"5.1.1000 x"], "5.0.0", "550 5.1.1000 x"),
    (b"450", [], "4.0.0", "450"),
    (b"554", ["5.7.1 nö\x00\x1b[2J".encode()], "5.7.1", "554 5.7.1 n???[2J"),
    (b"452", [b"4.5.3"], "4.5.3", "452 4.5.3"),
])
def test_read_reply(code: bytes, lines: list[bytes], status: str, text: str) -> None:
    answer = read_reply(code, tuple(lines))
    assert (answer.reply, answer.status, answer.text) == (int(code), status, text)


@pytest.mark.parametrize("first, code, status", [(b"250 ok", 452, "4.5.3"), (b"550 5.1.1 no", 552, "5.0.0")])
def test_552_for_one_recipient_too_many_is_452(first: bytes, code: int, status: str) -> None:
    # RFC 5321 §4.5.3.1.10
    talk = Talk().up()
    talk.begin(Transaction(b"", (b"a@b.example", b"b@b.example"), 10, False))
    talk.hear(b"250 ok\r\n" + first + b"\r\n552 too many recipients\r\n354 go\r\n")
    assert talk.fates()[1] == (code, status)


# ---- the message ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("message, wire", [
    (b"", b".\r\n"),
    (b"a\n", b"a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b".\n", b"..\r\n.\r\n"),
    (b"a\n.b\n..\n", b"a\r\n..b\r\n...\r\n.\r\n"),
    (b"a\r\nb\n", b"a\r\nb\r\n.\r\n"),
    (b"a\rb\n", b"a b\r\n.\r\n"),
    (b"a\r", b"a\r\n.\r\n"),
    (b"a\n.\r\nMAIL", b"a\r\n..\r\nMAIL\r\n.\r\n"),
    (b"a\r.\r\nb\n", b"a .\r\nb\r\n.\r\n"),
    (b"a\n\r.\n", b"a\r\n .\r\n.\r\n"),
    (b"\n\n", b"\r\n\r\n.\r\n"),
])
@pytest.mark.parametrize("step", [1, 2, 3, 100])
def test_stuffing(message: bytes, wire: bytes, step: int) -> None:
    stuffing = Stuffing()
    parts = [stuffing.feed(message[at:at + step]) for at in range(0, len(message), step)]
    assert b"".join(parts) + stuffing.end() == wire


@given(st.lists(st.text(alphabet="\r\n.a", max_size=6).map(str.encode)))
def test_nothing_of_a_message_ends_it_or_stands_bare(chunks: list[bytes]) -> None:
    stuffing = Stuffing()
    wire = b"".join([stuffing.feed(chunk) for chunk in chunks]) + stuffing.end()
    assert wire.endswith(b".\r\n")
    content = wire[:-3]
    assert content == b"" or content.endswith(b"\r\n")
    lines = content.split(b"\r\n")[:-1]
    assert all(b"\r" not in line and b"\n" not in line and line != b"." for line in lines)
    received = b"".join((line[1:] if line.startswith(b".") else line) + b"\n" for line in lines)
    sent = b"".join(chunks)
    # each CR is gone before a line's end, else a blank
    assert received.rstrip(b"\n").count(b".") == sent.count(b".") and received.count(b"a") == sent.count(b"a")
    assert received.count(b"\n") - sent.count(b"\n") in (0, 1)


@given(st.lists(st.one_of(st.sampled_from([b"220 x\r\n", b"250-a\r\n", b"250 b\r\n", b"354 c\r\n", b"550 5.1.1 d\r\n", b"421 e\r\n", b"250 STARTTLS\r\n"]),
                          st.binary(max_size=8))))
def test_any_peer_gives_each_recipient_one_fate(chunks: list[bytes]) -> None:
    client = SmtpClient(b"a.example", tls=False)
    events: list[object] = []
    begun = False
    for chunk in (b"220 x\r\n", PIPELINING, *chunks):
        heard: list[object] = list(client.feed(chunk))
        events += heard
        if Ready() in heard and not begun:
            begun = True
            events += client.begin(TO_THREE)
        if SendBody() in heard:
            client.body(b"x\n")
            client.end_of_body()
        client.take()
    events += client.lost()
    fates = [event.recipient for event in events if isinstance(event, Result)]
    assert sorted(fates) == [0, 1, 2] and sum(isinstance(event, Closed) for event in events) == 1
