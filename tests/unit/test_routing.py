"""routing: who gets the mail.  Rows of (address, recipients) under one aliases and one users file."""
import os
import socket

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pymta import clock, outcome, routing, settings
from pymta.formats.queuefile import LOCAL, REMOTE, Recipient
from pymta.outcome import Outcome
from pymta.routing import Router

HOLD = "HOLD root@mail.example.test"

USERS = """\
alice
bob
carol
mary
mary-ann
root2@shop.test
bob@shop.test
only@shop.test
dan@third.test
"""


@pytest.fixture
def make(tmp_path):
    """make(aliases, users=, **settings with __ for the dot) -> Router"""
    def make(aliases="", users=USERS, **values):
        values = {"host__name": "mail.example.test", "local__domains": "example.test example.org", "local__virtual_domains": "empty.test",
                  "local__system_users": "no", "local__virtual_uid": "1234", **values}
        (tmp_path / "aliases").write_bytes(aliases.replace("ETC", str(tmp_path)).encode())
        (tmp_path / "users").write_text(users)
        (tmp_path / "pymta.conf").write_text("".join(f"{name.replace('__', '.')} = {value}\n" for name, value in values.items()))
        return Router(settings.read(str(tmp_path)))
    return make


def outcome_or_addresses(answer):
    if isinstance(answer, Outcome):
        return f"{answer.reply} {answer.status}"
    words = {LOCAL: "", REMOTE: "> "}
    return [("HOLD " if any(name == b"Pymta-Hold" for name, _ in one.notes) else words[one.kind]) + one.address.decode() for one in answer]


def check(router, rows):
    said = [(address, outcome_or_addresses(router.resolve(address.encode()))) for address, _ in rows]
    assert said == rows


NO, LOOP, LATER = "550 5.1.1", "554 5.4.6", "451 4.3.0"


def test_mailboxes(make):
    check(make(), [
        ("alice@example.test", ["alice@example.test"]),
        ("ALICE@Example.TEST", ["alice@example.test"]),
        ("alice@example.test.", ["alice@example.test"]),
        ("alice@example.org", ["alice@example.test"]),
        ("alice@localhost", ["alice@example.test"]),
        ("alice@mail.example.test", ["alice@example.test"]),
        ("alice", ["alice@example.test"]),
        ('"alice"@example.test', ["alice@example.test"]),
        ("alice-lists@example.org", ["alice-lists@example.test"]),
        ("Alice+Lists@example.org", ["alice+lists@example.test"]),
        ("mary-ann@example.test", ["mary-ann@example.test"]),
        ("mary-ann-x@example.test", ["mary-ann-x@example.test"]),
        ("mary-bob@example.test", ["mary-bob@example.test"]),
        ("bob@shop.test", ["bob@shop.test"]),
        ("bob-x@SHOP.test", ["bob-x@shop.test"]),
        ("alice@shop.test", NO),
        ("nobody@example.test", NO),
        ("nobody", NO),
        ("alice@empty.test", NO),
        ("x@third.test", NO),
    ])


def test_the_first_claim_wins(make):
    check(make("""\
alice: bob
alice@example.org: carol
mary: carol
bob-x: alice@example.org
@shop.test: catch@shop.example
@example.org: only@shop.test
dead@shop.test: nosuch
"""), [
        ("dead@shop.test", NO),                                  # a claim is a claim
        ("alice@example.test", ["bob@example.test"]),
        ("alice@example.org", ["carol@example.test"]),
        ("alice-x@example.test", ["bob@example.test"]),          # an alias beats a mailbox of the same length
        ("alice-x@example.org", ["carol@example.test"]),
        ("mary-ann@example.test", ["mary-ann@example.test"]),    # and the longer name beats the shorter
        ("mary-ann-x@example.test", ["mary-ann-x@example.test"]),
        ("mary-x@example.test", ["carol@example.test"]),
        ("bob-x@example.test", ["carol@example.test"]),
        ("bob-y@example.test", ["bob-y@example.test"]),
        ("nobody@shop.test", ["> catch@shop.example"]),
        ("bob@shop.test", ["bob@shop.test"]),
        ("bob-y@shop.test", ["bob-y@shop.test"]),
        ("nobody@example.org", ["only@shop.test"]),
        ("nobody@example.test", NO),
        ("postmaster@shop.test", ["> catch@shop.example"]),
        ("postmaster@third.test", [HOLD]),
    ])


