"""The life of pymta on a host with systemd: installed, started with nothing configured, edited, reloaded, killed, cut off, upgraded, removed.

One machine for all, so the order counts: it is the order in which an admin meets these things.
"""
from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import machine
from tests.host.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]
DAEMONS = ("smtpd", "qrun", "local", "remote", "imapd", "pop3d")
INSTALL = "umask 077; make -s install DEPS=system SENDMAIL=yes"
SOCKETS = [f"pymta-{name}.socket" for name in ("smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "lmtp")]
RELOAD = "systemctl reload " + " ".join(f"pymta-{name}" for name in DAEMONS)
PASSWORD = "correct-horse-battery"

CLIENT = f"""
import email.message, imaplib, json, poplib, smtplib, ssl, sys
tls = ssl.create_default_context(cafile="/etc/pymta/tls/cert.pem")
def send(rcpt, text="text", host="localhost"):
    with smtplib.SMTP(host, 25, timeout=20) as smtp:
        smtp.sendmail("someone@elsewhere.test", [rcpt], f"Subject: {{text}}\\r\\n\\r\\n{{text}}\\r\\n")
def subjects(user):
    with imaplib.IMAP4_SSL("mail.example.org", 993, ssl_context=tls, timeout=20) as imap:
        imap.login(user, {PASSWORD!r})
        imap.select(readonly=True)
        found = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        return sorted(row[1].decode().split(":", 1)[1].strip() for row in found if isinstance(row, tuple))
def drop(user):
    pop = poplib.POP3_SSL("mail.example.org", 995, context=tls, timeout=20)
    pop.user(user); pop.pass_({PASSWORD!r})
    count = pop.stat()[0]
    pop.quit()
    return count
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Machine]:
    if machine.reason():
        pytest.skip(machine.reason())
    directory = Path(tempfile.mkdtemp(prefix="pymta-host-", dir="/var/tmp"))    # /tmp may be in memory, which has no overlay and no power cut
    with machine.machine(directory) as made:
        (made.root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 mail.example.org mail\n")
        made.copy_in(machine.SOURCE, "/root/pymta")
        made.sh("useradd -m ann; useradd -m bob; ip link set lo up 2>/dev/null || true")
        yield made


def wait(check, what, seconds: float = 20):
    """What check returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.1)
    return found


def journal(host: Machine) -> str:
    return host.run("journalctl", "--no-pager", "-n", "80", "-o", "cat").stdout


def client(host: Machine, script: str, **options):
    return host.python(CLIENT + script, **options)


def mail_of(host: Machine, user: str) -> list[str]:
    return host.sh(f"grep -rhs '^Subject: ' ~{user}/Maildir/new ~{user}/Maildir/cur || true").replace("Subject: ", "").split("\n")[:-1]


def arrives(host: Machine, user: str, subject: str) -> None:
    wait(lambda: subject in mail_of(host, user), lambda: f"no {subject!r} for {user}\n{host.run('pymta-mailq', check=False).stdout}\n{journal(host)}")


def pid_of(host: Machine, name: str) -> int:
    return int(host.run("systemctl", "show", "--property=MainPID", "--value", f"pymta-{name}.service").stdout)


# ---- the first ten minutes --------------------------------------------------------------------------------------------
def test_mail_works_right_after_make_install_with_nothing_configured(host):
    host.sh(f"cd /root/pymta && {INSTALL}", timeout=300)
    assert host.sh("find /usr/local /etc/pymta -name '*pymta*' -type f ! -perm -444; find /usr/local/lib/pymta ! -perm -444") == ""
    host.run("systemctl", "start", "pymta.target")
    client(host, "send('ann@mail.example.org', 'first')\nsend('ann@localhost', 'second')")
    arrives(host, "ann", "first")
    arrives(host, "ann", "second")
    assert host.sh("stat -c '%U %a' ~ann/Maildir").split() == ["ann", "700"]
    assert host.run("systemctl", "--failed", "--no-legend").stdout == ""


def test_programs_send_by_sendmail_from_cron_and_from_any_uid(host):
    host.run("/usr/sbin/sendmail", "ann", input="Subject: by bob\n\ntext\n", user="bob")
    arrives(host, "ann", "by bob")
    (host.root / "etc/cron.d/tell").write_text("MAILTO=ann\n@reboot bob echo said by a job\n")
    host.sh("chmod 644 /etc/cron.d/tell; rm -f /run/crond.reboot; systemctl restart cron")
    wait(lambda: any("echo said by a job" in subject for subject in mail_of(host, "ann")), lambda: journal(host))
    assert "said by a job" in host.sh("cat ~ann/Maildir/new/*")


def test_a_system_user_and_a_virtual_user_read_by_imap_and_pop3_over_tls(host):
    host.sh("echo vic@virtual.test >> /etc/pymta/users")
    for user in ("ann", "vic@virtual.test"):
        host.run("pymta-passwd", "--stdin", user, input=PASSWORD + "\n")
    client(host, "send('vic@virtual.test', 'to a virtual user')")
    wait(lambda: json.loads(client(host, "print(json.dumps(subjects('vic@virtual.test')))")) == ["to a virtual user"], lambda: journal(host))
    count = len(mail_of(host, "ann"))
    assert len(json.loads(client(host, "print(json.dumps(subjects('ann')))"))) == count
    assert client(host, "print(drop('ann'), drop('vic@virtual.test'))").split() == [str(count), "1"]


def test_aliases_are_edited_while_it_runs(host):
    host.sh("echo 'team: ann, bob' >> /etc/pymta/aliases")
    wait(lambda: host.run("pymta-whatif", "team@localhost", check=False).returncode == 0, "the alias is not seen")
    time.sleep(1.1)                                     # a daemon that has just looked looks again after a second
    client(host, "send('team@localhost', 'to the team')")
    arrives(host, "ann", "to the team")
    arrives(host, "bob", "to the team")


def test_a_reload_takes_a_right_configuration_and_keeps_the_old_one_before_a_wrong_one(host):
    before = {name: pid_of(host, name) for name in DAEMONS}
    host.sh(f"echo 'local.domains = mail.example.org, other.test' >> /etc/pymta/pymta.conf; {RELOAD}")
    wait(lambda: "250" in client(host, "import smtplib\ns = smtplib.SMTP('localhost', 25); s.ehlo(); s.mail('a@b.test'); print(s.rcpt('ann@other.test'))"),
         lambda: journal(host))
    client(host, "send('ann@other.test', 'to the new domain')")
    arrives(host, "ann", "to the new domain")
    host.sh(f"echo 'queue.lifetime = soon' >> /etc/pymta/pymta.conf; {RELOAD}")
    wait(lambda: journal(host).count("until then the settings stay as they were") >= len(DAEMONS), lambda: journal(host))
    client(host, "send('ann@other.test', 'with a wrong line')")
    arrives(host, "ann", "with a wrong line")
    assert {name: pid_of(host, name) for name in DAEMONS} == before
    host.sh("sed -i '/soon/d' /etc/pymta/pymta.conf")


def test_another_mail_server_of_this_host_hands_over_by_lmtp(host):
    client(host, "smtp = smtplib.LMTP('/run/pymta/lmtp')\n"
                 "smtp.sendmail('someone@elsewhere.test', ['ann@localhost'], 'Subject: by LMTP\\r\\n\\r\\ntext\\r\\n')")
    arrives(host, "ann", "by LMTP")
    assert host.sh("stat -c '%G %a' /run/pymta/lmtp").split() == ["pymta-smtpd", "660"]


# ---- rights -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["begin", *DAEMONS])
def test_a_unit_is_confined(host, name):
    text = host.run("systemd-analyze", "security", "--no-pager", f"pymta-{name}.service", check=False).stdout
    exposure = float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text)[1])
    assert exposure <= (1.5 if name in ("qrun", "remote") else 3.0), text


