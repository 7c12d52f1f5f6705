"""pymta-doctor on a real system: nothing to find; then faults put in one by one, each found, with its remedy."""
from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import trustme

from tests import certificates
from tests.nameserver import NameServer
from tests.running import ROOT, Sandboxes, wait_until

HOST, DOMAIN, ADDRESS = "mail.example.test", "example.test", "192.0.2.7"


def good_zone() -> dict:
    return {
        HOST: {"A": [ADDRESS], "TXT": ['"v=spf1 a -all"']},
        DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 mx -all"']},
        f"_dmarc.{DOMAIN}": {"TXT": ['"v=DMARC1; p=none"']},
        "7.2.0.192.in-addr.arpa": {"PTR": [f"{HOST}."]},
        "other.test": {"MX": ["10 mx.other.test."]}, "mx.other.test": {"A": ["127.0.0.1"]},
    }


@pytest.fixture(scope="module")
def system():
    with Sandboxes() as boxes, NameServer(good_zone()) as server:
        box = boxes.start(set=["dns.server=%s:%d" % server.address, f"host.addresses={ADDRESS}", "dns.timeout=2s", "queue.retry=1s,1h"])
        for name, port in (("_imaps", box.ends["imaps"]), ("_pop3s", box.ends["pop3s"]), ("_submissions", box.ends["submissions"]),
                           ("_submission", box.ends["submission"])):
            server.zone[f"{name}._tcp.{DOMAIN}"] = {"SRV": [f"0 1 {port} {HOST}."]}
        box.server = server
        yield box


def doctor(box, *arguments, etc=None, environment=None, user=None):
    """(exit status, findings)"""
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-doctor"), "--etc", etc or box.ends["etc"], "--json", *arguments],
                          env={**os.environ, "SSL_CERT_FILE": box.ends["ca_file"], **(environment or {})}, capture_output=True, text=True, timeout=120)
    assert not done.stderr, done.stderr
    told = json.loads(done.stdout)
    return done.returncode, told["findings"]


def worse(found):
    return [one for one in found if one["grade"] != "note"]


def finds(box, subject, what, text, grade, *arguments, **options):
    """What is found of one subject is this alone, with a remedy."""
    status, found = doctor(box, "--only", subject, *arguments, **options)
    (one,) = worse(found) if grade != "note" else [one for one in found if text in one["why"]]
    assert one["subject"] == subject and what in one["what"] and text in one["why"] and one["remedy"] and one["grade"] == grade, found
    assert status == {"fault": 69, "warning": 1, "note": 0}[grade]


# ---- all is well ------------------------------------------------------------------------------------------------------
def test_of_a_system_that_is_well_there_is_nothing_to_say(system):
    status, found = doctor(system)
    assert worse(found) == [] and status == 0
    (certificate,) = [one for one in found if one["subject"] == "certificates"]
    assert "for localhost, mail.example.test; ends in 397 days; 2 certificates" in certificate["why"]
    assert not [kind for name, kind in system.server.asked if "other.test" in name]     # nobody was called


def test_for_people_and_in_few_words(system):
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-doctor"), "--etc", system.ends["etc"], "--quiet"],
                          env={**os.environ, "SSL_CERT_FILE": system.ends["ca_file"]}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.startswith("no faults, no warnings, ") and done.stdout.count("\n") == 1


def test_what_it_does_is_to_look(system):
    def facts():
        return {os.path.join(top, name): os.lstat(os.path.join(top, name)).st_mtime_ns for part in ("etc", "spool", "home")
                for top, folders, files in os.walk(os.path.join(system.directory, part)) for name in folders + files}
    before = facts()
    doctor(system)
    assert facts() == before


def test_wrong_options_and_no_file(system, tmp_path):
    program = [sys.executable, os.path.join(ROOT, "bin", "pymta-doctor")]
    assert subprocess.run([*program, "--only", "nonsense"], capture_output=True).returncode == 2
    (tmp_path / "pymta.conf").mkdir()
    assert subprocess.run([*program, "--etc", str(tmp_path)], capture_output=True).returncode == 66