def test_a_bare_alias_holds_in_every_domain_of_ours(make):
    router = make("info: bob, far@Away.Example\n")
    for domain in ("example.test", "example.org", "localhost", "mail.example.test", "shop.test", "third.test", "empty.test"):
        check(router, [(f"info@{domain}", ["bob@example.test", "> far@away.example"]), (f"INFO-x@{domain}", ["bob@example.test", "> far@away.example"])])
    check(router, [("info@elsewhere.example", ["> info@elsewhere.example"])])


def test_a_bare_target_is_one_person(make):
    router = make("all: bob, only, dan\nhelp@shop.test: only, bob, Bob@shop.test\n")
    check(router, [
        ("all@example.test", ["bob@example.test"]),              # only and dan live elsewhere
        ("all@shop.test", ["bob@example.test", "only@shop.test"]),
        ("all@third.test", ["bob@example.test", "dan@third.test"]),
        ("help@shop.test", ["only@shop.test", "bob@example.test", "bob@shop.test"]),
    ])


def test_only_virtual_users(make):
    router = make("info: alice\nroot: bob\n", "alice@x.test\nbob@x.test\nbob@y.test\n", local__domains="", local__virtual_domains="")
    check(router, [
        ("info@y.test", ["alice@x.test"]), ("alice@localhost", ["alice@x.test"]), ("alice", ["alice@x.test"]),
        ("postmaster@y.test", ["bob@x.test"]), ("postmaster", ["bob@x.test"]), ("root@mail.example.test", ["bob@x.test"]), ("alice@y.test", NO),
    ])


def test_own_mailbox_and_a_copy(make):
    check(make("""\
alice: alice, copy@x.example
bob: \\bob, carol
carol: \\Carol
bob@shop.test: bob@shop.test, alice@example.org
only@shop.test: only
self: self
dan: dan@third.test
mary: mary-ann, mary
"""), [
        ("alice@example.org", ["alice@example.test", "> copy@x.example"]),
        ("alice+x@example.org", ["alice@example.test", "> copy@x.example"]),
        ("bob@example.org", ["bob@example.test", "carol@example.test"]),
        ("bob@shop.test", ["bob@shop.test", "alice@example.test", "> copy@x.example"]),
        ("only@shop.test", ["only@shop.test"]),
        ("self@example.test", NO),
        ("dan@example.test", ["dan@third.test"]),
        ("mary@example.test", ["mary-ann@example.test", "mary@example.test"]),
    ])


def test_each_recipient_once(make):
    check(make("all: one, two, alice, ALICE@example.org, x@Y.example, x@y.EXAMPLE, X@y.example\none: alice, bob\ntwo: bob, alice\n"), [
        ("all@example.test", ["alice@example.test", "bob@example.test", "> x@y.example", "> X@y.example"]),
    ])


def test_loops_are_named(make):
    router = make("a: b\nb: c@example.org\nc: a\nl: alice, m\nm: l\n@shop.test: x@shop.test\nx@shop.test: y@shop.test\n@third.test: q@third.test\n")
    check(router, [("a@example.test", LOOP), ("b", LOOP), ("l@shop.test", LOOP), ("y@shop.test", LOOP), ("q@third.test", NO)])
    assert router.resolve(b"a@example.test").text == "alias leads back to itself: a -> b -> c -> a"
    assert "x@shop.test -> @shop.test" in router.resolve(b"x@shop.test").text


