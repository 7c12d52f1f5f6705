"""TLS of the real daemons: a certificate for each name, new ones under open sessions, the layout of certbot, the first start."""
from __future__ import annotations

import imaplib
import os
import poplib
import shutil
import signal
import smtplib
import ssl
import subprocess
import sys
import time

import pytest
import trustme

from pymta.login import hashes
from tests.alone import Alone
from tests.certificates import certbot, put, shown, trusting
from tests.running import new_directory, wait_until

CA = trustme.CA()
TLS_PORT = {"pymta-smtpd": "submissions", "pymta-imapd": "imaps", "pymta-pop3d": "pop3s"}
CLEAR_PORT = {"pymta-smtpd": ("smtp", (b"EHLO c.example\r\n", b"STARTTLS\r\n")), "pymta-imapd": ("imap", (b"a STARTTLS\r\n",)),
              "pymta-pop3d": ("pop3", (b"STLS\r\n",))}
PASSWORDS = {"users": "alice\n", "passwords": f"alice@example.test:{hashes.make(hashes.prepare('secret'))}\n"}


def leaf(issued: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


class Live:
    """A certbot directory that the daemon may read."""

    def __init__(self) -> None:
        self.top = new_directory()
        self.live = os.path.join(self.top, "live")
        os.mkdir(self.live)
        self.number = 0

    def put(self, name: str, issued: trustme.LeafCert) -> None:
        self.number += 1
        certbot(self.top, name, issued, self.number)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", self.top], check=True)        # the daemons of Alone are nobody

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.top)


def daemon(program: str, live: Live, **given: str) -> Alone:
    return Alone(program, (CLEAR_PORT[program][0], TLS_PORT[program]),
                 {"tls.certificates": live.live, **{key.replace("__", "."): value for key, value in given.items()}}, PASSWORDS)


@pytest.mark.parametrize("program", sorted(TLS_PORT))
def test_each_name_has_its_certificate_on_every_port(program: str) -> None:
    one, two = CA.issue_cert("mx.example.test"), CA.issue_cert("mail.shop.test", "*.shop.test")
    with Live() as live:
        live.put("mx.example.test", one)
        live.put("shop.test", two)
        with daemon(program, live) as running:
            name, starttls = CLEAR_PORT[program]
            for port, before in ((running.port[TLS_PORT[program]], ()), (running.port[name], starttls)):
                for asked, wanted in (("mx.example.test", one), ("mail.shop.test", two), ("imap.shop.test", two), ("other.test", one), (None, one)):
                    assert shown(port, asked, before) == leaf(wanted), asked
            if shutil.which("openssl"):
                said = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{running.port[TLS_PORT[program]]}", "-servername", "pop.shop.test"],
                                      input=b"", capture_output=True, timeout=30)
                assert ssl.DER_cert_to_PEM_cert(leaf(two)).strip().encode() in said.stdout.replace(b"\r", b"")
            assert not running.log("trouble") and not running.log("bug")


@pytest.mark.parametrize("program", sorted(TLS_PORT))
def test_a_new_certificate_comes_while_sessions_go_on(program: str) -> None:
    old, new = CA.issue_cert("mx.example.test"), CA.issue_cert("mx.example.test")
    with Live() as live:
        live.put("mx.example.test", old)
        with daemon(program, live) as running:
            port = running.port[TLS_PORT[program]]
            client: smtplib.SMTP | imaplib.IMAP4 | poplib.POP3
            match program:
                case "pymta-smtpd":
                    client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=named())
                    ask = client.noop
                case "pymta-imapd":
                    client = imaplib.IMAP4_SSL("127.0.0.1", port, timeout=20, ssl_context=named())
                    ask = client.noop
                case _:
                    client = poplib.POP3_SSL("127.0.0.1", port, timeout=20, context=named())
                    ask = client.capa
            ask()
            pids = running.children()
            live.put("mx.example.test", new)
            wait_until(lambda: shown(port, "mx.example.test") == leaf(new), 20, lambda: "\n".join(running.log()))
            wait_until(lambda: all(shown(port, "mx.example.test") == leaf(new) for _ in range(8)), 20)      # every worker
            ask()
            assert running.children() == pids and running.log("reload") and not running.log("trouble")
            client.quit() if not isinstance(client, imaplib.IMAP4) else client.logout()


