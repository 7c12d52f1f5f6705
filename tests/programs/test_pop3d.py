"""pymta-pop3d as strangers meet it: poplib, several sessions, other programs in the Maildir, signals."""
import contextlib
import os
import poplib
import re
import signal
import socket
import threading
import time

import pytest

from tests.daemons import Stage, free_ports

LISTENERS = {"pop3.listen": "pop3", "pop3.listen_tls": "pop3s"}


def letter(text: str) -> bytes:
    return f"From: ann@client.example\nSubject: {text}\n\n{text}\n".encode()


def name(number: int, octets: bytes) -> str:
    return f"{1000000000 + number}.M{number}P1Q1.mail,S={len(octets)},W={len(octets) + octets.count(10)}"


@pytest.fixture(scope="module")
def stage():
    with Stage(pop3_workers=2) as stage:
        stage.user("first", "pw")
        stage.start("pymta-pop3d", LISTENERS)
        yield stage
        assert " bug " not in stage.log()


@pytest.fixture
def box(stage, request):
    """(user name, Maildir) of a user of this test alone, with three messages."""
    user = re.sub(r"\W", "", request.node.name.removeprefix("test_"))[:40]
    maildir = stage.user(user, "pw")
    stage.fill(maildir, {f"cur/{name(n, letter(str(n)))}:2,S": letter(str(n)) for n in range(1, 4)})
    return user, maildir


@contextlib.contextmanager
def client(stage, user, password="pw", *, tls=False):
    """A poplib client, logged in; closed without QUIT."""
    if tls:
        pop = poplib.POP3_SSL("127.0.0.1", stage.ports["pop3s"], context=stage.context, timeout=30)
    else:
        pop = poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=30)
    try:
        pop.user(user)
        pop.pass_(password)
        yield pop
    finally:
        pop.close()


def files(maildir):
    return sorted(path.name.partition(":")[0] for part in ("new", "cur") for path in (maildir / part).iterdir())


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "pop3s"])
def test_poplib_reads_and_deletes(stage, tls, request):
    user = "reader" + ("tls" if tls else "clear")
    maildir = stage.user(user, "pw")
    stage.fill(maildir, {f"new/{name(n, letter(str(n)))}": letter(str(n)) for n in range(1, 4)})
    with client(stage, user, tls=tls) as pop:
        sizes = [len(letter(str(n)).replace(b"\n", b"\r\n")) for n in range(1, 4)]
        assert pop.stat() == (3, sum(sizes))
        assert pop.list()[1] == [b"%d %d" % pair for pair in enumerate(sizes, 1)]
        uids = pop.uidl()[1]
        assert [line.split()[1].decode() for line in uids] == [name(n, letter(str(n))) for n in range(1, 4)]
        for n in range(1, 4):
            assert b"\n".join(pop.retr(n)[1]) + b"\n" == letter(str(n))
        assert pop.top(2, 0)[1] == [b"From: ann@client.example", b"Subject: 2", b""]
        pop.dele(1)
        assert pop.quit().startswith(b"+OK")
    assert files(maildir) == [name(n, letter(str(n))) for n in (2, 3)]
    with client(stage, user, tls=tls) as pop:
        assert pop.uidl()[1] == [b"1 " + uids[1].split()[1], b"2 " + uids[2].split()[1]]


def test_stls(stage, box):
    pop = poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=30)
    assert "STLS" in pop.capa()
    pop.stls(stage.context)
    assert "STLS" not in pop.capa()
    pop.user(box[0])
    pop.pass_("pw")
    assert pop.stat()[0] == 3
    pop.quit()


def test_flags_and_new_mail_do_not_change_ids(stage, box):
    user, maildir = box
    with client(stage, user) as pop:
        before = pop.uidl()[1]
        pop.quit()
    one = next(path for path in (maildir / "cur").iterdir() if path.name.startswith("1000000001"))
    one.rename(one.with_name(one.name + "F"))
    stage.fill(maildir, {f"new/{name(9, letter('9'))}": letter("9")})
    with client(stage, user) as pop:
        assert pop.uidl()[1][:3] == before and len(pop.uidl()[1]) == 4
        assert b"Subject: 1" in pop.retr(1)[1]