def test_depth(make):
    chain = "".join(f"a{n}: a{n + 1}\n" for n in range(40))
    router = make(chain + "a19: alice\na39: alice\n")
    check(router, [("a0@example.test", ["alice@example.test"]), ("a20@example.test", ["alice@example.test"])])
    check(make(chain + "a20: alice\n"), [("a0@example.test", LOOP), ("a1@example.test", ["alice@example.test"])])


def test_a_bomb_of_lists_is_as_much_work_as_its_size(make):
    """30 lists that each name the next twice: 2**30 ways, 30 steps."""
    bomb = "".join(f"a{n}: a{n + 1}, b{n + 1}\nb{n}: a{n + 1}, b{n + 1}\n" for n in range(15)) + "a15: alice\nb15: bob\n"
    check(make(bomb), [("a0@example.test", ["alice@example.test", "bob@example.test"])])


def test_recipients_are_bounded(make):
    many = ", ".join(f"u{n}@x.example" for n in range(51))
    router = make(f"big: {many}\nfits: {many.rpartition(',')[0]}\npostmaster: big\n", queue__recipients_max="50")
    check(router, [("big@example.test", "452 4.5.3"), ("postmaster@example.test", [HOLD])])
    assert len(router.resolve(b"fits@example.test")) == 50


def test_dead_ends(make, capfd):
    router = make("# these lead nowhere\nghost: nosuch\nmixed: nosuch@shop.test, alice\ndeep: ghost\n")
    check(router, [("ghost@example.test", NO), ("deep@example.test", NO), ("mixed@shop.test", ["alice@example.test"])])
    check(router, [("mixed@shop.test", ["alice@example.test"])])
    err = capfd.readouterr().err
    assert err.count("aliases:3 ") == 1 and "nosuch@shop.test: reaches nobody" in err


def test_a_bad_line_keeps_its_mail_waiting_and_the_rest_works(make, capfd):
    router = make("good: alice\ncmd: |/bin/cat\nno colon\nfile: /tmp/x\nviacmd: cmd\nlast: bob")
    check(router, [("good@example.test", ["alice@example.test"]), ("cmd@example.test", LATER), ("file@example.test", LATER),
                   ("viacmd@example.test", LATER), ("last@example.test", ["bob@example.test"]), ("no@example.test", NO)])
    lines = [line for line in capfd.readouterr().err.splitlines() if "config" in line]
    assert len(lines) == 3 and all(f"aliases:{number} " in line for number, line in zip((2, 3, 4), lines))


# ---- postmaster and root ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("aliases, admin, who", [
    ("", "", [HOLD]),
    ("", "alice", ["alice@example.test"]),
    ("", "Alice@Example.org, boss@x.example", ["alice@example.test", "> boss@x.example"]),
    ("root: bob\n", "alice", ["bob@example.test"]),
    ("root: root, bob\n", "", ["bob@example.test"]),
    ("root: root, bob\n", "alice", ["alice@example.test", "bob@example.test"]),
    ("root: root\n", "alice", ["alice@example.test"]),
    ("root: root\n", "", [HOLD]),
    ("root: nosuch\n", "alice", ["alice@example.test"]),
    ("root: nosuch\n", "", [HOLD]),
    ("root: postmaster\n", "", [HOLD]),
    ("alice: root\n", "alice", [HOLD]),
    ("", "root", [HOLD]),
    ("", "postmaster", [HOLD]),
    ("", "nosuch", [HOLD]),
    ("", "not an address", [HOLD]),
    ("", "nosuch, alice", ["alice@example.test"]),
])
def test_root(make, aliases, admin, who):
    router = make(aliases, local__admin=admin)
    check(router, [(name, who) for name in (
        "root", "postmaster", "PostMaster", "root@localhost", "root@example.org", "abuse@shop.test", "postmaster@empty.test", "mailer-daemon@example.test",
        "Postmaster@[127.0.0.1]", "postmaster@[IPv6:::1]" if socket.has_ipv6 and _has_ipv6() else "abuse@[127.0.0.2]")])


