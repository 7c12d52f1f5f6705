"""pymta-setup and pymta-doctor on a host with systemd: installed, set up by one command, started; mail works for the first user, the doctor finds
nothing worse than the DNS that nobody has published; then what breaks is found.

One machine for all, so the order counts.
"""
from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import machine
from tests.host.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]
PASSWORD = "correct-horse-battery"
SETUP = ("pymta-setup", "--yes", "--host", "mail.example.org", "--user", "vic@example.org", "--stdin", "--address", "192.0.2.7", "--json")

SEND_AND_READ = f"""
import imaplib, smtplib, ssl, sys, time
tls = ssl.create_default_context(cafile="/etc/pymta/tls/cert.pem")
with smtplib.SMTP("localhost", 25, timeout=20) as smtp:
    smtp.sendmail("someone@elsewhere.test", ["vic@example.org"], "Subject: from a stranger\\r\\n\\r\\ntext\\r\\n")
with smtplib.SMTP_SSL("mail.example.org", 465, context=tls, timeout=20) as smtp:
    smtp.login("vic@example.org", {PASSWORD!r})
    for rcpt in ("vic", "postmaster"):
        smtp.sendmail("vic@example.org", [f"{{rcpt}}@example.org"], "From: vic@example.org\\r\\nSubject: to myself\\r\\n\\r\\ntext\\r\\n")
for _ in range(200):
    with imaplib.IMAP4_SSL("mail.example.org", 993, ssl_context=tls, timeout=20) as imap:
        imap.login("vic@example.org", {PASSWORD!r})
        count = int(imap.select(readonly=True)[1][0])
        if count >= 3:
            break
    time.sleep(0.1)
print(count)
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    if machine.reason():
        pytest.skip(machine.reason())
    directory = Path(tempfile.mkdtemp(prefix="pymta-host-", dir="/var/tmp"))
    with machine.machine(directory) as made:
        (made.root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 mail.example.org mail\n")
        made.copy_in(machine.SOURCE, "/root/pymta")
        made.sh("useradd bob; ip link set lo up 2>/dev/null || true; cd /root/pymta && make -s install DEPS=system SENDMAIL=yes", timeout=300)
        yield made


def doctor(host: Machine, *words: str) -> list[dict[str, str]]:
    """What is worse than a note, and is not the DNS, which there is none of."""
    done = host.run("pymta-doctor", "--json", "--quiet", *words, check=False)
    assert not done.stderr and done.returncode in (0, 1, 69), done
    return [one for one in json.loads(done.stdout)["findings"] if one["subject"] != "dns"]


def wait(check, seconds: float = 20):
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


def test_one_command_and_mail_works(host):
    told = json.loads(host.run(*SETUP, input=PASSWORD + "\n").stdout)
    assert told["written"] and {row["state"] for row in told["ports"]} == {"free"} and told["check"] == []
    assert told["next"][0] == "start it: systemctl enable --now pymta.target"
    host.run("systemctl", "enable", "--now", "pymta.target")
    assert host.python(SEND_AND_READ).strip() == "3"                        # postmaster's mail is the first user's


def test_the_doctor_finds_nothing_worse_than_the_dns(host):
    found = doctor(host)
    assert [one for one in found if one["grade"] == "fault"] == []
    # a certificate of its own making, and a machine whose disk is a container's
    assert {(one["subject"], one["why"].partition(":")[0]) for one in found} <= {("certificates", "it is self-signed"), ("disk", "/ (overlay)")}, found


def test_set_up_again_nothing_changes_and_the_ports_are_ours(host):
    facts = "find /etc/pymta /var/spool/pymta/state -type f -printf '%p %i %T@\\n' | sort"
    before = host.sh(facts)
    told = json.loads(host.run(*SETUP, input=PASSWORD + "\n").stdout)
    assert told["changes"] == [] and not told["written"] and {row["state"] for row in told["ports"]} == {"ours"}
    assert host.sh(facts) == before
    told = json.loads(host.run("pymta-setup", "--yes", "--json", "--domain", "example.org", "--domain", "example.net").stdout)
    assert told["next"][0].startswith("put it in force: systemctl reload ")
    host.sh(told["next"][0].partition(": ")[2])
    wait(lambda: "250" in host.python("import smtplib\ns = smtplib.SMTP('localhost', 25); s.ehlo(); s.mail('a@b.test'); print(s.rcpt('postmaster@example.net'))"))


# ---- what breaks is found ---------------------------------------------------------------------------------------------
def test_a_unit_that_does_not_run(host):
    host.run("systemctl", "stop", "pymta-imapd.service", "pymta-imap.socket", "pymta-imaps.socket")
    found = doctor(host, "--only", "daemons", "--only", "listeners")
    assert {one["what"] for one in found} == {"pymta-imapd.service", "pymta-imap.socket", "pymta-imaps.socket", "[::]:143 (imap.listen)", "[::]:993 (imap.listen_tls)"}
    assert all(one["grade"] == "fault" and "systemctl start" in one["remedy"] for one in found)
    host.run("systemctl", "start", "pymta-imap.socket", "pymta-imaps.socket", "pymta-imapd.service")


def test_a_unit_that_was_started_again_and_a_target_that_is_not_enabled(host):
    pid = host.run("systemctl", "show", "--property=MainPID", "--value", "pymta-pop3d.service").stdout.strip()
    host.run("kill", "-9", pid)
    host.run("systemctl", "disable", "pymta.target")
    wait(lambda: host.run("systemctl", "is-active", "pymta-pop3d", check=False).stdout == "active\n")
    found = {one["what"]: one for one in doctor(host, "--only", "daemons")}
    assert set(found) == {"pymta-pop3d.service", "pymta.target"} and {one["grade"] for one in found.values()} == {"warning"}
    assert "started again 1 times" in found["pymta-pop3d.service"]["why"] and "systemctl enable pymta.target" in found["pymta.target"]["remedy"]
    host.run("systemctl", "enable", "pymta.target")
    host.run("systemctl", "restart", "pymta-pop3d")


def test_a_socket_unit_that_opens_another_port(host):
    host.sh("mkdir -p /etc/systemd/system/pymta-pop3.socket.d; printf '[Socket]\\nListenStream=\\nListenStream=1110\\n' "
            "> /etc/systemd/system/pymta-pop3.socket.d/port.conf; systemctl daemon-reload; systemctl stop pymta-pop3d; systemctl restart pymta-pop3.socket; systemctl start pymta-pop3d")
    found = {one["what"]: one for one in doctor(host, "--only", "listeners")}
    assert set(found) == {"pymta-pop3.socket", "[::]:110 (pop3.listen)"} and "it opens port 1110, while the settings say port 110" in found["pymta-pop3.socket"]["why"]
    host.sh("rm -r /etc/systemd/system/pymta-pop3.socket.d; systemctl daemon-reload; systemctl stop pymta-pop3d; systemctl restart pymta-pop3.socket; systemctl start pymta-pop3d")
    assert doctor(host, "--only", "listeners") == []


def test_owners_and_accounts(host):
    host.sh("chown pymta-smtpd: /var/spool/pymta/hold; chmod 755 /var/spool/pymta/publishing; chmod 644 /etc/pymta/passwords")
    found = {one["what"]: one for one in doctor(host, "--only", "places")}
    assert set(found) == {"/var/spool/pymta/hold", "/var/spool/pymta/publishing", "/etc/pymta/passwords"} and {one["grade"] for one in found.values()} == {"fault"}
    assert "not to pymta-queue:pymta-queue" in found["/var/spool/pymta/hold"]["why"]
    host.sh(" && ".join(one["remedy"] for one in found.values()))                # a remedy is what it says
    assert doctor(host, "--only", "places") == []


def test_another_user_hears_what_he_may_not_see(host):
    done = host.run("/usr/local/sbin/pymta-doctor", "--json", user="bob", check=False)
    found = [one for one in json.loads(done.stdout)["findings"] if one["subject"] != "dns"]
    assert [one for one in found if one["grade"] == "fault"] == [] and any("as root" in one["remedy"] for one in found), found


# ---- without what systemd brings --------------------------------------------------------------------------------------
def test_accounts_and_places_are_made_without_sysusers(host):
    host.run("systemctl", "stop", "pymta.target", "pymta-begin.service", *(f"pymta-{name}.socket" for name in ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s")))
    wait(lambda: not host.run("sh", "-c", "ps -eo user:30 | grep pymta || true").stdout.strip())
    host.sh("systemd-sysusers --version >/dev/null; mv $(command -v systemd-sysusers) /root/; for each in smtpd queue remote auth login vmail; do userdel pymta-$each; done; "
            "groupadd --system pymta-auth; rm -rf /var/spool/pymta /run/pymta /var/mail/pymta")
    assert {one["what"] for one in doctor(host, "--only", "places")} >= {"pymta-smtpd", "pymta-vmail", "/var/spool/pymta"}
    told = json.loads(host.run("pymta-setup", "--yes", "--json").stdout)
    assert [change["path"] for change in told["changes"]] == ["accounts, by useradd", "places"] and told["check"] == []
    host.sh("chgrp pymta-auth /etc/pymta/passwords")                             # its number is another now
    assert doctor(host, "--only", "places") == []
    assert host.sh("getent passwd pymta-smtpd pymta-vmail | cut -d: -f1,6,7").split() == ["pymta-smtpd:/:/usr/sbin/nologin", "pymta-vmail:/var/mail/pymta:/usr/sbin/nologin"]
    host.run("systemctl", "start", "pymta.target")
    assert host.python(SEND_AND_READ).strip() == "3"
    host.sh("mv /root/systemd-sysusers /usr/bin/")