def test_one_session_at_a_time(stage, box):
    """RFC 1939 §4: the second is refused with [IN-USE], and let in as soon as the first has quit or died."""
    user, _ = box
    with client(stage, user) as first:
        for _ in range(4):                              # so that both workers are asked
            with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"), client(stage, user):
                pass
        first.quit()
        with client(stage, user):
            pass

    def again():
        try:
            with client(stage, user):
                return True
        except poplib.error_proto:
            return False
    stage.wait(again)                                   # the last one just dropped its connection


def test_two_devices_that_ask_at_once_are_served_one_after_the_other(stage, box):
    user, _ = box
    with client(stage, user) as first:
        threading.Timer(0.3, first.quit).start()
        with client(stage, user) as second:
            assert second.stat()[0] == 3
            second.quit()


def test_a_message_that_somebody_else_removed_meanwhile(stage, box):
    user, maildir = box
    with client(stage, user) as pop:
        assert pop.stat()[0] == 3
        next(path for path in (maildir / "cur").iterdir() if path.name.startswith("1000000002")).unlink()
        with pytest.raises(poplib.error_proto, match="gone"):
            pop.retr(2)
        assert b"Subject: 3" in pop.retr(3)[1] and pop.stat()[0] == 3
        pop.dele(2)
        pop.dele(3)
        assert pop.quit().startswith(b"+OK")
    assert len(files(maildir)) == 1


def test_a_message_whose_flags_somebody_else_changed_meanwhile(stage, box):
    user, maildir = box
    with client(stage, user) as pop:
        for path in list((maildir / "cur").iterdir()):
            path.rename(path.with_name(path.name.partition(":")[0] + ":2,FRS"))
        assert b"Subject: 2" in pop.retr(2)[1]
        pop.dele(1)
        pop.quit()
    assert files(maildir) == [name(n, letter(str(n))) for n in (2, 3)]


def test_nothing_goes_without_quit(stage, box):
    user, maildir = box
    with client(stage, user) as pop:
        pop.dele(1)
        pop.dele(2)
    stage.wait(lambda: _can_log_in(stage, user))
    assert len(files(maildir)) == 3


def _can_log_in(stage, user):
    try:
        with client(stage, user) as pop:
            pop.quit()
            return True
    except poplib.error_proto:
        return False


def test_a_mailbox_that_has_had_no_mail_yet(stage):
    maildir = stage.user("newcomer", "pw")
    os.makedirs(maildir.parent.parent, exist_ok=True)
    if os.getuid() == 0:
        os.chown(maildir.parent.parent, stage.uid, stage.uid)
    with client(stage, "newcomer") as pop:
        assert pop.stat() == (0, 0) and pop.list()[1] == [] and pop.uidl()[1] == []
    assert (maildir / "new").is_dir()


def test_sizes_are_counted_where_the_name_does_not_say(stage):
    maildir = stage.user("counted", "pw")
    stage.fill(maildir, {"cur/1.a.mail:2,": b"A: b\n\nx\n", "cur/2.b.mail:2,": b"A: b\r\n\r\nx\r\n", "new/3.c.mail": b"A: b\n\n..no end"})
    with client(stage, "counted") as pop:
        assert [line.split()[1] for line in pop.list()[1]][:2] == [b"11", b"11"]
        assert pop.retr(3)[1] == [b"A: b", b"", b"..no end"]


def test_ids_of_an_earlier_server_are_honoured(stage):
    """Keys P and O of dovecot-uidlist: the id a client knows, and the order it knows."""
    maildir = stage.user("moved", "pw")
    messages = {n: letter(str(n)) for n in range(1, 5)}
    stage.fill(maildir, {f"cur/{name(n, octets)}:2,": octets for n, octets in messages.items()})
    (maildir / "dovecot-uidlist").write_text(
        "3 V1795451104 N14 G51f45402de68046b364e000083ecc375\n" + "".join(
            f"{10 + n - 1}{key} :{name(n, messages[n])}\n" for n, key in ((1, " PUID1-77 O2"), (2, " O1"), (3, ""), (4, " PUID1-77"))))
    stage.give(maildir)
    with client(stage, "moved") as pop:
        rows = [line.split()[1] for line in pop.uidl()[1]]
        assert rows[:3] == [name(2, messages[2]).encode(), b"UID1-77", name(3, messages[3]).encode()]
        assert len(set(rows)) == 4 and re.fullmatch(rb"[0-9a-f]{32}", rows[3])
        assert b"Subject: 2" in pop.retr(1)[1]


