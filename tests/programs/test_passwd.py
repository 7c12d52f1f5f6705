"""pymta-passwd as an admin calls it: on a terminal and with --stdin; files keep their mode, their comments and their neighbours."""
import io
import json
import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pymta.login import hashes
from pymta.formats import passwords
from pymta.programs import passwd

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "pymta.conf").write_text("host.name = mail.example.test\nlocal.domains = example.test\nlocal.system_users = no\n"
                                         f"local.virtual_uid = {os.getuid() or 65534}\nlocal.virtual_home = /srv/mail\n")
    return tmp_path


@pytest.fixture
def run(etc, monkeypatch, capsys):
    """run(words, password) -> (exit status, stdout, stderr)"""
    def call(*words, password=None):
        if password is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(password.encode() + b"\n")))
            words = ("--stdin", *words)
        status = passwd.main(["--etc", str(etc), *words])
        out = capsys.readouterr()
        return status, out.out, out.err
    return call


def hash_of(etc, name):
    return passwords.decode((etc / "passwords").read_bytes())[0][name].hash


def test_a_virtual_user_needs_nothing_but_this(etc, run):
    status, out, err = run("Alice@Example.Test", password="correct horse")
    assert (status, err) == (0, "") and "alice@example.test: password set; added to" in out
    assert (etc / "users").read_text() == "alice@example.test\n"
    assert hashes.matches(hash_of(etc, "alice@example.test"), b"correct horse")
    assert stat.S_IMODE((etc / "passwords").stat().st_mode) == 0o640
    assert stat.S_IMODE((etc / "users").stat().st_mode) == 0o644


def test_a_change_keeps_everything_else(etc, run):
    (etc / "users").write_text("# ours\nalice@example.test:::/srv/a   # the first\ncarol")
    (etc / "passwords").write_text("# hashes\nalice@example.test:!:1000:1000\ncarol:!")
    (etc / "passwords").chmod(0o604)
    assert run("alice@example.test", password="correct horse")[0] == 0
    lines = (etc / "passwords").read_text().split("\n")
    assert lines[0] == "# hashes" and lines[1].endswith(":1000:1000") and lines[2:] == ["carol:!"]
    assert stat.S_IMODE((etc / "passwords").stat().st_mode) == 0o604
    assert (etc / "users").read_text() == "# ours\nalice@example.test:::/srv/a   # the first\ncarol"
    assert sorted(os.listdir(etc)) == ["passwords", "pymta.conf", "users"]


@pytest.mark.parametrize("name, under", [("carol", "carol"), ("carol@example.test", "carol"), ("bob", "bob@example.test")])
def test_one_user_has_one_line_under_whatever_name(etc, run, name, under):
    (etc / "users").write_text("carol\nbob@example.test\n")
    (etc / "passwords").write_text("carol:!\n")
    assert run(name, password="correct horse")[0] == 0
    names = list(passwords.decode((etc / "passwords").read_bytes())[0])
    assert names == sorted({"carol", under}, reverse=True) and hash_of(etc, under).startswith("$argon2id$")
    assert (etc / "users").read_text() == "carol\nbob@example.test\n"


