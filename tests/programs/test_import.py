"""pymta-import as it is called: what is shown, what is written, what is left alone."""
from __future__ import annotations

import imaplib
import json
import os
import stat
import subprocess
import sys

import pytest

from tests.importing import check, place, run, run_json
from tests.running import ROOT, Sandboxes, wait_until

POSTFIX = {
    "/etc/postfix/main.cf": "myhostname = mail.a.example\nmydestination = a.example\nmyorigin = a.example\nhome_mailbox = Maildir/\n"
                            "virtual_mailbox_domains = v.example\nvirtual_mailbox_base = /srv/mail\nvirtual_mailbox_maps = hash:/etc/postfix/vmailbox\n"
                            "virtual_uid_maps = static:5000\nvirtual_gid_maps = static:5000\n",
    "/etc/postfix/vmailbox": "ann@v.example v.example/ann/Maildir/\n",
    "/etc/aliases": "root: ann@v.example\n",
}


@pytest.fixture
def root(tmp_path) -> str:
    place(str(tmp_path / "root"), POSTFIX)
    return str(tmp_path / "root")


@pytest.fixture
def etc(tmp_path) -> str:
    return str(tmp_path / "etc")


def files(etc: str) -> dict[str, str]:
    return {name: open(os.path.join(etc, name), encoding="utf-8").read() for name in sorted(os.listdir(etc))}


def test_nothing_is_written_unless_asked(root, etc):
    done = run("postfix", "--root", root, "--etc", etc)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not os.path.exists(etc)
    assert f"would be written to {etc}/aliases:\n    root@a.example: ann@v.example\n" in done.stdout
    assert "same: /etc/postfix/main.cf:1: myhostname = mail.a.example\n    host.name = mail.a.example\n" in done.stdout
    assert done.stdout.endswith("0 unsupported; nothing was written, --write does\n")


def test_what_is_written_is_in_order_and_the_second_time_nothing_is_added(root, etc):
    done = run("postfix", "--root", root, "--etc", etc, "--write")
    assert done.returncode == 0, done.stdout + done.stderr
    assert files(etc) == {
        "aliases": "# from postfix, by pymta-import\nroot@a.example: ann@v.example\n",
        "pymta.conf": "# from postfix, by pymta-import\nhost.name = mail.a.example\nlocal.domains = a.example\nlocal.extension =\n"
                      "smtp.relay_from = 127.0.0.0/8 ::1/128\nlocal.virtual_domains = v.example\n",
        "users": "# from postfix, by pymta-import\nann@v.example:5000:5000:/srv/mail/v.example/ann\n"}
    assert stat.S_IMODE(os.stat(os.path.join(etc, "users")).st_mode) == 0o644
    assert [line for line in check(etc) if "warning" not in line] == []
    before = files(etc)
    assert run_json("postfix", "--root", root, "--etc", etc, "--write")["files"] == {} and files(etc) == before


def test_what_stands_there_holds_and_is_shown(root, etc):
    os.mkdir(etc)
    there = {"pymta.conf": "# mine\nhost.name = mx.a.example # ours\n", "users": "Ann@v.example   # first\nbob@v.example\n", "aliases": "root@a.example: bob@v.example"}
    place(etc, there)
    os.chmod(os.path.join(etc, "users"), 0o600)
    told = run_json("postfix", "--root", root, "--etc", etc, "--write")
    assert told["kept"] == [{"file": "pymta.conf", "stands": "host.name = mx.a.example", "import": "host.name = mail.a.example"},
                            {"file": "aliases", "stands": "root@a.example: bob@v.example", "import": "root@a.example: ann@v.example"}]
    after = files(etc)
    assert after["pymta.conf"].startswith(there["pymta.conf"]) and after["aliases"] == there["aliases"]
    assert after["users"] == "ann@v.example:5000:5000:/srv/mail/v.example/ann   # first\nbob@v.example\n"         # of whom the name alone was known
    assert stat.S_IMODE(os.stat(os.path.join(etc, "users")).st_mode) == 0o600


def test_the_status_says_that_something_is_unsupported(root, etc):
    place(root, {"/etc/postfix/main.cf": POSTFIX["/etc/postfix/main.cf"] + "smtpd_milters = inet:localhost:1\n"})
    done = run("postfix", "--root", root, "--etc", etc)
    assert done.returncode == 1
    assert done.stdout.startswith("unsupported: /etc/postfix/main.cf:10: smtpd_milters = inet:localhost:1\n")


def test_its_own_program_may_say_the_settings(root, etc, tmp_path):
    said = tmp_path / "postconf-n"
    said.write_text("myhostname = other.example\n")
    told = run_json("postfix", "--root", root, "--etc", etc, "--output", str(said))
    assert "host.name = other.example" in told["files"]["pymta.conf"]
    assert told["rows"][0]["where"] == "postconf -n:1"


def test_where_there_is_none(etc, tmp_path):
    done = run("postfix", "--root", str(tmp_path), "--etc", etc)
    assert (done.returncode, done.stdout) == (66, "") and "name its directory with --from" in done.stderr
    assert run("sendmail").returncode == 2
    assert run("postfix", "--output", str(tmp_path / "none")).returncode == 66