def test_names_that_cannot_be_ids_get_a_digest_that_lasts(stage):
    maildir = stage.user("digested", "pw")
    long = "1." + "x" * 90 + ".mail"
    stage.fill(maildir, {f"cur/{long}:2,": letter("long"), "cur/2.a b.mail:2,": letter("blank")})
    with client(stage, "digested") as pop:
        before = pop.uidl()[1]
        assert all(re.fullmatch(rb"\d [0-9a-f]{32}", row) for row in before) and before[0][2:] != before[1][2:]
        pop.quit()
    (maildir / "cur" / f"{long}:2,").rename(maildir / "cur" / f"{long}:2,S")
    with client(stage, "digested") as pop:
        assert pop.uidl()[1] == before


def test_a_big_message_goes_through_whole(stage):
    maildir = stage.user("big", "pw")
    octets = b"Subject: big\n\n" + b"".join(b".%d %s\n" % (n, b"x" * (n % 900)) for n in range(40000))
    stage.fill(maildir, {f"new/{name(1, octets)}": octets, f"new/{name(2, letter('2'))}": letter("2")})
    with client(stage, "big", tls=True) as pop:
        assert b"\n".join(pop.retr(1)[1]) + b"\n" == octets
        assert pop.top(1, 2)[1] == octets.split(b"\n")[:4]
        assert b"Subject: 2" in pop.retr(2)[1]
    with client(stage, "big") as pop:
        assert len(pop.top(1, 39999)[1]) == 40001


@pytest.mark.parametrize("shows, seen", [("all", "123"), ("unseen", "3"), ("30d", "23"), ("0d", "")])
def test_what_is_shown_is_said_per_account(stage, shows, seen):
    """pymta-users(5), pop3=: and a message's id is the same whatever is shown."""
    user = f"shown{shows}"
    maildir = stage.user(user, "pw", options=f"pop3={shows}")
    stage.fill(maildir, {f"cur/{name(1, letter('1'))}:2,S": letter("1"), f"cur/{name(2, letter('2'))}:2,FS": letter("2"), f"new/{name(3, letter('3'))}": letter("3")})
    os.utime(maildir / "cur" / f"{name(1, letter('1'))}:2,S", (time.time() - 31 * 86400,) * 2)
    with client(stage, user) as pop:
        assert [line.split()[1].decode() for line in pop.uidl()[1]] == [name(int(n), letter(n)) for n in seen]
        assert pop.stat()[0] == len(seen)
        for number, n in enumerate(seen, 1):
            assert f"Subject: {n}".encode() in pop.retr(number)[1]
            pop.dele(number)
        pop.quit()
    assert files(maildir) == [name(n, letter(str(n))) for n in (1, 2, 3) if str(n) not in seen]


def test_the_last_word_arrives_whatever_stands_behind_the_end(stage, box):
    """Closing over unread octets would make the kernel send a reset, which takes the last answer with it."""
    user, _ = box
    with client(stage, user) as pop:
        pop.dele(1)
        pop.sock.sendall(b"QUIT\r\n" + b"NOOP\r\n" * 20000)
        time.sleep(0.2)                                 # so that a reset would be here before we read
        assert pop.file.readline() == b"+OK bye\r\n" and pop.file.read() == b""
    with client(stage, user) as pop:                    # and the drop was free at once
        assert pop.stat()[0] == 2