def test_the_units_are_right_in_the_eyes_of_systemd(host):
    said = host.run("sh", "-c", "systemd-analyze verify --man=no /usr/local/lib/systemd/system/pymta*", check=False)
    assert said.returncode == 0 and "pymta" not in said.stderr, said.stderr


def test_a_home_that_the_units_do_not_know_is_told_and_opened_by_a_drop_in(host):
    host.sh("useradd -m -d /srv/carl carl")
    (told,) = [one for one in findings(host) if one["what"] == "/srv"]
    assert "/srv/carl" in told["why"] and "ReadWritePaths=/srv" in told["remedy"]
    host.sh("for name in local imapd pop3d; do mkdir -p /etc/systemd/system/pymta-$name.service.d; "
            "printf '[Service]\nReadWritePaths=/srv\n' > /etc/systemd/system/pymta-$name.service.d/srv.conf; done; "
            "systemctl daemon-reload; systemctl restart pymta-local pymta-imapd pymta-pop3d")
    assert not [one for one in findings(host) if one["what"] == "/srv"]
    client(host, "send('carl@localhost', 'to a home elsewhere')")
    arrives(host, "carl", "to a home elsewhere")
    host.sh("rm -r /etc/systemd/system/pymta-*.service.d; userdel -r carl 2>/dev/null; systemctl daemon-reload; "
            "systemctl restart pymta-local pymta-imapd pymta-pop3d")


