"""pymta-setup as scripts and admins use it: by options, and by answers on a terminal; run again, it finds nothing to change."""
from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time

import dns.zone
import pytest
import trustme

from pymta import settings
from pymta.login import hashes
from pymta.formats import passwords
from pymta.setup import edit
from tests import certificates
from tests.running import ROOT, Sandboxes

PROGRAM = [sys.executable, os.path.join(ROOT, "bin", "pymta-setup")]
PASSWORD = "correct horse battery"
# addresses of this host that nobody listens on: what is on its real ports is no business of a test
QUIET = "".join(f"{name} =\n" for name in ("smtp.listen", "smtp.submission", "imap.listen", "pop3.listen")) + "local.virtual_uid = 1234\ntls.certificates =\n"


@pytest.fixture
def etc(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    (tmp_path / "pymta.conf").write_text(f"# ours\n{QUIET}smtp.submissions = 127.0.0.1:{ports[0]}\nimap.listen_tls = 127.0.0.1:{ports[1]}\npop3.listen_tls =\n"
                                         f"host.spool = {tmp_path}/spool   # not made\n")
    return tmp_path


def setup(etc, *words, password=None, status=0):
    done = subprocess.run([*PROGRAM, "--etc", str(etc), *words], input=f"{password}\n" if password else "", capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done
    return done.stderr if status else done.stdout


GIVEN = ("--yes", "--host", "mail.example.org", "--domain", "example.org", "--domain", "example.net", "--system-users", "no", "--user", "ann@example.org",
         "--address", "192.0.2.7", "--stdin")


def snapshot(etc):
    return {os.path.relpath(os.path.join(top, name), etc): (os.stat(os.path.join(top, name)).st_mtime_ns, os.stat(os.path.join(top, name)).st_ino)
            for top, _, names in os.walk(etc) for name in names}


# ---- by options -------------------------------------------------------------------------------------------------------
def test_everything_by_options(etc):
    before = (etc / "pymta.conf").read_text()
    told = json.loads(setup(etc, *GIVEN, "--json", password=PASSWORD))
    assert told["written"] and [os.path.basename(change["path"]) for change in told["changes"]] == ["pymta.conf", "users", "tls", "passwords"]
    after = settings.read(str(etc))
    assert after.host == "mail.example.org" and after["local.domains"] == ("example.org", "example.net") and after["local.admin"] == "ann@example.org"
    assert after["host.addresses"] == ("192.0.2.7",) and not after.complaints and not after["local.system_users"]
    assert (etc / "pymta.conf").read_text().startswith(before)
    assert (etc / "users").read_text() == "ann@example.org\n"
    entry = passwords.decode((etc / "passwords").read_bytes())[0]["ann@example.org"]
    assert hashes.matches(entry.hash, PASSWORD.encode()) and PASSWORD not in json.dumps(told)
    assert stat.S_IMODE((etc / "passwords").stat().st_mode) == 0o640 and stat.S_IMODE((etc / "tls/key.pem").stat().st_mode) == 0o600
    assert not (etc / "spool").exists(), "places are made for a host, not for a tree"
    assert "self-signed" in told["certificate"][0] and told["check"] == []
    assert {(port["listener"], port["state"]) for port in told["ports"]} == {("submissions", "free"), ("imaps", "free")}
    assert told["next"][0] == f"start it: pymta-ctl --etc {etc} start"
    checked = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-config"), "--etc", str(etc), "check"], capture_output=True, text=True)
    assert "no faults" in checked.stdout


def test_run_again_it_changes_nothing(etc):
    setup(etc, *GIVEN, password=PASSWORD)
    before = snapshot(etc)
    assert "nothing to change" in setup(etc, *GIVEN, password=PASSWORD)
    assert "nothing to change" in setup(etc, "--yes", "--user", "ann@example.org")
    assert json.loads(setup(etc, "--yes", "--json"))["written"] is False
    assert snapshot(etc) == before
    (etc / "tls/cert.pem").unlink()                                                 # and what is lost is made again, alone
    assert [os.path.basename(change["path"]) for change in json.loads(setup(etc, "--yes", "--json"))["changes"]] == ["tls"]


def test_another_password_and_another_domain(etc):
    setup(etc, *GIVEN, password=PASSWORD)
    told = json.loads(setup(etc, "--yes", "--user", "ann@example.org", "--stdin", "--domain", "example.org", "--json", password="staple staple"))
    assert [change["lines"] for change in told["changes"]] == [["- local.domains = example.org, example.net", "+ local.domains = example.org"], ["+ ann@example.org: a password"]]
    assert hashes.matches(passwords.decode((etc / "passwords").read_bytes())[0]["ann@example.org"].hash, b"staple staple")


def test_what_an_admin_wrote_stays(etc):
    text = (etc / "pymta.conf").read_text() + "  host.name = old.example.org   # the old one\nlocal.domains = a.example\n# the end"
    (etc / "pymta.conf").write_text(text)
    (etc / "pymta.conf").chmod(0o604)
    (etc / "users").write_text("# people\nbob@a.example:::/srv/bob")
    setup(etc, "--yes", "--host", "new.example.org", "--user", "ann@a.example", "--stdin", password=PASSWORD)
    assert (etc / "pymta.conf").read_text() == text.replace("old.example.org ", "new.example.org ") + "\nlocal.admin = ann@a.example\n"
    assert (etc / "users").read_text() == "# people\nbob@a.example:::/srv/bob\nann@a.example\n"
    assert stat.S_IMODE((etc / "pymta.conf").stat().st_mode) == 0o604


def test_the_daemons_may_read_it_whatever_the_umask(tmp_path):
    etc = tmp_path / "new" / "pymta"
    done = subprocess.run([*PROGRAM, "--etc", str(etc), "--yes", "--host", "mail.example.org"], capture_output=True, text=True, timeout=60, umask=0o077)
    assert done.returncode == 0, done
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in (etc, etc / "tls", etc / "pymta.conf", etc / "tls/cert.pem")] == [0o755, 0o755, 0o644, 0o644]


def test_a_dry_run_writes_nothing(etc):
    before = snapshot(etc)
    out = setup(etc, "--dry-run", *GIVEN[1:-1])
    assert "this would be written:" in out and "+ ann@example.org: a password" in out and "+ host.name = mail.example.org" in out
    assert snapshot(etc) == before


@pytest.mark.parametrize("words, password, status, text", [
    ((), None, 2, "no terminal to ask on"),
    (("--json",), None, 2, "no terminal to ask on"),
    (("--yes", "--dry-run"), None, 2, "not allowed"),
    (("--yes", "--host", "mail"), None, 65, "write mail.example.org"),
    (("--yes", "--host", "mail.a.example", "--domain", "a b@c"), None, 65, "not a domain"),
    (("--yes", "--host", "mail.a.example", "--user", "ann"), None, 65, "ann@a.example has no password; give one with --stdin"),
    (("--yes", "--host", "mail.a.example", "--user", "ann", "--stdin"), "short", 65, "too short"),
    (("--yes", "--host", "mail.a.example", "--user", "a b"), None, 65, "not a user's name"),
    (("--yes", "--host", "mail.a.example", "--address", "here"), None, 65, "not an IP address"),
    (("--yes", "--host", "mail.a.example", "--admin", "a b"), None, 65, "write user or user@domain"),
])
def test_what_will_not_do_changes_nothing(etc, words, password, status, text):
    before = snapshot(etc)
    assert text in setup(etc, *words, password=password, status=status)
    assert snapshot(etc) == before


def test_a_configuration_with_a_fault_is_mended_first(etc):
    (etc / "pymta.conf").write_text("queue.lifetime = soon\n")
    assert "mend this first:" in setup(etc, "--yes", "--host", "mail.a.example", status=78)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_where_one_may_not_write(etc):
    etc.chmod(0o555)
    assert "Permission denied" in setup(etc, "--yes", "--host", "mail.a.example", status=77)
    etc.chmod(0o755)


def test_certificates_are_found_and_kept(etc):
    authority = trustme.CA()
    certificates.put(str(etc / "tls"), authority.issue_cert("other.example.org"))
    before = snapshot(etc / "tls")
    told = json.loads(setup(etc, "--yes", "--host", "mail.example.org", "--self-signed", "--json"))
    assert "there is none for mail.example.org" in told["certificate"][0] and snapshot(etc / "tls") == before
    live = etc / "live"
    certificates.certbot(str(etc), "mail.example.org", authority.issue_cert("mail.example.org"))
    (etc / "pymta.conf").write_text((etc / "pymta.conf").read_text().replace("tls.certificates =", f"tls.certificates = {live}"))
    told = json.loads(setup(etc, "--yes", "--json"))
    assert told["certificate"][0].startswith(f"{live}/mail.example.org/fullchain.pem is for mail.example.org and ends in ")
    assert not any("certbot" in text for text in told["next"])


# ---- records ----------------------------------------------------------------------------------------------------------
def test_the_records_of_what_is_configured(etc):
    setup(etc, *GIVEN, password=PASSWORD)
    before = snapshot(etc)
    text = setup(etc, "--records", "--tlsa")
    loaded = dns.zone.from_text(text, origin=".", relativize=False, check_origin=False)
    found = {(name.to_text(omit_final_dot=True), dns.rdatatype.to_text(kind.rdtype)) for name, node in loaded.items() for kind in node}
    assert {("mail.example.org", "A"), ("7.2.0.192.in-addr.arpa", "PTR"), ("example.org", "MX"), ("example.net", "MX"), ("example.net", "TXT"),
            ("_dmarc.example.org", "TXT"), ("_imaps._tcp.example.net", "SRV"), ("_submissions._tcp.example.org", "SRV"), ("_25._tcp.mail.example.org", "TLSA")} <= found
    assert ("_pop3s._tcp.example.org", "SRV") not in found, "it is not served"
    spki = subprocess.run("openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum", shell=True, cwd=etc / "tls",
                          capture_output=True, text=True)
    assert spki.returncode or spki.stdout.split()[0] in text
    rows = json.loads(setup(etc, "--records", "--json"))
    assert {"name", "kind", "data", "why", "need"} == set(rows[0]) and snapshot(etc) == before
    assert "does not sign mail yet" in text


# ---- ports ------------------------------------------------------------------------------------------------------------
def test_whose_the_ports_are():
    with Sandboxes() as boxes, socket.create_server(("127.0.0.1", 0)) as other:
        box = boxes.start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        path = os.path.join(box.ends["etc"], "pymta.conf")
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(edit.changed(text, {"pop3.listen": f"127.0.0.1:{other.getsockname()[1]}", "pop3.listen_tls": f"127.0.0.1:{port}"}))
        other.settimeout(0.05)
        process = subprocess.Popen([*PROGRAM, "--etc", box.ends["etc"], "--yes", "--json"], stdout=subprocess.PIPE, text=True)
        while process.poll() is None:
            try:
                connection, _ = other.accept()
                connection.sendall(b"+OK Dovecot ready.\r\n")
                connection.close()
            except TimeoutError:
                pass
        told = json.loads(process.stdout.read())
        states = {row["listener"]: row["state"] for row in told["ports"]}
        assert states.pop("pop3") == "taken" and states.pop("pop3s") == "free" and set(states.values()) == {"ours"} and len(states) == 6
        (taken,) = [row for row in told["ports"] if row["state"] == "taken"]
        assert f"pid {os.getpid()}" in taken["by"]
        assert told["next"][0].startswith(f"stop what listens on {taken['address']}")


# ---- on a terminal ----------------------------------------------------------------------------------------------------
class Terminal:
    """pymta-setup on a pseudo terminal of its own."""

    def __init__(self, etc, *words):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(PROGRAM[0], [*PROGRAM, "--etc", str(etc), *words])
        self.seen = ""

    def wait(self, text):
        """Until text has been shown since the last answer."""
        end = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < end and select.select([self.fd], [], [], 60)[0], self.seen
            try:
                self.seen += os.read(self.fd, 65536).decode().replace("\r\n", "\n")
            except OSError:
                raise AssertionError(self.seen) from None
        return self.seen

    def answer(self, question, line):
        seen = self.wait(question)
        self.seen = ""
        os.write(self.fd, line.encode() + b"\n")
        return seen

    def end(self):
        """(exit status, what was shown last)"""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode().replace("\r\n", "\n")
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.seen


def test_an_admin_answers(etc):
    terminal = Terminal(etc)
    terminal.answer("The name of this host, as others know it [", "mail")
    terminal.answer("write mail.example.org", "mail.example.org")
    terminal.answer("Domains whose mail stays on this host [example.org]: ", "")
    terminal.answer("Shall the users of this system get mail there [yes]: ", "n")
    terminal.answer("The first mail user", "ann@example.org")
    terminal.answer("Who reads the mail for root and postmaster (- for nobody yet) [ann@example.org]: ", "")
    terminal.answer("Password for ann@example.org: ", "short")
    assert "too short" in terminal.answer("Password for ann@example.org: ", PASSWORD)    # what is typed before the prompt is thrown away
    terminal.answer("Once more: ", "something else")
    terminal.answer("the two are not the same\nPassword for ann@example.org: ", PASSWORD)
    terminal.answer("Once more: ", PASSWORD)
    shown = terminal.answer("Write it [yes]: ", "")
    assert "+ host.name = mail.example.org" in shown and "+ ann@example.org: a password" in shown and PASSWORD not in shown
    status, seen = terminal.end()
    assert status == 0 and re.search(r"next:\n  1\. ", seen) and "example.org.                   3600 IN MX" in seen
    assert hashes.matches(passwords.decode((etc / "passwords").read_bytes())[0]["ann@example.org"].hash, PASSWORD.encode())
    # again: each default is what holds, and nothing changes
    before = snapshot(etc)
    terminal = Terminal(etc)
    for question in ("others know it [mail.example.org]: ", "on this host [example.org]: ", "mail there [no]: ", "- for none) [-]: ", "yet) [ann@example.org]: "):
        terminal.answer(question, "")
    status, seen = terminal.end()
    assert status == 0 and "nothing to change" in seen and snapshot(etc) == before


@pytest.mark.parametrize("last, status", [("no", 1), ("\x04", 1), ("\x03", 1)])
def test_an_admin_thinks_better_of_it(etc, last, status):
    before = snapshot(etc)
    terminal = Terminal(etc, "--host", "mail.example.org", "--domain", "example.org", "--system-users", "no", "--admin", "root@example.net")
    terminal.answer("The first mail user", "-")
    terminal.answer("Write it [yes]: ", last)
    ended, seen = terminal.end()
    assert ended == status and snapshot(etc) == before


def test_what_somebody_else_writes_meanwhile_stays(etc):
    terminal = Terminal(etc, "--host", "mail.example.org", "--domain", "example.org", "--system-users", "no", "--admin", "root@example.net")
    terminal.answer("The first mail user", "-")
    terminal.wait("Write it [yes]: ")
    with open(etc / "pymta.conf", "a") as file:
        file.write("\nqueue.lifetime = 6d\n")
    before = snapshot(etc)
    terminal.answer("Write it [yes]: ", "")
    status, seen = terminal.end()
    assert status == 75 and "run this again" in seen and snapshot(etc) == before


def test_killed_it_leaves_files_whole(etc):
    terminal = Terminal(etc, "--host", "mail.example.org")
    terminal.wait("Domains whose mail")
    os.kill(terminal.pid, signal.SIGKILL)
    os.waitpid(terminal.pid, 0)
    os.close(terminal.fd)
    assert sorted(os.listdir(etc)) == ["pymta.conf"]