def test_quit_where_the_disk_refuses_is_an_error_and_nothing_is_lost(stage, box):
    """RFC 1939 §6: what could not be removed is there the next time."""
    user, maildir = box
    limbo = maildir / "pymta-limbo"
    with client(stage, user) as pop:
        limbo.write_bytes(b"")                          # a file where the directory should be
        pop.dele(1)
        pop.dele(2)
        with pytest.raises(poplib.error_proto, match=r"-ERR \[SYS/TEMP\] some deleted messages were not removed"):
            pop.quit()
    assert len(files(maildir)) == 3
    limbo.unlink()
    with client(stage, user) as pop:
        assert pop.stat()[0] == 3
        pop.dele(1)
        assert pop.quit().startswith(b"+OK")
    assert len(files(maildir)) == 2


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.04])
def test_kill_9_within_quit_leaves_whole_messages_under_their_ids(after_s):
    """All of them are gone if +OK was heard; else each is gone, or there as it was."""
    with Stage(pop3_workers=1) as stage:
        maildir = stage.user("killed", "pw")
        stage.fill(maildir, {f"cur/{name(n, letter(str(n)))}:2,": letter(str(n)) for n in range(1, 1001)})
        process = stage.start("pymta-pop3d", LISTENERS)
        with client(stage, "killed") as pop:
            before = [line.split()[1] for line in pop.uidl()[1]]
            pop.sock.sendall(b"".join(b"DELE %d\r\n" % number for number in range(1, 1000)))
            assert all(pop.file.readline().startswith(b"+OK") for _ in range(999))
            pop.sock.sendall(b"QUIT\r\n")
            time.sleep(after_s)
            os.killpg(process.pid, signal.SIGKILL)
            try:
                answer = pop.file.readline()
            except ConnectionResetError:
                answer = b""
        process.wait()
        stage.log_path.write_text("")                   # start waits for what it says
        stage.start("pymta-pop3d", LISTENERS)
        with client(stage, "killed") as pop:
            left = [line.split()[1] for line in pop.uidl()[1]]
            assert left[-1] == before[-1] and left == [uid for uid in before if uid in set(left)]
            assert len(left) == 1 or not answer.startswith(b"+OK")
            for number, uid in enumerate(left[::50], 1):
                row = pop.retr((number - 1) * 50 + 1)[1]
                assert b"\n".join(row) + b"\n" == letter(str(before.index(uid) + 1))


def test_a_big_internationalised_message(stage):
    """Read and sent in pieces; only its header changes, and with UTF8 not even that (RFC 6856, RFC 6858)."""
    maildir = stage.user("grande", "pw")
    body = "".join(f"zeile {n} äöü\n" for n in range(40000)).encode()
    octets = "From: Jürgen <jürgen@client.example>\nSubject: groß\n\n".encode() + body
    stage.fill(maildir, {f"new/{name(1, octets)}": octets})
    with client(stage, "grande") as pop:
        shown = b"\n".join(pop.retr(1)[1]) + b"\n"
    header, _, rest = shown.partition(b"\n\n")
    assert header.isascii() and header.endswith(b"Subject: =?utf-8?B?Z3Jvw58=?=") and rest == body
    pop = poplib.POP3("127.0.0.1", stage.ports["pop3"], timeout=30)
    pop.utf8()
    pop.user("grande")
    pop.pass_("pw")
    assert b"\n".join(pop.retr(1)[1]) + b"\n" == octets
    pop.quit()


def test_a_thousand_pipelined_commands(stage, box):
    user, _ = box
    with client(stage, user) as pop:
        threading.Thread(target=pop.sock.sendall, args=(b"RETR 1\r\nTOP 2 0\r\nNOOP\r\n" * 1000 + b"QUIT\r\n",), daemon=True).start()
        text = pop.file.read()
        assert text.count(b"\r\n.\r\n") == 2000 and text.endswith(b"+OK bye\r\n")


def test_a_client_that_asks_for_much_and_reads_nothing_takes_little_memory(stage):
    maildir = stage.user("greedy", "pw")
    octets = b"Subject: x\n\n" + (b"y" * 76 + b"\n") * 13000
    stage.fill(maildir, {f"new/{name(1, octets)}": octets})
    with client(stage, "greedy") as pop:
        before = memory(stage)
        pop.sock.sendall(b"RETR 1\r\n" * 500)
        time.sleep(0.3)
        assert memory(stage) - before < 40 << 20
        assert all(pop._getlongresp()[2] == len(octets) + octets.count(10) for _ in range(3))
        with client(stage, "first") as other:           # and holds nobody up
            assert other.stat()[0] == 0