def test_octets_of_any_kind_are_shown_harmless(root, etc):
    place(root, {"/etc/postfix/main.cf": POSTFIX["/etc/postfix/main.cf"] + "header_checks = pcre:/x\x1b[31m\udcff\n"})
    done = run("postfix", "--root", root, "--etc", etc)
    assert done.returncode == 1 and "\x1b" not in done.stdout
    json.dumps(run_json("postfix", "--root", root, "--etc", etc))


DOVECOT = {
    "/etc/dovecot/dovecot.conf": "protocols = imap\nmail_location = maildir:/srv/mail/%d/%n\npassdb {\n driver = passwd-file\n args = /etc/dovecot/users\n}\n"
                                 "userdb {\n driver = static\n args = uid=5000 gid=5000 home=/srv/mail/%d/%n\n}\nprotocol lmtp {\n mail_plugins = sieve\n}\n",
    "/etc/dovecot/users": "ann@v.example:{PLAIN}correct horse\ncarl@v.example:{PLAIN}battery staple\n",
}


def test_a_mail_server_and_dovecot_one_after_the_other(root, etc):
    place(root, DOVECOT | {"/etc/postfix/main.cf": POSTFIX["/etc/postfix/main.cf"] + "virtual_transport = lmtp:unix:private/dovecot-lmtp\n"})
    run_json("postfix", "--root", root, "--etc", etc, "--write")
    assert "ann@v.example\n" in files(etc)["users"]          # Postfix knows that she is there, Dovecot where her mail lies
    told = run_json("dovecot", "--root", root, "--etc", etc, "--write")
    assert told["kept"] == [] and [row["what"] for row in told["rows"] if row["verdict"] == "unsupported"] == ["mail_plugins: sieve"]
    after = files(etc)
    assert after["users"] == ("# from postfix, by pymta-import\nann@v.example:5000:5000:/srv/mail/v.example/ann\n"
                              "# from dovecot, by pymta-import\ncarl@v.example:5000:5000:/srv/mail/v.example/carl\n")
    assert after["pymta.conf"].endswith("# from dovecot, by pymta-import\npop3.listen =\npop3.listen_tls =\n")
    assert stat.S_IMODE(os.stat(os.path.join(etc, "passwords")).st_mode) == 0o640
    assert "correct horse" not in json.dumps(told) and told["files"]["passwords"][0] == "ann@v.example:{PLAIN}..."
    assert "ln -s . /srv/mail/v.example/ann/Maildir" in told["next"]
    assert [line for line in check(etc) if "warning" not in line] == []
    whatif = os.path.join(ROOT, "bin", "pymta-whatif")
    done = subprocess.run([sys.executable, whatif, "--etc", etc, "--json", "carl@v.example", "root"], capture_output=True, text=True, timeout=60)
    fates = [json.loads(line)["recipients"][0] for line in done.stdout.splitlines()]
    assert [(fate["maildir"], fate["uid"]) for fate in fates] == [("/srv/mail/v.example/carl/Maildir", 5000), ("/srv/mail/v.example/ann/Maildir", 5000)]


def test_a_maildir_of_another_name_stays_where_it_is():
    """The link that the report proposes: mail comes into the old Maildir, and IMAP shows what lay there."""
    with Sandboxes() as sandboxes:
        one = sandboxes.start()
        old = os.path.join(one.directory, "old", "example.test", "carl")
        for name in ("new", "cur", "tmp", ".Work/new", ".Work/cur", ".Work/tmp"):
            os.makedirs(os.path.join(old, name))
        with open(os.path.join(old, "cur", "1234.M1.host:2,S"), "w", encoding="ascii") as file:
            file.write("Subject: old\n\nhello\n")
        place(f"{one.directory}/root", {
            "/etc/dovecot/dovecot.conf": f"mail_location = maildir:{one.directory}/old/%d/%n\npassdb {{\n driver = passwd-file\n args = /etc/dovecot/users\n}}\n",
            "/etc/dovecot/users": "carl@example.test:{PLAIN}battery staple\n"})
        told = run_json("dovecot", "--root", f"{one.directory}/root", "--etc", one.ends["etc"], "--write")
        link = told["next"][0].split()
        assert link[:2] == ["ln", "-s"]
        subprocess.run(link, check=True)
        owner = os.stat(os.path.join(one.ends["etc"], "users"))
        subprocess.run(["chown", "-hR", f"{owner.st_uid}:{owner.st_gid}", os.path.join(one.directory, "old")], check=True)
        one.send("carl@example.test")
        wait_until(lambda: os.listdir(os.path.join(old, "new")))
        client = imaplib.IMAP4(one.ends["host"], one.ends["imap"], timeout=30)
        client.login("carl@example.test", "battery staple")
        assert client.select()[1] == [b"2"] and b'"Work"' in b" ".join(client.list()[1])
        client.logout()