def test_a_daemon_that_is_masked_is_missed_by_nobody(host):
    pop3 = "pymta-pop3d.service pymta-pop3.socket pymta-pop3s.socket"
    host.sh(f"systemctl mask --now {pop3}; systemctl restart pymta.target")
    client(host, "send('ann@localhost', 'without POP3')")
    arrives(host, "ann", "without POP3")
    assert host.run("systemctl", "is-active", "pymta-pop3.socket", "pymta-pop3d", check=False).stdout.split() == ["inactive", "inactive"]
    assert [one["grade"] for one in findings(host) if one["what"].startswith("pymta-pop3")] == ["note"]
    host.sh(f"systemctl unmask {pop3}; systemctl start pymta.target")


def test_pymta_ctl_says_that_systemd_runs_the_daemons(host):
    said = host.run("pymta-ctl", "status", check=False)
    assert said.returncode == 3 and "systemctl status 'pymta-*'" in said.stderr


def findings(host: Machine) -> list[dict[str, str]]:
    return json.loads(host.run("pymta-doctor", "--json", "--only", "places", "--only", "daemons", "--only", "listeners", check=False).stdout)["findings"]


# ---- trouble ----------------------------------------------------------------------------------------------------------
def test_what_is_killed_comes_back_and_nothing_is_lost(host):
    for name in DAEMONS:
        before = pid_of(host, name)
        client(host, f"send('ann@localhost', 'before {name}')")
        killed = time.monotonic()
        host.run("kill", "-9", str(before))
        wait(lambda: pid_of(host, name) not in (0, before) and host.run("systemctl", "is-active", f"pymta-{name}", check=False).stdout == "active\n",
             lambda: journal(host), seconds=15)
        back_s = time.monotonic() - killed
        client(host, f"send('ann@localhost', 'after {name}')")
        arrives(host, "ann", f"before {name}")
        arrives(host, "ann", f"after {name}")
        assert back_s < 15
    found = [subject for subject in mail_of(host, "ann") if subject.startswith(("before ", "after "))]
    assert len(found) == len(set(found)) == 2 * len(DAEMONS)


_LOAD = """
import itertools, smtplib, sys
for number in itertools.count():
    smtp = smtplib.SMTP("localhost", 25, timeout=20)
    for piece in range(20):
        mark = f"load-{sys.argv[1]}-{number}-{piece}"
        smtp.sendmail("someone@elsewhere.test", ["ann@localhost", "vic@virtual.test"] if piece % 3 == 0 else ["ann@localhost"],
                      f"Subject: {mark}\\r\\n\\r\\n{'x' * 3000}\\r\\n")
        print(mark, flush=True)
    smtp.quit()
"""


def test_the_power_goes_in_the_middle_of_a_load(host):
    said: list[str] = []

    def load(number: int) -> None:
        try:
            process = host.start("python3", "-c", _LOAD, str(number))
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line.strip())
            process.wait()
        except (OSError, subprocess.SubprocessError):
            pass

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait(lambda: len(said) > 100, lambda: journal(host))
    host.run("systemctl", "enable", "pymta.target")
    wait(lambda: len(said) > 300, lambda: journal(host))
    host.cut_power()
    for thread in threads:
        thread.join(30)
    promised = set(said)
    host.boot()
    wait(lambda: host.run("systemctl", "is-active", "pymta-qrun", check=False).stdout == "active\n", lambda: journal(host))
    found = wait(lambda: (lambda marks: marks if promised <= set(marks) else None)([m for m in mail_of(host, "ann") if m.startswith("load-")]),
                 lambda: f"lost: {sorted(promised - set(mail_of(host, 'ann')))[:5]}\n{journal(host)}", seconds=60)
    time.sleep(1)
    assert len(found) == len(set(found)), "delivered twice"
    virtual = host.sh("grep -rhs '^Subject: load-' /var/mail/pymta || true").replace("Subject: ", "").split()
    assert {mark for mark in promised if int(mark.rpartition("-")[2]) % 3 == 0} <= set(virtual) and len(virtual) == len(set(virtual))