def _has_ipv6():
    return routing._is_own_ip("::1")


def test_postmaster_has_an_alias(make):
    check(make("postmaster: nosuch\nabuse: bob\nmailer-daemon@shop.test: alice\n", local__admin="carol"), [
        ("postmaster@example.test", ["carol@example.test"]), ("abuse@shop.test", ["bob@example.test"]), ("abuse", ["bob@example.test"]),
        ("mailer-daemon@shop.test", ["alice@example.test"]), ("mailer-daemon@example.org", ["carol@example.test"]),
    ])


def test_hold_says_why(make):
    (one,) = make().resolve(b"postmaster@shop.test")
    assert one == Recipient(LOCAL, b"root@mail.example.test", (
        (b"Original-Recipient", b"rfc822;postmaster@shop.test"), (b"Pymta-Hold", outcome.NO_OWNER.text.encode())))


# ---- relaying ---------------------------------------------------------------------------------------------------------
STRANGE = [b"user%ext.example@example.test", b"ext.example!user@example.test", b'"user@ext.example"@example.test', b'"alice@ext"@example.test',
           b"alice%example.test@example.test", b"@example.test:user@ext.example", b"user@[127.0.0.1]", b"user@[127.8.9.1]", b'"alice "@example.test',
           b"../alice@example.test", b"alice/../bob@example.test", b".alice@example.test", b"@example.test", b"alice@", b"@", b"", b"alice@@example.test",
           b"alice@example.test@ext.example", b"alice@ext.example@example.test", b"alice\n@example.test", b"alice@example.test\nX: y", b"al\0ice@example.test",
           b"a" * 300, b"a" * 250 + b"@example.test", b"user@ext.example%example.test@localhost", b"\xff@example.test"]


@pytest.mark.parametrize("address", STRANGE)
def test_strange_forms_are_literal(make, address):
    assert isinstance(make().resolve(address), Outcome)


def test_what_is_ours(make):
    router = make("friend@elsewhere.example: alice\n@foreign.example: bob\n")
    for address in (b"x@example.test", b"x@EXAMPLE.org", b"x@example.test.", b"x@localhost", b"x@mail.example.test", b"x@shop.test", b"x@empty.test",
                    b"postmaster", b"x@[127.0.0.1]", b"Friend@Elsewhere.example", b"x%ext.example@example.test"):
        assert router.relay(address)
    for address in (b"x@elsewhere.example", b"x@sub.example.test", b"x@ample.test", b"x@foreign.example", b"x@[192.0.2.1]", b"x@test"):
        assert not router.relay(address)
    check(router, [("friend@elsewhere.example", ["alice@example.test"]), ("other@elsewhere.example", ["> other@elsewhere.example"]),
                   ("x@foreign.example", ["> x@foreign.example"])])


def test_relay_domains(make, tmp_path, ticks, capfd):
    list_path = tmp_path / "relay_recipients"
    router = make("boss@branch.test: alice\noffice: ann@branch.test, gone@branch.test\ndead: gone@branch.test\n",
                  local__relay_domains="branch.test gate.test")
    assert router.relay(b"gone@branch.test") and router.relay(b"x@GATE.test.") and not router.relay(b"x@sub.branch.test")
    check(router, [("ann@branch.test", "550 5.1.1"), ("x@gate.test", "550 5.1.1")])         # no list: nobody
    list_path.write_text("Ann@Branch.test  # the boss\n@gate.test\nnonsense\nann@elsewhere.test\n")
    ticks[0] += 1
    check(router, [("ann@branch.test", ["> ann@branch.test"]), ("ANN@Branch.TEST", ["> ANN@branch.test"]), ("gone@branch.test", "550 5.1.1"),
                   ("ann+x@branch.test", "550 5.1.1"), ("anything@gate.test", ["> anything@gate.test"]), ("x@elsewhere.test", ["> x@elsewhere.test"]),
                   ("boss@branch.test", ["alice@example.test"]), ("office", ["> ann@branch.test"]), ("dead", "550 5.1.1")])
    assert "relay_recipients:3" in capfd.readouterr().err


