"""The parts of pymta-sandbox that can be asked without running it."""
from __future__ import annotations

import os
import ssl
import subprocess
import sys

import pytest

from pymta.formats import conf, passwords, users
from pymta.sandbox import certificate, identity, options, supervise, tree, watch


# ---- options ----------------------------------------------------------------------------------------------------------
def test_without_words_there_are_alice_and_bob(tmp_path):
    given = options.parse([str(tmp_path)])
    assert given.domains == ("example.test",) and [user.address for user in given.users] == ["alice@example.test", "bob@example.test"]


@pytest.mark.parametrize("word, address, login, password", [
    ("carol:pw", "carol@one.test", "carol", "pw"),
    ("carol@one.test:pw", "carol@one.test", "carol", "pw"),
    ("Carol@Two.Test:pw", "carol@two.test", "carol@two.test", "pw"),
    ("carol:a:b@c d\"'\\é", "carol@one.test", "carol", "a:b@c d\"'\\é"),
    ("o'brien+x:pw", "o'brien+x@one.test", "o'brien+x", "pw"),
])
def test_a_user_and_any_password(tmp_path, word, address, login, password):
    user, = options.parse([str(tmp_path), "--domain", "one.test", "--domain", "two.test", "--user", word]).users
    assert (user.address, user.login, user.password) == (address, login, password)


def test_the_last_of_two_settings_holds(tmp_path):
    assert options.parse([str(tmp_path), "--set", "queue.lifetime=1m", "--set", "queue.lifetime = 2m"]).settings == {"queue.lifetime": "2m"}


def test_a_directory_that_cannot_stand_in_the_configuration_is_refused(tmp_path):
    with pytest.raises(SystemExit) as error:
        options.parse([str(tmp_path / "with blank")])
    assert error.value.code == 64


# ---- tree -------------------------------------------------------------------------------------------------------------
def build(tmp_path, *words: str) -> str:
    given = options.parse([str(tmp_path), *words])
    tree.build(given, {"smtp": "127.0.0.1:2525"})
    return str(tmp_path / "etc")


def read(*path: str) -> str:
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def write(text: str, *path: str) -> None:
    with open(os.path.join(*path), "w", encoding="utf-8") as file:
        file.write(text)


def test_what_an_admin_adds_stays_and_what_the_sandbox_wrote_is_new(tmp_path):
    etc = build(tmp_path, "--user", "ann:one", "--set", "queue.lifetime=1m")
    write(read(etc, "users") + "guest\n", etc, "users")
    write("# mine\n" + read(etc, "pymta.conf") + "queue.lifetime = 9d\n", etc, "pymta.conf")
    write("sales: ann\n", etc, "aliases")
    build(tmp_path, "--user", "bea:two")
    assert list(users.decode(read(etc, "users").encode()).by_name) == ["bea", "guest"]
    assert list(passwords.decode(read(etc, "passwords").encode())[0]) == ["bea@example.test"]
    rows, complaints = conf.parse(read(etc, "pymta.conf"))
    assert not complaints and [value for _, name, value in rows if name == "queue.lifetime"] == ["9d"]
    assert read(etc, "pymta.conf").startswith("# mine\n") and read(etc, "aliases") == "sales: ann\n"
    before = read(etc, "pymta.conf")
    build(tmp_path, "--user", "bea:two")
    assert read(etc, "pymta.conf") == before


def test_everything_written_is_free_of_complaints(tmp_path):
    etc = build(tmp_path, "--user", "ann:one", "--user", "bo@two.test:x", "--domain", "one.test", "--transport", "r.test=lmtp:[::1]:24",
                "--transport", ".s.test=127.0.0.1:25", "--relay-from", "10.0.0.0/8")
    from pymta import check, settings
    assert not settings.read(etc).complaints
    found = [one for one in check.everything(settings.read(etc)) if not one.warning]
    assert [one for one in found if one.where != "local.virtual_uid" or os.geteuid()] == []     # as root nobody owns them


def test_sendmail_of_a_python_with_a_long_path_is_a_shell_script(tmp_path, monkeypatch):
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    (deep / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(deep / "python"))
    build(tmp_path)
    assert read(str(tmp_path), "bin", "sendmail").startswith("#!/bin/sh\n")
    done = subprocess.run([str(tmp_path / "bin" / "sendmail"), "-i", "alice"], input=b"Subject: x\n\ny\n", env={}, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(os.listdir(tmp_path / "spool" / "in" / "inject" / "new")) == 1


# ---- certificate ------------------------------------------------------------------------------------------------------
def test_a_certificate_is_kept_while_it_is_good_and_made_anew_for_other_names(tmp_path):
    folder = str(tmp_path)
    certificate.ensure(folder, ["localhost", "127.0.0.1"])
    first, authority = read(folder, "cert.pem"), read(folder, "ca.pem")
    certificate.ensure(folder, ["localhost", "127.0.0.1"])
    assert (read(folder, "cert.pem"), read(folder, "ca.pem")) == (first, authority)
    certificate.ensure(folder, ["localhost", "127.0.0.1", "mail.x.test"])
    assert read(folder, "cert.pem") != first and read(folder, "ca.pem") == authority
    write("damaged", folder, "key.pem")
    certificate.ensure(folder, ["localhost", "127.0.0.1", "mail.x.test"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    assert os.stat(os.path.join(folder, "key.pem")).st_mode & 0o777 == 0o600


def test_a_certificate_that_is_about_to_end_is_made_anew(tmp_path, monkeypatch):
    folder = str(tmp_path)
    monkeypatch.setattr(certificate, "_DAYS", 20)
    certificate.ensure(folder, ["localhost"])
    first, authority = read(folder, "cert.pem"), read(folder, "ca.pem")
    monkeypatch.undo()
    certificate.ensure(folder, ["localhost"])
    assert read(folder, "cert.pem") != first and read(folder, "ca.pem") == authority


# ---- the others -------------------------------------------------------------------------------------------------------
def test_processes_finds_children_and_those_of_the_session(tmp_path):
    script = "import os, time\npid = os.fork()\nos.write(1, b'%d\\n' % os.getpid())\ntime.sleep(60)\n"       # one write each: lines do not mix
    leader = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert leader.stdout
    try:
        both = {int(leader.stdout.readline()), int(leader.stdout.readline())}
        found = supervise.processes({"x": leader.pid, "none": 0})
        assert set(found["x"]) == both and found["x"][0] == leader.pid and found["none"] == []
        leader.kill()
        leader.wait()
        assert set(supervise.processes({"x": leader.pid})["x"]) == both - {leader.pid}      # an orphan, but of that session
    finally:
        for pid in supervise.processes({"x": leader.pid})["x"]:
            os.kill(pid, 9)
        leader.stdout.close()


def test_the_first_closed_folder_is_named(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    closed = str(tmp_path / "a")
    monkeypatch.setattr(os, "access", lambda path, mode: path != closed)
    assert identity._blocked(str(tmp_path / "a" / "b")) == closed
    assert identity._blocked(str(tmp_path)) == ""


def test_what_is_shown_of_a_log_line():
    shown = watch.tell('pymta-smtpd: accept id=7k2q size=4821 from=<a@b.example>\n', colour=False)
    assert shown[8:] == " smtpd    accept   id=7k2q size=4821 from=<a@b.example>"
    assert "\033[31m" in watch.tell("pymta-qrun: bounce id=7k2q", colour=True)
    assert watch.tell("Traceback (most recent call last):\n", colour=True) == "Traceback (most recent call last):"