def test_the_same_without_the_service_manager(host):
    host.run("systemctl", "stop", "pymta.target", *SOCKETS)
    assert host.run("pymta-ctl", "start").stdout.count("started, pid") == len(DAEMONS)
    client(host, "send('ann@localhost', 'without units')")
    arrives(host, "ann", "without units")
    assert " pymta-local[" in host.sh("journalctl --no-pager -t pymta-local -n 5 --facility=mail")
    assert json.loads(client(host, "print(json.dumps(len(subjects('ann'))))")) == len(mail_of(host, "ann"))
    assert host.run("pymta-ctl", "stop").stdout.count("stopped") == len(DAEMONS)
    host.run("systemctl", "start", "pymta.target")


# ---- later ------------------------------------------------------------------------------------------------------------
def test_an_upgrade_with_mail_in_the_queue(host):
    host.sh("echo 'far.test localhost:2599' >> /etc/pymta/transports")
    client(host, "send('ann@localhost', 'while it is stopped')")
    host.run("/usr/sbin/sendmail", "someone@far.test", input="Subject: waits\n\ntext\n", user="bob")
    wait(lambda: "far.test" in host.run("pymta-mailq").stdout, lambda: journal(host))
    host.run("systemctl", "stop", "pymta-qrun", "pymta-local")
    client(host, "send('ann@localhost', 'over the upgrade')")
    host.sh("cd /root/pymta && sed -i 's/^__version__ = .*/__version__ = \"99.0\"/' pymta/__init__.py && "
            f"{INSTALL} && systemctl restart pymta.target && systemctl try-restart 'pymta-*.service'", timeout=300)
    arrives(host, "ann", "over the upgrade")
    assert "far.test" in host.run("pymta-mailq").stdout
    assert "local.domains = mail.example.org, other.test" in host.sh("cat /etc/pymta/pymta.conf")
    assert host.run("systemctl", "is-active", "pymta-smtpd", check=False).stdout == "active\n", journal(host)
    client(host, "send('ann@localhost', 'after the upgrade')")
    arrives(host, "ann", "after the upgrade")


def test_an_older_version_refuses_the_spool_and_the_newer_one_finds_it_as_it_was(host):
    host.sh("systemctl stop pymta-qrun; echo 2 > /var/spool/pymta/state/format")
    host.run("systemctl", "start", "pymta-qrun", check=False)
    assert "install that version again" in host.run("journalctl", "--no-pager", "-n", "20", "-u", "pymta-qrun").stdout
    host.sh("echo 1 > /var/spool/pymta/state/format; systemctl restart pymta-qrun")
    client(host, "send('ann@localhost', 'with the right version')")
    arrives(host, "ann", "with the right version")


def test_no_stop_was_taken_for_trouble(host):
    assert "started again" not in host.sh("journalctl --no-pager -o cat | grep -v 'status=-9' || true")


def test_it_can_be_disabled_and_removed(host):
    host.run("systemctl", "disable", "--now", "pymta.target", *SOCKETS)
    assert host.sh("pgrep -af '[/]usr/local/sbin/pymta-' || true") == ""
    assert host.sh("ss -lnt 2>/dev/null | grep -E ':(25|143|993)\\b' || true") == ""
    mail = len(mail_of(host, "ann"))
    host.sh("cd /root/pymta && make -s uninstall && systemctl daemon-reload")
    left = host.sh("find /usr /etc -name '*pymta*' -not -path '/etc/pymta*' -not -path '/usr/share/*' -prune | sort").split()
    assert left == [], left
    assert not os.path.lexists(host.root / "usr/sbin/sendmail") and len(mail_of(host, "ann")) == mail
    assert host.sh("ls /etc/pymta/pymta.conf /var/spool/pymta/in").strip()