def test_sighup_makes_all_workers_look_at_once() -> None:
    with Live() as live:
        live.put("mx.example.test", CA.issue_cert("mx.example.test"))
        with daemon("pymta-smtpd", live) as running:
            renewed = CA.issue_cert("mx.example.test")
            live.put("mx.example.test", renewed)
            assert not running.log("reload")            # nobody has connected, so nobody has looked
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: bool(running.log("reload")), 20, lambda: "\n".join(running.log()))
            wait_until(lambda: all(shown(running.port["submissions"], None) == leaf(renewed) for _ in range(8)), 20)


def named() -> ssl.SSLContext:
    context = trusting(CA)
    context.check_hostname = False                      # the clients connect to the address
    return context


def test_a_broken_certificate_changes_nothing_and_is_named_once() -> None:
    good, other = CA.issue_cert("mx.example.test"), CA.issue_cert("else.test")
    with Live() as live:
        live.put("mx.example.test", good)
        with daemon("pymta-smtpd", live) as running:
            port = running.port["submissions"]
            with open(os.path.join(live.live, "mx.example.test", "fullchain.pem"), "wb") as file:
                file.write(b"half a certifica")
            wait_until(lambda: shown(port, None) and running.log("trouble"), 20)
            for _ in range(4):
                assert shown(port, "mx.example.test") == leaf(good)
                time.sleep(0.4)
            assert 1 <= len(running.log("trouble")) <= 2 and "fullchain.pem" in running.log("trouble")[0]     # what is just written is read twice
            live.put("mx.example.test", other)
            wait_until(lambda: shown(port, None) == leaf(other), 20)


def test_the_workers_carry_nothing_that_makes_certificates() -> None:
    """A first start: the certificate is there, by a child that has gone; cryptography is in no process that stays."""
    with Alone("pymta-smtpd", ("smtp", "submissions"), {"tls.self_signed": "yes"}, PASSWORDS) as running:
        assert [line for line in running.log("config") if "self-signed certificate made for mx.example.test" in line]
        context = ssl.create_default_context(cafile=os.path.join(running.etc, "tls", "cert.pem"))
        with smtplib.SMTP("127.0.0.1", running.port["smtp"], timeout=20) as client:
            client._host = "mx.example.test"            # type: ignore[attr-defined]   # the name that is checked
            assert client.starttls(context=context)[0] == 220
        for pid in [running.process.pid, *running.children()]:
            with open(f"/proc/{pid}/maps") as file:
                assert "cryptography" not in file.read()


def test_daemons_that_start_together_make_one_certificate() -> None:
    with Alone("pymta-smtpd", ("smtp",), {"tls.self_signed": "yes"}) as first:
        made = [name for name in os.listdir(os.path.join(first.etc, "tls"))]
        assert sorted(made) == ["cert.pem", "key.pem"]
    folder = new_directory()
    script = ("import os, sys; from pymta import settings; from pymta.tls import files as tls_files\ngiven = settings.read(sys.argv[1]); input()\ntls_files.make_first(given)\n")
    with open(os.path.join(folder, "pymta.conf"), "w") as file:
        file.write(f"host.name = mx.example.test\nhost.spool = {folder}/spool\ntls.certificates =\n")

    running = [subprocess.Popen([sys.executable, "-c", script, folder], stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for one in running:
        assert one.stdin
        one.stdin.write(b"\n")
        one.stdin.flush()
    said = b"".join(one.communicate(timeout=30)[1] for one in running)
    assert said.count(b"self-signed certificate made") == 1 and b"bug" not in said, said
    shutil.rmtree(folder)


def test_a_certificate_put_in_by_hand_takes_the_place_of_the_self_signed_one() -> None:
    with Alone("pymta-smtpd", ("submissions",), {"tls.self_signed": "yes"}) as running:
        port = running.port["submissions"]
        before = shown(port, None)
        issued = CA.issue_cert("mx.example.test")
        put(os.path.join(running.etc, "tls", "bought"), issued)
        wait_until(lambda: shown(port, None) == leaf(issued), 20)
        assert before != leaf(issued)