def test_remote_addresses_stay_as_they_are(make):
    check(make(), [("MiXed+x@Far.Example", ["> MiXed+x@far.example"]), ("a%b@far.example", ["> a%b@far.example"]),
                   ('"a b"@far.example', ['> "a b"@far.example']), ("x@[192.0.2.1]", ["> x@[192.0.2.1]"]),
                   ("x@bücher.example", ["> x@xn--bcher-kva.example"]), ("x@XN--BCHER-KVA.example", ["> x@xn--bcher-kva.example"])])


def test_original_recipient(make):
    router = make("info: alice\n")
    assert router.resolve(b"alice@example.test") == [Recipient(LOCAL, b"alice@example.test")]
    assert router.resolve(b"Info@shop.test") == [Recipient(LOCAL, b"alice@example.test", ((b"Original-Recipient", b"rfc822;Info@shop.test"),))]
    assert router.resolve(b"x@far.example") == [Recipient(REMOTE, b"x@far.example")]


# ---- lists ------------------------------------------------------------------------------------------------------------
def test_lists(make, tmp_path, capfd):
    (tmp_path / "list").write_text(f"# members\nalice\nx@y.example, bob # two\nbad one\n:include:{tmp_path}/more\n")
    (tmp_path / "more").write_text("carol@example.org")
    (tmp_path / "loop").write_text(f"alice\n:include:{tmp_path}/loop\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "open").write_text("alice\n")
    (tmp_path / "open").chmod(0o666)
    os.mkfifo(tmp_path / "fifo")
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(1 << 33)
    router = make("".join(f"{name}: :include:{path}\n" for name, path in [
        ("list", "ETC/list"), ("loop", "ETC/loop"), ("empty", "ETC/empty"), ("open", "ETC/open"), ("fifo", "ETC/fifo"), ("huge", "ETC/huge"),
        ("zero", "/dev/zero"), ("none", "ETC/none"), ("dir", "ETC")]))
    check(router, [
        ("list@shop.test", ["alice@example.test", "> x@y.example", "bob@example.test", "carol@example.test"]),
        ("loop@example.test", LOOP), ("empty@example.test", NO), ("open@example.test", LATER), ("fifo@example.test", LATER),
        ("huge@example.test", LATER), ("zero@example.test", LATER), ("none@example.test", LATER), ("dir@example.test", LATER)])
    err = capfd.readouterr().err
    assert f"{tmp_path}/list:4" in err and "chmod go-w" in err and f"{tmp_path}/none" in err


@pytest.mark.parametrize("line, count", [("bad one", 11), ("nosuch{}", 11), ("alice", 0)])
def test_a_list_of_anything_does_not_fill_the_log(make, tmp_path, capfd, line, count):
    """Ten lines of a file are quoted, the others are counted; asking again adds nothing."""
    (tmp_path / "list").write_text("".join(line.format(number) + "\n" for number in range(2000)) + "bob\n")
    router = make("list: :include:ETC/list\n")
    for _ in range(3):
        assert [one.address for one in router.resolve(b"list@example.test")][-1:] == [b"bob@example.test"]
        router._answers.clear()
    err = capfd.readouterr().err
    assert err.count(f"where={tmp_path}/list") == count and ("1990 more lines" in err) is bool(count)


@pytest.mark.root
def test_a_stranger_s_list_is_not_read(make, tmp_path):
    (tmp_path / "list").write_text("alice\n")
    os.chown(tmp_path / "list", 4711, 4711)
    check(make("list: :include:ETC/list\n"), [("list@example.test", LATER)])


# ---- edits ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def ticks(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(clock, "tick", lambda: now[0])
    return now


def test_edits_count_at_once(make, tmp_path, ticks):
    router = make("info: alice\nlist: :include:ETC/list\n")
    (tmp_path / "list").write_text("alice\n")
    check(router, [("info@example.test", ["alice@example.test"]), ("new@shop.test", NO), ("list@example.test", ["alice@example.test"])])
    (tmp_path / "aliases").write_text(f"info: bob\nlist: :include:{tmp_path}/list\n")
    with open(tmp_path / "users", "a") as users:
        users.write("new@shop.test\n")
    check(router, [("info@example.test", ["bob@example.test"]), ("new@shop.test", ["new@shop.test"]), ("list@example.test", ["alice@example.test"])])
    (tmp_path / "list").write_text("carol\n")
    ticks[0] += routing.ANSWERS_S
    check(router, [("list@example.test", ["carol@example.test"])])
    (tmp_path / "aliases").unlink()
    check(router, [("info@example.test", ["bob@example.test"])])
    ticks[0] += 1
    check(router, [("info@example.test", NO)])


def test_files_that_cannot_be_read_keep_the_mail_waiting(make, tmp_path, capfd):
    router = make()
    (tmp_path / "users").unlink()
    (tmp_path / "users").symlink_to("users")
    check(router, [("alice@example.test", LATER)])
    assert router.relay(b"x@far.example")                        # asked again when resolve refuses it for now
    assert "trouble" in capfd.readouterr().err


def test_an_owner_that_is_unknown_keeps_the_mail_waiting(make, capfd):
    check(make(users="a@x.test:nosuchaccount\n"), [("a@x.test", LATER)])
    assert "users:1" in capfd.readouterr().err


def test_answers_are_the_caller_s_own(make):
    router = make()
    first = router.resolve(b"alice@example.test")
    first[0].notes += ((b"Pymta-X", b"y"),)
    first.append(first[0])
    assert router.resolve(b"alice@example.test") == [Recipient(LOCAL, b"alice@example.test")]


def test_explain_is_the_same_answer(make, capfd):
    router = make("info: alice, nosuch, :include:ETC/none\nmany: bob, \\carol, x@y.example\n")
    for address in (b"info@shop.test", b"many@shop.test", b"alice-x@example.org", b"postmaster", b"nosuch@shop.test", b"bad address"):
        told = router.explain(address)
        assert told.answer == router.resolve(address)
        if address != b"bad address":
            assert told.steps
    assert [step.where.rpartition(":")[2] for step in router.explain(b"many@shop.test").steps] == ["2", "mailbox", "2", "mailbox", "2", "elsewhere"]
    assert capfd.readouterr().err.count("nosuch") == 1           # explain logs nothing


@hypothesis_settings(deadline=None)
@given(st.one_of(st.binary(max_size=80), st.text("abiceln@.-+%!\"\\[]:<> ", max_size=40).map(str.encode),
                 st.text("abiceln.-+%!\"\\/ ", max_size=30).map(lambda local: local.encode() + b"@example.test")))
def test_total(address):
    router = test_total.router
    answer = router.resolve(address)
    router.relay(address)
    if isinstance(answer, list):
        assert answer
        for one in answer:
            assert not any(octet < 32 for octet in one.address) and all(not any(octet < 32 for octet in value) for _, value in one.notes)
            if one.kind == LOCAL and not any(name == b"Pymta-Hold" for name, _ in one.notes):
                box = router.accounts.find(one.address.decode())
                assert box and box.uid and box.home.count("/") == 5
            if one.kind == REMOTE:
                assert not router.relay(one.address)


@pytest.fixture(autouse=True, scope="module")
def router_of_total(tmp_path_factory):
    etc = tmp_path_factory.mktemp("etc")
    (etc / "users").write_text(USERS)
    (etc / "aliases").write_text("a: alice\nb: c, far@away.example\n")
    (etc / "pymta.conf").write_text("host.name = mail.example.test\nlocal.domains = example.test\nlocal.system_users = no\nlocal.virtual_uid = 1234\n")
    test_total.router = Router(settings.read(str(etc)))
