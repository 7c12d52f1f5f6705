"""submission, senders, contacts, limits: whose addresses are whose, and how much a login may send."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import outcome, settings
from pymta.policy import limits, submission
from pymta.formats import contacts, senders
from pymta.message import header
from pymta.routing import Router

ALIASES = ("sales: alice, bob\nteam: :include:LIST\nout: ann@elsewhere.test\nmixed: alice, ann@elsewhere.test\nroot: bob\n"
           "@catch.test: alice\nloop: pool\npool: loop\nbroken: |command\nann@far.test: alice\n")


@pytest.fixture
def owners(tmp_path):
    (tmp_path / "pymta.conf").write_text("host.name = mx.example.test\nlocal.domains = example.test\nlocal.virtual_domains = virtual.test catch.test\n"
                                         "local.system_users = no\nlocal.virtual_uid = 1\n")
    (tmp_path / "users").write_text("alice\nbob\nalice-long\nalice@virtual.test\ncarol@virtual.test\n")
    (tmp_path / "list").write_text("alice\n")
    (tmp_path / "list").chmod(0o644)
    (tmp_path / "aliases").write_text(ALIASES.replace("LIST", str(tmp_path / "list")))
    (tmp_path / "senders").write_text("alice: press@brand.test, @lists.test\nCAROL@virtual.test : *\nalice@virtual.test: press@brand.test\n")
    given = settings.read(str(tmp_path))
    return submission.Owners(given, Router(given))


A, V, C = "alice@example.test", "alice@virtual.test", "carol@virtual.test"


@pytest.mark.parametrize("login, address, may", [
    (A, "alice@example.test", True), (A, "ALICE@Example.TEST", True), (A, "alice+news@example.test", True), (A, "alice-x-y@example.test", True),
    (A, "alice@mx.example.test", True), (A, "alice@localhost", True), (A, "bob@example.test", False), (A, "nobody@example.test", False),
    (A, "alice-long@example.test", False), (A, "alice-long-x@example.test", False), (A, "alice@virtual.test", False), (V, "alice@example.test", False),
    (A, "sales@example.test", True), (A, "sales+x@example.test", True), (A, "team@example.test", True), (A, "mixed@example.test", True),
    (A, "out@example.test", False), (A, "ann@elsewhere.test", False), (A, "anything@catch.test", True), (V, "anything@catch.test", False),
    (A, "postmaster@example.test", False), ("bob@example.test", "postmaster@example.test", True), ("bob@example.test", "root@example.test", True),
    (A, "loop@example.test", False), (A, "ann@far.test", True), (A, "bob@far.test", False), (A, "alice@elsewhere.test", False),
    (A, "press@brand.test", True), (A, "other@brand.test", False), (A, "any@lists.test", True), (A, "any@sub.lists.test", False),
    (V, "press@brand.test", True), (V, "any@lists.test", False), (C, "president@government.test", True), (C, "bob@example.test", True),
    (V, "alice@virtual.test", True), (V, "alice+x@virtual.test", True),
])
def test_from_what_address_a_login_may_send(owners, login, address, may):
    assert owners.owns(login, address.encode()) is may
    refusal = owners.sender(login, address.encode())
    assert (refusal is None) is may
    if refusal:
        assert (refusal.reply, refusal.status) == (553, "5.7.1") and address in refusal.text


def test_the_empty_sender_is_everybodys(owners):
    assert owners.sender(A, b"") is None


def test_what_cannot_be_told_now_is_refused_for_now(owners):
    assert owners.sender(A, b"broken@example.test") == outcome.LOCAL_ERROR


@pytest.mark.parametrize("fields, may", [
    ("Subject: no From at all\n", True),
    ("From: alice@example.test\n", True), ("From: Alice <alice+x@example.test>\n", True), ("from :\n \"A, B\" <sales@example.test>\n", True),
    ("From: alice\n", True), ("From: bob\n", False), ("From: (bob@example.test) alice@example.test\n", True),
    ("From: \"bob@example.test\" <alice@example.test>\n", True), ("From: alice@example.test, bob@example.test\n", False),
    ("From: alice@example.test, sales@example.test\n", True), ("From: Us: alice@example.test, bob@example.test;\n", False),
    ("From: Us: alice@example.test;\n", True), ("From: Us:;\n", False), ("From: <>\n", False), ("From:\n", False), ("From: Bob Smith\n", False),
    ("From: alice@example.test\nFrom: bob@example.test\n", False), ("From: alice@example.test\nSender: bob@example.test\n", True),
    ("From: bob@example.test\nSender: alice@example.test\n", False), ("From: bob@example.test\nResent-From: alice@example.test\n", False),
    ("From: <@relay.test:bob@example.test>\n", False), ("From: =?utf-8?q?Bob?= <bob@example.test>\n", False),
    ("From: \"alice@example.test\n\" <bob@example.test>\n", False), ("From: alice@example.test <bob@example.test>\n", False),
    ("From: " + "alice@example.test, " * 60 + "\n", False),
    ("From: \"alice\"@example.test\n", True), ("From: alice @ example.test\n", True), ("From: alice@example.test.\n", True),
])
def test_who_may_stand_in_from(owners, fields, may):
    refusal = owners.author(A, fields.encode())
    assert (refusal is None) is may
    assert refusal is None or (refusal.reply, refusal.status) == (553, "5.7.1")


@given(st.text("<>@,:;\"()\\ \n\tabobcextest.", max_size=60))
def test_whoever_is_allowed_is_all_there_is(text):
    """No way of writing From lets another address through."""
    class OnlyAlice(submission.Owners):
        def __init__(self):
            self._host = b"mx.example.test"

        def owns(self, login, address):
            return address.lower() == b"alice@example.test"

    fields = b"From: " + text.replace("\n", "\n ").encode() + b"\n"
    if OnlyAlice().author(A, fields) is None:
        assert {header.qualify(one, b"mx.example.test").lower() for one in header.addresses(header.get(fields, b"From") or b"")} <= {b"alice@example.test"}


# ---- senders ----------------------------------------------------------------------------------------------------------
def test_senders_and_what_is_wrong_in_them():
    table = senders.decode(b"\xef\xbb\xbf# who\r\n\r\nann: A@x.test, @Y.test,\r\nann: b@x.test # more\nbob *\ncat:\ndan: x\neve: @\n: a@b.test\nfay: a@b@c.test\ngus: *")
    assert table.by_login == {"ann": frozenset(("a@x.test", "@y.test", "b@x.test")), "gus": frozenset("*")}
    assert [number for number, _ in table.complaints] == [5, 6, 7, 8, 9, 10]
    assert all(";" in why for _, why in table.complaints)


@given(st.binary(max_size=200))
def test_any_senders_file_can_be_read(data):
    senders.decode(data)


def test_an_edit_counts_at_once_and_a_bad_line_is_named(owners, tmp_path, capfd):
    assert not owners.owns("bob@example.test", b"x@brand.test")
    (tmp_path / "senders").write_text("bob: x@brand.test\nnonsense\n")
    assert owners.owns("bob@example.test", b"x@brand.test") and not owners.owns(A, b"press@brand.test")
    assert "senders:2" in capfd.readouterr().err


# ---- contacts ---------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.binary(min_size=1, max_size=30)), max_size=20))
def test_contacts_come_back(rows):
    data = b"".join(contacts.encode(when, contacts.key(address)) for when, address in rows)
    wanted = {}
    for when, address in rows:
        wanted.setdefault(contacts.key(address), when)
    assert contacts.decode(data) == wanted
    assert contacts.decode(data + b"179543 torn@exa") == wanted


@given(st.text(min_size=1, max_size=80))
def test_a_file_name_is_one(login):
    name = contacts.file_name(login.encode("utf-8", "replace").decode())
    assert "/" not in name and not name.startswith(".") and name.isascii() and name.isprintable() and len(name) < 256


# ---- limits -----------------------------------------------------------------------------------------------------------
def ledger(rates=(), strangers=0, known=None):
    return limits.Ledger(rates, strangers, dict(known or {}))


def test_a_rate_holds_and_slides():
    rate = limits.Rate(60, 3600.0)
    for second in range(60):
        assert not rate.full(1000.0 + second)
        rate.add(1000.0 + second)
    assert rate.full(1059.0) and rate.full(1000.0 + 3500)
    assert not rate.full(1000.0 + 3700)


def test_over_the_rate_is_refused_and_told_once_an_hour():
    book = ledger(((2, 60.0), (3, 3600.0)))
    fates = []
    for tick in (0.0, 1.0, 2.0, 3.0, 70.0, 71.0, 3650.0, 3651.0, 3800.0):
        verdict, _ = book.ask("ann", "x", 1e9 + tick, 1e6 + tick)
        fates.append((verdict.fate, verdict.alarm is not None))
    assert fates == [("ok", False), ("ok", False), ("over", True), ("over", False), ("ok", False), ("over", False),
                     ("ok", False), ("ok", False), ("ok", False)]


def test_strangers_over_the_limit_stay_strangers_and_friends_go_through():
    day = 86400.0
    book = ledger((), 2, {"old": 5})
    steps = [("old", 0, "ok", False), ("a", 0, "ok", True), ("a", 1, "ok", False), ("b", 2, "ok", True), ("c", 3, "hold", False), ("c", 4, "hold", False),
             ("old", 5, "ok", False), ("b", 6, "ok", False), ("c", day + 1, "ok", True), ("d", day + 1.5, "hold", False), ("d", day + 3, "ok", True)]
    for recipient, at, fate, met in steps:
        verdict, became = book.ask("ann", recipient, 1e9 + at, 1e6 + at)
        assert (verdict.fate, became) == (fate, met), (recipient, at)


def test_what_is_on_disk_counts_after_a_restart():
    now = 1e9
    book = ledger((), 2, {"a": now - 100, "b": now - 90000, "c": now - 50})
    assert book.ask("ann", "d", now, 0.0)[0].fate == "hold"


@pytest.mark.parametrize("text, value", [("", ()), ("500/h", ((500, 3600.0),)), ("10/m, 5000/d", ((10, 60.0), (5000, 86400.0)))])
def test_rates_in_settings(text, value):
    assert settings.rates(text) == value


@pytest.mark.parametrize("text", ["5", "5/y", "/h", "0/h", "x/h", "5/hour"])
def test_what_is_no_rate(text):
    with pytest.raises(ValueError):
        settings.rates(text)


def test_the_alarm_is_a_proper_message_whatever_the_login():
    message = submission.alarm(b"mx.example.test", "a\r\nBcc: x@y\x00\u00e9@b", "what\nhappened", now=1.7e9, id="id")
    top, body = header.split(message)
    assert [name for name, _ in header.fields(top)] == [b"from", b"to", b"subject", b"date", b"message-id", b"auto-submitted", b"mime-version", b"content-type"]
    assert message.isascii() and b"what happened" in body