# ---- configuration, host, places --------------------------------------------------------------------------------------
@pytest.fixture
def conf(system):
    """conf(text) appends to pymta.conf until the end of the test."""
    path = os.path.join(system.ends["etc"], "pymta.conf")
    with open(path) as file:
        before = file.read()

    def append(text):
        with open(path, "a") as file:
            file.write(text)
    yield append
    with open(path, "w") as file:
        file.write(before)


def test_a_wrong_setting(system, conf):
    conf("queue.lifetime = soon\n")
    finds(system, "configuration", "pymta.conf:", "not a duration", "fault")


def test_a_name_nobody_knows(system, conf):
    conf("host.name = mail.example.local\n")
    finds(system, "host", "host.name", "nobody outside knows", "warning")
    status, found = doctor(system, "--only", "listeners")
    assert all("it calls itself mail.example.test" in one["why"] and "reload" in one["remedy"] for one in worse(found)) and len(worse(found)) >= 5
    assert status == 1


@pytest.mark.parametrize("path, mode, text", [("hold", 0o777, "lets others in"), ("in/inject/new", 0o2770, "some program cannot"), ("in/smtpd/tmp/7", 0o700, "cannot"),
                                              ("../etc/aliases", 0o666, "lets others in"), ("../etc/passwords", 0o644, "lets others in")])
def test_rights(system, path, mode, text):
    path = os.path.normpath(os.path.join(system.ends["spool"], path))
    before = os.stat(path).st_mode & 0o7777
    os.chmod(path, mode)
    try:
        finds(system, "places", os.path.basename(path), text, "fault")
    finally:
        os.chmod(path, before)


def test_a_place_that_is_missing_or_no_directory(system):
    path = os.path.join(system.ends["spool"], "publishing")
    os.rename(path, path + ".away")
    try:
        finds(system, "places", path, "it is missing", "fault")
        open(path, "w").close()
        finds(system, "places", path, "it is no directory", "fault")
        os.unlink(path)
    finally:
        os.rename(path + ".away", path)


def test_a_mailbox_that_everybody_may_read_or_write(system):
    box = system.user("alice")["maildir"]
    try:
        os.chmod(box, 0o755)
        finds(system, "places", box, "may look into it", "warning")
        os.chmod(box, 0o777)
        finds(system, "places", box, "may write it", "fault")
    finally:
        os.chmod(box, 0o700)


def test_where_virtual_users_live(system):
    home = os.path.dirname(os.path.dirname(system.user("alice")["maildir"]))
    before = os.stat(home)
    try:
        os.chmod(home, 0o777)
        finds(system, "places", home, "everybody may write it", "fault")
        os.chmod(home, 0o755)
        if os.geteuid() == 0:
            os.chown(home, 1, -1)
            finds(system, "places", home, "it belongs to daemon, but mailboxes in it to", "fault")
            os.chown(home, before.st_uid, -1)
        os.rename(home, home + ".away")
        assert doctor(system, "--only", "places")[0] == 0
        open(home, "w").close()
        finds(system, "places", home, "virtual users get no mail", "fault")
    finally:
        if os.path.isdir(home + ".away"):
            os.unlink(home)
            os.rename(home + ".away", home)
        os.chown(home, before.st_uid, -1)
        os.chmod(home, before.st_mode & 0o7777)


def test_a_mailbox_that_is_none(system):
    box = system.user("bob")["maildir"]
    os.rename(box, box + ".away")
    try:
        open(box, "w").close()
        finds(system, "places", box, "is no directory", "fault")
        os.unlink(box)
        assert doctor(system, "--only", "places")[0] == 0, "it is made at the first delivery"
    finally:
        os.rename(box + ".away", box)