def test_a_file_behind_a_symbolic_link_is_replaced_there(etc, run, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "hashes"
    elsewhere.write_text("")
    (etc / "passwords").symlink_to(elsewhere)
    assert run("alice", password="correct horse")[0] == 0
    assert (etc / "passwords").is_symlink() and elsewhere.read_text().startswith("alice@example.test:$argon2id$")


@pytest.mark.parametrize("name, password, why", [
    ("alice", "short", "too short"), ("alice@example.test", "alice@example.test", "is the name"), ("longalice", "LongAlice", "is the name"),
    ("alice", "example.test", "is the name")])
def test_weak_passwords_are_refused_unless_any_will_do(etc, run, name, password, why):
    name = name if "@" in name or password != "example.test" else "alice@example.test"
    status, out, err = run(name, password=password)
    assert status == 65 and why in err and not (etc / "passwords").exists()
    assert run("--any", name, password=password)[0] == 0


@pytest.mark.parametrize("name, password, why", [
    ("a:b", "correct horse", "not a login name"), ("alice@-bad-", "correct horse", "not a domain"), (".alice@example.test", "correct horse", "not a user's name"),
    ("alice", "", "1 to 511 octets"), ("alice", "a\0bcdefgh", "no NUL"), ("alice", "x" * 600, "1 to 511 octets")])
def test_what_never_will_do(etc, run, name, password, why):
    status, out, err = run("--any", name, password=password)
    assert status == 65 and why in err
    assert not (etc / "passwords").exists() and not (etc / "users").exists()


def test_delete_removes_both_lines_and_says_where_the_mail_is(etc, run):
    for name in ("alice", "bob", "carol@other.test"):
        run(name, password="correct horse")
    status, out, err = run("--delete", "ALICE")
    assert status == 0 and "mail stays in /srv/mail/example.test/alice/Maildir" in out
    assert (etc / "users").read_text() == "bob@example.test\ncarol@other.test\n"
    assert list(passwords.decode((etc / "passwords").read_bytes())[0]) == ["bob@example.test", "carol@other.test"]
    status, out, err = run("--delete", "alice")
    assert status == 67 and "neither in" in err


def test_verify_says_it_by_the_exit_status(etc, run):
    run("alice", password="correct horse")
    assert run("--verify", "alice", password="correct horse")[0] == 0
    assert run("--verify", "alice@example.test", password="Correct horse")[0] == 1
    assert run("--verify", "alice", password="")[0] == 1
    assert run("--verify", "bob", password="correct horse")[0] == 67


def test_the_list_for_people_and_for_programs(etc, run):
    (etc / "users").write_text("alice@example.test\nbob@example.test:::/home/bob\ncarol\n")
    (etc / "passwords").write_text("alice@example.test:{SHA256}uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=\ncarol:!x\nghost@example.test:$6$a$b\nbad\n")
    status, out, err = run("--list")
    assert status == 0 and "passwords:4: no colon" in err
    assert [line.split(None, 1)[0] for line in out.splitlines()] == ["alice@example.test", "bob@example.test", "carol@example.test", "ghost@example.test"]
    rows = json.loads(run("--list", "--json")[1])
    assert [(row["password"], row["maildir"]) for row in rows] == [
        ("sha256", "/srv/mail/example.test/alice/Maildir"), (None, "/home/bob/Maildir"), ("locked", "/srv/mail/example.test/carol/Maildir"), ("6", None)]


def test_without_a_terminal_nothing_is_asked(run, etc, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"correct horse\n")))
    status, out, err = run("alice")
    assert status == 65 and "--stdin" in err


@pytest.mark.parametrize("words", [(), ("alice", "--list"), ("--delete", "--verify", "alice")])
def test_odd_calls_are_usage_errors(run, words):
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 2


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_named(run, etc):
    etc.chmod(0o500)
    try:
        status, out, err = run("alice", password="correct horse")
        assert status == 77 and str(etc) in err
    finally:
        etc.chmod(0o700)


@pytest.mark.parametrize("second, status, said", [("correct horse", 0, b"password set"), ("correct house", 65, b"not the same")])
def test_on_a_terminal_it_asks_twice_without_echo(etc, second, status, said):
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, str(ROOT / "bin" / "pymta-passwd"), "--etc", str(etc), "alice"])
    heard = b""
    for prompt, answer in ((b"New password for alice: ", "correct horse"), (b"Once more: ", second)):
        while not heard.endswith(prompt):
            heard += os.read(fd, 1000)
        os.write(fd, answer.encode() + b"\n")
    try:
        while piece := os.read(fd, 1000):
            heard += piece
    except OSError:
        pass                                            # the other end of a pty is closed so
    os.close(fd)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status
    assert said in heard and b"correct" not in heard.replace(str(etc).encode(), b"")


def test_several_at_a_time_lose_no_line(etc):
    """Each reads, hashes and replaces the same two files."""
    command = [sys.executable, str(ROOT / "bin" / "pymta-passwd"), "--etc", str(etc), "--stdin"]
    running = [subprocess.Popen([*command, f"user{n}"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) for n in range(6)]
    for process in running:
        process.stdin.write(b"correct horse\n")
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * 6
    assert sorted(passwords.decode((etc / "passwords").read_bytes())[0]) == [f"user{n}@example.test" for n in range(6)]
    assert sorted((etc / "users").read_text().split()) == [f"user{n}@example.test" for n in range(6)]
