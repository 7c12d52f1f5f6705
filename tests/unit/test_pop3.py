"""pop3: the engine alone.  What it says is in tests/sessions/pop3; here: however the bytes come, whatever they are, and the wire form."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.proto import pop3
from pymta.proto.pop3 import commands

MESSAGES = [b"Subject: one\n\nhello\n", b".\n..\n\n.x", b""]


def session(chunks, *, messages=MESSAGES, **options) -> tuple[list, bytes]:
    """(events, everything said) of a session with these messages, where every password is right and every event is answered."""
    server = pop3.Pop3Server(**{"tls": False, "stls": True, "login": True, **options})
    events, said = [], server.take()
    for chunk in chunks:
        server.feed(chunk)
        while (event := server.next_event()) is not None:
            assert server.next_event() is None          # nothing goes on before the answer
            events.append(event)
            match event:
                case pop3.Login():
                    server.logged_in([pop3.wire_octets(m) for m in messages], [b"id%d" % n for n in range(len(messages))])
                case pop3.Retrieve(index):
                    server.message(messages[index])
                case pop3.Commit():
                    server.committed(removed=True)
                case pop3.StartTls():
                    server.secured(login=True)
        said += server.take()
        if server.ended:
            break
    return events, said


def one_by_one(octets: bytes) -> list[bytes]:
    return [octets[at:at + 1] for at in range(len(octets))]


COMMANDS = st.sampled_from([b"USER a", b"PASS b", b"STAT", b"LIST", b"LIST 1", b"UIDL", b"RETR 1", b"RETR 2", b"TOP 1 0", b"TOP 2 1", b"DELE 1",
                            b"DELE 3", b"RSET", b"NOOP", b"CAPA", b"AUTH PLAIN AGEAYg==", b"AUTH PLAIN", b"AGEAYg==", b"*", b"AUTH", b"x" * 1100,
                            b"y" * 13000, b"RETR 99", b"QUIT", b"STLS", b"UTF8", b"LANG", b"LANG *", b"LANG en", b"LANG xx", b"AUTH LOGIN",
                            b"AUTH LOGIN YQ==", b"Yg=="])


@given(st.lists(COMMANDS | st.binary(max_size=20), max_size=12), st.data())
def test_however_the_bytes_are_cut_the_session_is_the_same(lines, data):
    """All but STLS, which asks that nothing has come with it."""
    octets = b"".join(line + b"\r\n" for line in lines if not line.upper().startswith(b"STLS"))
    whole = session([octets])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=5)))
    assert session([octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)])]) == whole
    assert session(one_by_one(octets)) == whole


@given(st.lists(st.binary(max_size=50) | COMMANDS, max_size=20), st.booleans(), st.booleans(), st.booleans())
def test_a_peer_can_cause_nothing_but_err(chunks, tls, stls, login):
    events, said = session([b"%s\n" % chunk for chunk in chunks], tls=tls, stls=stls and not tls, login=login)
    assert said.endswith(b"\r\n") and said.count(b"\n") == said.count(b"\r\n")
    if not login and not tls:
        assert not any(isinstance(event, pop3.Retrieve | pop3.Commit) for event in events) or any(isinstance(e, pop3.StartTls) for e in events)


# A session is brought into a state, then hears anything at all; each event gets any of the answers it can have.
STATES = {"AUTHORIZATION": b"", "NAMED": b"USER a\r\n", "SASL": b"AUTH LOGIN\r\n", "SASL half way": b"AUTH LOGIN YQ==\r\n",
          "TRANSACTION": b"USER a\r\nPASS b\r\n", "deleted": b"USER a\r\nPASS b\r\nDELE 1\r\n"}
ANSWERS = {
    pop3.Login: [lambda s: s.logged_in([7, 8, 0], [b"x", b"y", b"z"]), lambda s: s.refused(b"AUTH", b"no"), lambda s: s.refused(b"IN-USE", b"busy")],
    pop3.Retrieve: [lambda s: s.message(MESSAGES[s.wanted[0]]), lambda s: s.gone(), lambda s: s.unreadable()],
    pop3.Commit: [lambda s: s.committed(removed=True), lambda s: s.committed(removed=False)],
    pop3.StartTls: [lambda s: s.secured(login=True)]}


@pytest.mark.parametrize("state", STATES)
@given(said=st.lists(COMMANDS.map(lambda line: line + b"\r\n") | st.binary(max_size=30), max_size=12), answers=st.lists(st.integers(0, 2), max_size=12))
def test_anything_in_every_state(state, said, answers):
    """Always whole lines, never an exception, and an end that is one."""
    server = pop3.Pop3Server(tls=False, stls=True, login=True)
    server.feed(STATES[state])
    if isinstance(server.next_event(), pop3.Login):
        server.logged_in([7, 8, 0], [b"x", b"y", b"z"])
        assert server.next_event() is None
    assert server.state == {"SASL half way": "SASL", "deleted": "TRANSACTION"}.get(state, state)
    heard = server.take()
    for chunk in said:
        server.feed(chunk)
        while (event := server.next_event()) is not None:
            possible = ANSWERS[type(event)]
            possible[(answers.pop() if answers else 0) % len(possible)](server)
        heard += server.take()
    assert all(line.endswith(b"\r\n") for line in heard.splitlines(keepends=True)) and heard.startswith(b"+OK POP3 server ready\r\n")
    if server.ended:
        server.feed(b"NOOP\r\nUSER a\r\n")
        assert server.next_event() is None and server.take() == b""


def test_a_line_without_end_takes_no_memory():
    server = pop3.Pop3Server(tls=False, stls=False, login=True)
    for _ in range(1000):
        server.feed(b"x" * 10000)
        assert server.next_event() is None
        assert len(server._rest) <= 12288 + 10000 and len(server._lines) <= 2
    server.feed(b"\r\nNOOP\r\nCAPA\r\n")
    assert server.next_event() is None
    said = server.take()
    assert said.startswith(b"+OK POP3 server ready\r\n-ERR line too long\r\n-ERR log in first\r\n+OK\r\nTOP\r\n")


@pytest.mark.parametrize("answer, said, state", [
    (lambda s: s.refused(b"AUTH", b"no"), b"-ERR [AUTH] no\r\n", pop3.AUTHORIZATION),
    (lambda s: s.refused(b"IN-USE", b"busy"), b"-ERR [IN-USE] busy\r\n", pop3.AUTHORIZATION),
    (lambda s: s.logged_in([], []), b"+OK 0 messages (0 octets)\r\n", pop3.TRANSACTION)])
def test_commands_behind_a_login_wait_for_the_verdict(answer, said, state):
    server = pop3.Pop3Server(tls=True, stls=False, login=True)
    server.take()
    server.feed(b"USER a\r\nPASS b c \r\nUIDL\r\n")
    assert server.next_event() == pop3.Login("a", "b c ")
    assert server.take() == b"+OK\r\n" and server.busy and server.waiting
    server.feed(b"")
    assert server.next_event() is None and server.take() == b""
    answer(server)
    assert server.state == state and server.next_event() is None
    assert server.take() == said + (b"+OK 0 messages\r\n.\r\n" if state == pop3.TRANSACTION else b"-ERR log in first\r\n")


def test_a_message_that_is_gone_or_cannot_be_read():
    server = pop3.Pop3Server(tls=True, stls=False, login=True)
    server.feed(b"USER a\r\nPASS b\r\nRETR 2\r\nTOP 1 5\r\nSTAT\r\n")
    assert isinstance(server.next_event(), pop3.Login)
    server.logged_in([5, 6], [b"x", b"y"])
    assert server.next_event() == pop3.Retrieve(1, None)
    server.gone()
    assert server.next_event() == pop3.Retrieve(0, 5)
    server.unreadable()
    assert server.next_event() is None
    assert server.take().split(b"\r\n")[-4:-1] == [b"-ERR message 2 is gone: another session removed it",
                                                   b"-ERR [SYS/TEMP] message 1 cannot be read now", b"+OK 2 11"]


def test_quit_commits_what_was_deleted_and_says_how_it_went():
    server = pop3.Pop3Server(tls=True, stls=False, login=True)
    server.feed(b"USER a\r\nPASS b\r\nDELE 3\r\nDELE 1\r\nQUIT\r\nRETR 2\r\n")
    server.next_event()
    server.logged_in([5, 6, 7], [b"x", b"y", b"z"])
    assert server.next_event() == pop3.Commit((0, 2))
    server.committed(removed=False)
    assert server.ended and server.next_event() is None
    assert server.take().endswith(b"-ERR [SYS/TEMP] some deleted messages were not removed; they will be seen again\r\n")


def test_bye_commits_nothing():
    server = pop3.Pop3Server(tls=True, stls=False, login=True)
    server.feed(b"USER a\r\nPASS b\r\nDELE 1\r\n")
    server.next_event()
    server.logged_in([5], [b"x"])
    server.next_event()
    server.bye(b"idle for too long; closing")
    server.feed(b"QUIT\r\n")
    assert server.ended and server.next_event() is None and server.take().endswith(b"\r\n-ERR idle for too long; closing\r\n")


def test_no_password_in_a_repr():
    assert "secret" not in repr(pop3.Login("a", "secret"))


def test_every_command_of_the_table_has_its_function():
    assert set(commands.DO) == pop3.COMMANDS


# ---- the wire form ----------------------------------------------------------------------------------------------------
def plainly(stored: bytes, lines: int | None) -> bytes:
    """The wire form, spelt out."""
    text = stored.replace(b"\r\n", b"\n")
    rows = text.split(b"\n")
    if rows[-1] == b"":
        rows.pop()
    if lines is not None and b"" in rows:
        rows = rows[:rows.index(b"") + 1 + lines]
    return b"".join((b"." if row.startswith(b".") else b"") + row + b"\r\n" for row in rows) + b".\r\n"


MAIL = st.lists(st.sampled_from([b"\n", b"\r\n", b".", b"..", b"a", b": ", b"\r", b"\n\n", b"\xff\0"]), max_size=20).map(b"".join)


@given(MAIL, st.none() | st.integers(0, 5), st.integers(0, 7))
def test_the_wire_form_in_any_pieces(stored, lines, bite):
    form = pop3.WireForm(lines)
    parts = [stored[at:at + bite] for at in range(0, len(stored), bite)] if bite else [stored]
    out = b""
    for part in parts:
        out += form.feed(part)
        if form.done:
            break
    assert out + form.end() == plainly(stored, lines)


@given(MAIL)
def test_the_size_is_what_a_client_stores(stored):
    sent = plainly(stored, None)[:-3]
    assert pop3.wire_octets(stored) == len(sent) - sent.count(b"\r\n.") - sent.startswith(b".")


@pytest.mark.parametrize("stored, octets", [(b"", 0), (b"a\n", 3), (b"a", 3), (b"a\r\nb\n", 6), (b".\n", 3)])
def test_sizes(stored, octets):
    assert pop3.wire_octets(stored) == octets