def test_a_spool_of_a_newer_pymta(system, still):
    etc, spool = still
    with open(os.path.join(spool, "state/format"), "w") as file:
        file.write("99\n")
    assert any(one["what"] == spool and "that of a newer pymta" in one["why"] and one["grade"] == "fault" for one in doctor(system, "--only", "places", etc=etc)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_owners(system):
    spool, box = system.ends["spool"], system.user("bob")["maildir"]
    owner = os.stat(spool).st_uid
    for path, text in ((os.path.join(spool, "hold"), "it belongs to daemon"), (box, "so no mail gets in")):
        os.chown(path, 1, -1)
        try:
            finds(system, "places", path, text, "fault")
        finally:
            os.chown(path, owner, -1)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_another_user_is_told_what_he_may_not_see(system):
    done = subprocess.run(["setpriv", "--reuid=1", "--regid=1", "--clear-groups", sys.executable, os.path.join(ROOT, "bin", "pymta-doctor"),
                           "--etc", system.ends["etc"], "--json"],
                          env={**os.environ, "SSL_CERT_FILE": system.ends["ca_file"]}, capture_output=True, text=True, timeout=120)
    if "Permission" in done.stderr:
        pytest.skip("another user cannot read the program here")
    found = json.loads(done.stdout)["findings"]
    assert done.returncode == 0 and worse(found) == [], found
    assert {"configuration", "places", "certificates", "queue"} <= {one["subject"] for one in found if "as root" in one["remedy"] or "as root" in one["why"]
                                                                     or "run this as root" in one["remedy"]}


# ---- disk -------------------------------------------------------------------------------------------------------------
def test_a_disk_too_small(system, conf):
    conf("queue.free_min = 900000G\n")
    finds(system, "disk", system.ends["spool"], "less than queue.free_min", "fault")


def test_a_spool_in_memory(system, conf):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm")
    conf("local.virtual_home = /dev/shm/mail\n")
    status, found = doctor(system, "--only", "disk")
    assert any("/dev/shm (tmpfs) is in memory" in one["why"] for one in worse(found)) and status == 69


# ---- daemons and listeners --------------------------------------------------------------------------------------------
def stand_still(box):
    """A system like this one whose programs do not run: (its ETC, its spool)."""
    etc, spool = os.path.join(box.directory, "still", "etc"), os.path.join(box.directory, "still", "spool")
    shutil.copytree(box.ends["etc"], etc, symlinks=True)
    with open(os.path.join(etc, "pymta.conf"), "a") as file:
        file.write(f"host.spool = {spool}\nhost.run = {box.directory}/still/run\n")
    for name in ("qrun", "local", "remote"):
        os.makedirs(os.path.join(spool, "state", name))
        with open(os.path.join(spool, "state", name, "lock"), "w") as file:
            file.write(f"{os.getpid()}\n")              # a number that has come again
    os.makedirs(f"{box.directory}/still/run")
    return etc, spool


@pytest.fixture
def still(system):
    yield stand_still(system)
    shutil.rmtree(os.path.join(system.directory, "still"))


def test_daemons_that_do_not_run(system, still):
    etc, spool = still
    status, found = doctor(system, "--only", "daemons", etc=etc)
    assert [one["what"] for one in worse(found)] == ["pymta-qrun", "pymta-local", "pymta-remote"] and status == 69
    os.unlink(os.path.join(spool, "state/qrun/lock"))
    assert "never has" in doctor(system, "--only", "daemons", etc=etc)[1][0]["why"]


def test_a_daemon_in_the_background_that_has_died(system, still):
    etc, spool = still
    with open(os.path.join(system.directory, "still/run/pymta-smtpd.pid"), "w") as file:
        file.write("999999999\n")
    assert any(one["what"].endswith("pymta-smtpd.pid") and "pymta-ctl start smtpd" in one["remedy"] for one in doctor(system, "--only", "daemons", etc=etc)[1])


class Stranger:
    """Another program on a port: says what it is told to."""

    def __init__(self, greeting: bytes) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.greeting = greeting
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self.greeting)
                connection.settimeout(0.2)
                try:
                    connection.recv(100)
                except OSError:
                    pass


@pytest.fixture
def stranger():
    made = []

    def make(greeting):
        made.append(Stranger(greeting))
        return made[-1]
    yield make
    for one in made:
        one.listening.shutdown(socket.SHUT_RDWR)
        one.listening.close()