def memory(stage) -> int:
    """Octets of memory of all processes of the daemon."""
    total = 0
    for pid in [*children(stage), stage._processes[0].pid]:
        with open(f"/proc/{pid}/statm") as file:
            total += int(file.read().split()[1]) * 4096
    return total


def children(stage) -> list[int]:
    pid = stage._processes[0].pid
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def test_wrong_passwords_look_alike_and_are_logged(stage, box):
    user, _ = box
    said = []
    for who, password in ((user, "wrong"), ("nobodyhere", "pw"), (user, "")):
        with pytest.raises(poplib.error_proto) as error, client(stage, who, password):
            pass
        said.append(str(error.value))
    assert said == [r"b'-ERR [AUTH] wrong name or password'"] * 3
    assert f"auth-failed client=127.0.0.1 service=pop3 user=<{user}> why=wrong-password" in stage.log()
    assert "auth-failed client=127.0.0.1 service=pop3 user=<nobodyhere> why=unknown-user" in stage.log()


def test_a_helper_that_is_killed_is_replaced(stage, box):
    """The password child dies: logins wait or are temporary failures for a moment, never wrong passwords."""
    user, _ = box
    with open(f"/proc/{stage._processes[0].pid}/task/{stage._processes[0].pid}/children") as file:
        helper = int(file.read().split()[0])            # it was forked first
    os.kill(helper, signal.SIGKILL)

    def again():
        try:
            with client(stage, user):
                return True
        except poplib.error_proto as error:
            assert "[SYS/TEMP]" in str(error) or "[IN-USE]" in str(error)
            return False
    stage.wait(again)
    assert "auth ended" in stage.log()


def test_idle_sessions_end_without_removing(request):
    with Stage(pop3_workers=1, pop3_idle_max="1s") as stage:
        maildir = stage.user("idler", "pw")
        stage.fill(maildir, {f"cur/{name(1, letter('1'))}:2,": letter("1")})
        stage.start("pymta-pop3d", LISTENERS)
        with client(stage, "idler") as pop:
            pop.dele(1)
            assert pop.file.readline() == b"-ERR idle for too long; closing\r\n" and pop.file.readline() == b""
        assert len(files(maildir)) == 1
        assert "close service=pop3 client=127.0.0.1 user=<idler@example.test> why=idle" in stage.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_and_says_so(number):
    with Stage(pop3_workers=1) as stage:
        maildir = stage.user("last", "pw")
        stage.fill(maildir, {f"cur/{name(1, letter('1'))}:2,": letter("1")})
        process = stage.start("pymta-pop3d", LISTENERS)
        with client(stage, "last") as pop:
            pop.dele(1)
            process.send_signal(number)
            assert pop.file.readline() == b"-ERR [SYS/TEMP] the server is shutting down\r\n" and pop.file.readline() == b""
        assert process.wait(15) == 0
        assert len(files(maildir)) == 1 and " bug " not in stage.log()


def test_a_mailbox_of_another_uid_is_refused_by_name(stage):
    """One uid for all is what this form can do; anything else is told to the admin and not tried."""
    users = (stage.etc / "users").read_text()
    stage.user("other", "pw")
    text = (stage.etc / "users").read_text().replace("other@example.test::", f"other@example.test:{stage.uid + 1}:{stage.uid + 1}")
    stage._put("users", text.encode(), 0o644)
    with pytest.raises(poplib.error_proto, match="another account"), client(stage, "other"):
        pass
    stage._put("users", users.encode(), 0o644)


def test_a_port_that_is_taken_is_named():
    with Stage() as stage:
        stage.settings["pop3.listen_tls"] = f"127.0.0.1:{free_ports(1)[0]}"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            stage.settings["pop3.listen"] = f"127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(AssertionError, match="(?s)ended with 71.*cannot listen on 127.0.0.1 port"):
                stage.start("pymta-pop3d", {})