@pytest.mark.parametrize("setting, greeting, text, grade", [
    ("smtp.listen", b"220 mail.example.test ESMTP Postfix\r\n", "another program answers: 220 mail.example.test ESMTP Postfix", "fault"),
    ("imap.listen", b"* OK Dovecot ready.\r\n", "another program answers: * OK Dovecot", "fault"),
    ("pop3.listen", b"\x1b[2J\xff\r\n", "another program answers", "fault"),
    ("pop3.listen", b"", "says nothing", "fault"),
    ("imap.listen_tls", b"* OK in the clear\r\n", "TLS fails", "fault"),
    ("smtp.submission", b"220 mail.example.test ESMTP\r\n250 mail.example.test\r\n", "offers no TLS though there is a certificate", "fault"),
])
def test_what_answers_is_not_ours(system, conf, stranger, setting, greeting, text, grade):
    conf(f"{setting} = 127.0.0.1:{stranger(greeting).port}\n")
    finds(system, "listeners", setting, text, grade)


def test_nobody_answers(system, conf):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf(f"imap.listen = 127.0.0.1:{port}\n")
    finds(system, "listeners", f"127.0.0.1:{port} (imap.listen)", "nobody answers: Connection refused", "fault")
    conf(f"smtp.lmtp = {system.directory}/no-socket\n")
    assert any("no-socket (smtp.lmtp)" in one["what"] and "No such file" in one["why"] for one in doctor(system, "--only", "listeners")[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_socket_that_this_user_may_not_connect_to(system, conf):
    path = os.path.join(system.directory, "closed")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        os.chmod(path, 0o600)
        listening.listen()
        conf(f"smtp.lmtp = {path}\n")
        done = subprocess.run(["setpriv", "--reuid=1", "--regid=1", "--clear-groups", sys.executable, os.path.join(ROOT, "bin", "pymta-doctor"),
                               "--etc", system.ends["etc"], "--only", "listeners", "--json"], capture_output=True, text=True, timeout=120)
        if "Permission" in done.stderr:
            pytest.skip("another user cannot read the program here")
        (one,) = json.loads(done.stdout)["findings"]
        assert done.returncode == 0 and path in one["what"] and "may not connect" in one["why"] and "as root" in one["remedy"]


def test_behind_a_load_balancer():
    with Sandboxes() as boxes:
        box = boxes.start()
        with open(os.path.join(box.ends["etc"], "pymta.conf"), "a") as file:
            file.write("smtp.proxy_from = 127.0.0.0/8\n")
        os.kill(box.ends["pids"]["pymta-smtpd"][0], signal.SIGHUP)

        def wants_a_header():
            with socket.create_connection(("127.0.0.1", box.ends["smtp"]), 10) as client:
                client.settimeout(0.5)
                try:
                    return not client.recv(100)
                except TimeoutError:
                    return True
        wait_until(wants_a_header)
        assert doctor(box, "--only", "listeners") == (0, [])


# ---- certificates -----------------------------------------------------------------------------------------------------
def test_certificates(system, conf):
    authority = trustme.CA()
    os.chmod(system.directory, 0o755)
    tls = os.path.join(system.directory, "othertls")
    certificates.put(f"{tls}/one", authority.issue_cert(HOST))
    conf(f"tls.certificates = {tls}\n")
    os.chmod(f"{tls}/one/key.pem", 0o644)
    assert any(one["what"] == f"{tls}/one/key.pem" and "everybody on this host may read" in one["why"] for one in doctor(system, "--only", "certificates")[1])
    os.chmod(f"{tls}/one/key.pem", 0o600)
    with open(os.path.join(system.directory, "ca.pem"), "wb") as file:
        file.write(authority.cert_pem.bytes())
    status, found = doctor(system, "--only", "certificates")
    (one,) = worse(found)
    assert one["what"] == f"{tls}/one/cert.pem" and "refuses it: unable to get local issuer certificate" in one["why"] and one["grade"] == "warning"
    with open(f"{tls}/one/key.pem", "wb") as file:
        file.write(authority.issue_cert(HOST).private_key_pem.bytes())
    finds(system, "certificates", f"{tls}/one/cert.pem", "another certificate", "fault")


def test_no_certificate_at_all(system, still):
    etc, spool = still
    shutil.rmtree(os.path.join(etc, "tls"))
    finds(system, "certificates", f"{etc}/tls", "there is no certificate", "fault", etc=etc)


def test_a_listener_shows_what_is_not_on_disk(system, still):
    etc, spool = still
    certificates.put(f"{etc}/tls", trustme.CA().issue_cert(HOST))
    os.chmod(f"{etc}/tls/key.pem", 0o600)
    status, found = doctor(system, "--only", "listeners", etc=etc)
    assert {one["why"] for one in worse(found)} == {"the certificate it shows is none of those on disk"} and status == 1


# ---- the DNS ----------------------------------------------------------------------------------------------------------
@pytest.fixture
def zone(system):
    before = dict(system.server.zone)
    yield system.server.zone
    system.server.zone.clear()
    system.server.zone.update(before)


ROWS = [                                                        # what stands in the zone, what it is about, part of the text, grade
    ({HOST: {}}, HOST, "has no address for it", "fault"),
    ({HOST: {"A": ["198.51.100.9"], "TXT": ['"v=spf1 a -all"']}}, HOST, "198.51.100.9, which is no address of this host", "warning"),
    ({DOMAIN: {"TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}}, DOMAIN, "it has no MX, so no mail", "fault"),
    ({DOMAIN: {"A": [ADDRESS], "TXT": ['"v=spf1 a -all"']}}, DOMAIN, "by its address alone", "warning"),
    ({DOMAIN: {"A": ["198.51.100.9"], "TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}}, DOMAIN, "its address, 198.51.100.9, is another host's", "fault"),
    ({DOMAIN: {"MX": ["0 ."], "TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}}, DOMAIN, "it takes no mail (RFC 7505)", "fault"),
    ({DOMAIN: {"MX": ["10 mx.other.test."], "TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}}, DOMAIN, "its MX is mx.other.test, so its mail goes there", "fault"),
    ({DOMAIN: {"MX": [f"10 {HOST}.", "20 none.test."], "TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}}, DOMAIN, "its MX none.test has no address", "warning"),
    ({DOMAIN: {"MX": ["10 mx.example.test."], "TXT": ['"v=spf1 ip4:192.0.2.7 -all"']}, "mx.example.test": {"CNAME": [f"{HOST}."]}}, DOMAIN, "is an alias (CNAME)", "warning"),
    ({DOMAIN: {"MX": [f"10 {HOST}."]}}, DOMAIN, "it has no SPF record", "warning"),
    ({DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 ip4:198.51.100.0/24 -all"']}}, DOMAIN, "its SPF record forbids mail from 192.0.2.7", "fault"),
    ({DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 ~all"']}}, DOMAIN, "its SPF record disapproves of", "warning"),
    ({DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 a ?all"']}}, DOMAIN, "its SPF record says nothing of", "warning"),
    ({DOMAIN: {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 mx -all"', '"v=spf1 -all"']}}, DOMAIN, "nobody can use its SPF record", "fault"),
    ({HOST: {"A": [ADDRESS], "TXT": ['"v=spf1 -all"']}}, HOST, "its SPF record forbids", "fault"),
    ({f"_dmarc.{DOMAIN}": {}}, DOMAIN, "it has no DMARC record", "warning"),
    ({f"_dmarc.{DOMAIN}": {"TXT": ['"v=DMARC1; p=none"', '"v=DMARC1; p=reject"']}}, DOMAIN, "several DMARC records", "warning"),
    ({f"_dmarc.{DOMAIN}": {"TXT": ['"v=DMARC1; rua=mailto:x@y.test"']}}, DOMAIN, "no policy (p=)", "warning"),
    ({"7.2.0.192.in-addr.arpa": {}}, ADDRESS, "the DNS has no name for it (PTR)", "warning"),
    ({"7.2.0.192.in-addr.arpa": {"PTR": ["dsl.provider.test."]}}, ADDRESS, "dsl.provider.test, which does not lead back", "warning"),
    ({f"_imaps._tcp.{DOMAIN}": {"SRV": ["0 1 993 imap.old.test."]}}, DOMAIN, "leads mail programs to imap.old.test:993, not to mail.example.test", "warning"),
    ({HOST: {"A": "SERVFAIL", "AAAA": "SERVFAIL", "TXT": "SERVFAIL"}}, "the name server", "SERVFAIL", "warning"),
]


@pytest.mark.parametrize("records, what, text, grade", ROWS)
def test_what_is_published(system, zone, records, what, text, grade):
    zone.update(records)
    status, found = doctor(system, "--only", "dns")
    hit = [one for one in worse(found) if one["what"] == what and text in one["why"]]
    assert len(hit) >= 1 and hit[0]["grade"] == grade and hit[0]["remedy"], found
    assert len(worse(found)) == 1 or "SERVFAIL" in text or what == HOST, found


def test_notes_on_the_dns(system, zone):
    zone["7.2.0.192.in-addr.arpa"] = {"PTR": ["host7.provider.test."]}
    zone["host7.provider.test"] = {"A": [ADDRESS]}
    finds(system, "dns", ADDRESS, "its name (PTR) is host7.provider.test", "note")
    zone[HOST] = {"A": [ADDRESS]}
    finds(system, "dns", HOST, "it has no SPF record, by which others know its EHLO", "note")
    del zone[f"_imaps._tcp.{DOMAIN}"]
    finds(system, "dns", DOMAIN, "there is no _imaps", "note")


def test_spf_that_cannot_be_judged_here(system, conf, zone):
    zone[DOMAIN] = {"MX": [f"10 {HOST}."], "TXT": ['"v=spf1 exists:%{i}.example.test -all"']}
    finds(system, "dns", DOMAIN, "cannot be told before a mail is sent", "note")
    conf("remote.smarthost = 127.0.0.1:9\n")
    finds(system, "dns", DOMAIN, "mail leaves by remote.smarthost", "note")


def test_a_host_without_a_domain(system, conf):
    conf("host.name = mail\n")
    finds(system, "dns", "mail", "it has no domain", "warning")


def test_a_backup_mx_that_is_none(system, conf, zone):
    conf("local.relay_domains = branch.test\n")
    zone["branch.test"] = {"MX": ["10 mx.other.test."]}
    finds(system, "dns", "branch.test", f"{HOST} is no MX of it", "warning")
    zone["branch.test"] = {"MX": ["10 mx.other.test.", f"20 {HOST}."]}
    assert doctor(system, "--only", "dns")[0] == 0


def test_a_name_server_that_is_silent(system, conf):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        conf(f"dns.server = 127.0.0.1:{deaf.getsockname()[1]}\ndns.timeout = 300ms\n")
        finds(system, "dns", "the name server", "it answers nothing", "fault")
    conf("dns.server = ns.example.test:53\n")
    finds(system, "dns", "dns.server", "ns.example.test is no IP address", "fault")
    finds(system, "outside", "dns.server", "ns.example.test is no IP address", "fault", "--outside", "other.test")


# ---- outside, when asked ----------------------------------------------------------------------------------------------
def test_outside(system, conf, stranger):
    conf(f"remote.port = {stranger(b'220 mx.other.test ESMTP' + bytes([13, 10])).port}\n")
    status, (one,) = doctor(system, "--only", "outside")
    assert status == 0 and "nobody outside this host was called" in one["why"]
    status, found = doctor(system, "--only", "outside", "--outside", "other.test")
    assert status == 0 and "it answers: 220 mx.other.test ESMTP" in found[0]["why"]
    conf(f"remote.port = {stranger(b'554 no' + bytes([13, 10])).port}\n")
    finds(system, "outside", "mx.other.test [127.0.0.1]", "it does not want to hear us: 554 no", "warning", "--outside", "other.test")
    conf(f"remote.port = {stranger(b'').port}\n")
    finds(system, "outside", "port ", "it closes the connection", "fault", "--outside", "other.test")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    conf(f"remote.port = {port}\n")
    finds(system, "outside", f"port {port}", "mx.other.test [127.0.0.1]", "fault", "--outside", "other.test")
    finds(system, "outside", "nowhere.test", "cannot be found", "fault", "--outside", "nowhere.test")
    conf(f"remote.smarthost = 127.0.0.1:{stranger(b'220 smart' + bytes([13, 10])).port}\n")
    assert "it answers: 220 smart" in doctor(system, "--only", "outside", "--outside")[1][0]["why"]


# ---- the queue --------------------------------------------------------------------------------------------------------
def put(spool, path, *, age_s=0.0):
    """A file in the queue that came age_s ago by its name."""
    place, _, name = path.rpartition("/")
    os.makedirs(os.path.join(spool, place), exist_ok=True)
    digits, number, out = "0123456789abcdefghijklmnopqrstuv", int((time.time() - age_s) * 1e6), ""
    for _ in range(11):
        number, digit = divmod(number, 32)
        out = digits[digit] + out
    full = os.path.join(spool, place, f"{out}aaaa{name}")
    open(full, "w").close()
    return full


def test_the_queue(system, still):
    etc, spool = still
    for place in ("in/smtpd/new", "in/inject/new", "in/qrun/new", "split", "todo/local", "todo/remote", "later", "parked", "hold", "corrupt", "in/smtpd/tmp/0"):
        os.makedirs(os.path.join(spool, place))
    assert doctor(system, "--only", "queue", etc=etc) == (0, [])
    held = put(spool, "hold/", age_s=3 * 86400)
    finds(system, "queue", "hold", "1 message waits for the admin", "warning", etc=etc)
    os.unlink(held)
    bad = put(spool, "corrupt/")
    finds(system, "queue", "corrupt", "1 message is damaged", "warning", etc=etc)
    os.unlink(bad)
    late = put(spool, "later/20200101T000000/")
    finds(system, "queue", "later", "should have been tried", "fault", etc=etc)
    os.unlink(late)
    for number in range(7):
        put(spool, f"parked/d{number}.test/.remote")
    status, found = doctor(system, "--only", "queue", etc=etc)
    assert len(worse(found)) == 6 and "7 destinations" in worse(found)[-1]["why"] and worse(found)[0]["what"].startswith("parked/d")
    shutil.rmtree(os.path.join(spool, "parked"))
    os.mkdir(os.path.join(spool, "parked"))
    future = put(spool, "todo/local/", age_s=-86400)
    finds(system, "queue", "ids", "from the future", "warning", etc=etc)
    os.unlink(future)
    old = put(spool, "todo/remote/", age_s=40 * 86400)
    finds(system, "queue", "all", "is 40 days old", "warning", etc=etc)
    os.unlink(old)


def test_what_stands_still(system, still):
    """ctime cannot be set, so the clock of the doctor is."""
    from pymta import settings
    from pymta.doctor import queue
    from pymta.doctor.finding import Case
    etc, spool = still
    for place in ("in/smtpd/new", "in/inject/new/d", "in/qrun/new", "split", "todo/local", "todo/remote", "later", "parked", "hold", "corrupt", "in/smtpd/tmp/0"):
        os.makedirs(os.path.join(spool, place))
    put(spool, "todo/local/")
    put(spool, "in/smtpd/tmp/0/")
    soon = {(one.what, one.grade) for one in queue.look(Case(settings.read(etc), time.time() + 60))}
    assert soon == {("all", "note")}
    later = {one.what: one for one in queue.look(Case(settings.read(etc), time.time() + 3 * 86400))}
    assert later["todo/local"].grade == "fault" and "pymta-local" in later["todo/local"].remedy
    assert "removed by hand" in later["in/inject"].remedy
    assert later["in/smtpd/tmp"].grade == "warning" and "1 file has" in later["in/smtpd/tmp"].why
