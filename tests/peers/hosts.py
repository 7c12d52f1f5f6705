"""Postfix and Exim in Debian root directories, each over an overlay that is gone afterwards.

Every peer takes mail for peer.test and its subdomains and puts all of it in one Maildir; nobody@ is refused there.  It relays for
loopback; mail for example.test it sends over TLS, checking our certificate, and mail for clear.test without.
"""
from __future__ import annotations

import glob
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass

import trustme

OURS = 2700                                             # the sandbox; the namespace is ours alone, so ports are constants
PORT, CLEAR, OLD = 25, 2525, 2626                       # with everything; without TLS; without any extension that can be left out
PORTS = {"peer.test": PORT, "clear.peer.test": CLEAR, "old.peer.test": OLD}
BOOKS = "bücher.test"                                   # also the peer's, at PORT
HOSTS = "127.0.0.1 localhost mail.peer.test mail.example.test\n"


@dataclass(frozen=True)
class Arrived:
    """sender: of the envelope; recipient: as the peer got it; data: the file, LF lines."""

    sender: str
    recipient: str
    data: bytes

    @property
    def header(self) -> bytes:
        return self.data.partition(b"\n\n")[0]


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Peer:
    """root: the Debian root directory; authority: file with the authority of our certificate."""

    name = ""
    return_path = recipient = b""                       # fields that the peer adds at delivery

    def __init__(self, root: str, authority: str) -> None:
        self.lower, self.authority = root, authority
        self.top = tempfile.mkdtemp(prefix="pymta-peer-")
        self.root = os.path.join(self.top, "root")
        self.process: subprocess.Popen | None = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        self._mount()
        self.write("/etc/hosts", HOSTS)
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")     # nobody is there
        self.write("/etc/mailname", "peer.test\n")
        issued = trustme.CA().issue_cert("mail.peer.test")
        pem = issued.private_key_pem.bytes() + b"".join(one.bytes() for one in issued.cert_chain_pems)
        with open(self.authority, encoding="ascii") as file:
            self.write("/etc/ours.pem", file.read())
        self.write("/etc/peer.pem", pem.decode())
        self.setup()
        alone = ["unshare", "--pid", "--fork"]          # with its first process all of it ends
        with open(f"{self.top}/stderr", "wb") as stderr:
            self.process = subprocess.Popen([*alone, "chroot", self.root, *self.command()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=stderr)
        end = time.monotonic() + 60
        for port in PORTS.values():
            while not listening(port):
                assert time.monotonic() < end and self.process.poll() is None, self.said()
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        if self.process and self.process.poll() is None:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
                for pid in file.read().split():         # --kill-child would not do: set-uid programs lose that signal
                    os.kill(int(pid), signal.SIGKILL)
            self.process.wait(20)
        end = time.monotonic() + 20
        while any(map(listening, PORTS.values())):
            assert time.monotonic() < end, f"{self.name} does not end"
            time.sleep(0.05)
        subprocess.run(["umount", "--lazy", "--recursive", self.root], check=True)
        subprocess.run(["umount", "--lazy", self.top], check=True)
        os.rmdir(self.top)

    def _mount(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.top], check=True)
        for name in ("root", "upper", "work"):
            os.mkdir(os.path.join(self.top, name), 0o755)
        layers = f"lowerdir={self.lower},upperdir={self.top}/upper,workdir={self.top}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", f"{self.root}/proc"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", f"{self.root}/dev"], check=True)
        os.makedirs(f"{self.root}/var/mail/box", exist_ok=True)
        os.chmod(f"{self.root}/var/mail/box", 0o777)

    # ---- what each does its own way -----------------------------------------------------------------------------------
    def setup(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    def log(self) -> str:
        raise NotImplementedError

    def version(self) -> str:
        raise NotImplementedError

    # ---- help ---------------------------------------------------------------------------------------------------------
    def run(self, *words: str) -> str:
        return subprocess.run(["chroot", self.root, *words], capture_output=True, text=True, check=True, timeout=60).stdout

    def write(self, path: str, text: str) -> None:
        path = self.root + path
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)

    def said(self) -> str:
        with open(f"{self.top}/stderr", errors="replace") as file:
            return file.read() + self.log()

    def inbox(self) -> list[Arrived]:
        out = []
        for path in sorted(glob.glob(f"{self.root}/var/mail/box/new/*")):
            with open(path, "rb") as file:
                data = file.read()
            header = data.partition(b"\n\n")[0]
            sender, recipient = (re.search(rb"^%s: <?(.*?)>?$" % name, header, re.M | re.I) for name in (self.return_path, self.recipient))
            assert sender and recipient, header
            out.append(Arrived(sender[1].decode(), recipient[1].decode(), data))
        return out


class Postfix(Peer):
    name, return_path, recipient = "postfix", b"Return-Path", b"X-Original-To"

    def setup(self) -> None:
        self.write("/etc/postfix/main.cf", f"""compatibility_level = 3.6
myhostname = mail.peer.test
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtputf8_enable = yes
alias_maps =
maillog_file = /var/log/postfix.log
message_size_limit = 50000000
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = {" ".join(PORTS)} {BOOKS} {BOOKS.encode("idna").decode()}
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
smtpd_recipient_restrictions = check_recipient_access regexp:/etc/postfix/refused, permit_mynetworks, reject
smtp_host_lookup = native
minimal_backoff_time = 2s
queue_run_delay = 2s
transport_maps = inline:{{ {{ example.test = smtp:[mail.example.test]:{OURS} }}, {{ clear.test = smtp:[localhost]:{OURS} }} }}
smtp_tls_CAfile = /etc/ours.pem
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtp_tls_policy_maps = inline:{{ {{ [mail.example.test]:{OURS} = secure match=mail.example.test }}, {{ [localhost]:{OURS} = none }} }}
smtpd_tls_chain_files = /etc/peer.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
""")
        self.write("/etc/postfix/refused", "/^nobody@/ 550 5.1.1 No such user\n")
        self.run("sh", "-c", "cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf; postconf -F '*/*/chroot = n'")
        with open(f"{self.root}/etc/postfix/master.cf", "a") as file:
            clear = "inet n - n - - smtpd\n  -o smtpd_tls_security_level=none\n"
            file.write(f"127.0.0.1:{CLEAR} {clear}127.0.0.1:{OLD} {clear}"
                       "  -o smtpd_discard_ehlo_keywords=8bitmime,dsn,smtputf8,chunking,pipelining,size,enhancedstatuscodes\n")
        self.run("sh", "-c", "mkdir -p /var/spool/postfix/pid; rm -f /var/spool/postfix/pid/*; postfix set-permissions || true")

    def command(self) -> list[str]:
        return ["/usr/sbin/postfix", "start-fg"]

    def log(self) -> str:
        try:
            with open(f"{self.root}/var/log/postfix.log", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def version(self) -> str:
        return f"Postfix {self.run('postconf', '-h', 'mail_version').strip()}"


class Exim(Peer):
    name, return_path, recipient = "exim", b"Return-path", b"Envelope-to"

    def setup(self) -> None:
        only, but = f"${{if eq{{$received_port}}{{{PORT}}}{{*}}{{}}}}", f"${{if eq{{$received_port}}{{{OLD}}}{{}}{{*}}}}"
        self.write("/etc/exim4/exim4.conf", f"""primary_hostname = mail.peer.test
domainlist local_domains = {" : ".join(PORTS)} : {BOOKS} : {BOOKS.encode("idna").decode()}
local_interfaces = 127.0.0.1
daemon_smtp_ports = {" : ".join(map(str, PORTS.values()))}
acl_smtp_rcpt = acl_rcpt
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 50M
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
tls_advertise_hosts = {only}
tls_certificate = /etc/peer.pem
dsn_advertise_hosts = {but}
smtputf8_advertise_hosts = {but}
chunking_advertise_hosts = {but}
pipelining_advertise_hosts = {but}
log_file_path = /var/log/exim4/%slog
begin acl
acl_rcpt:
  deny
    local_parts = nobody
    message = 550 5.1.1 No such user
  accept
begin routers
tls:
  driver = manualroute
  domains = example.test
  transport = tls
  route_list = * mail.example.test byname
  self = send
clear:
  driver = manualroute
  domains = clear.test
  transport = clear
  route_list = * localhost byname
  self = send
local:
  driver = accept
  domains = +local_domains
  transport = box
begin transports
tls:
  driver = smtp
  port = {OURS}
  allow_localhost
  hosts_require_tls = *
  tls_verify_certificates = /etc/ours.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames = *
clear:
  driver = smtp
  port = {OURS}
  allow_localhost
  hosts_avoid_tls = *
box:
  driver = appendfile
  maildir_format
  directory = /var/mail/box
  user = Debian-exim
  envelope_to_add
  return_path_add
begin retry
* * F,1h,2s
""")
        self.run("sh", "-c", "chgrp Debian-exim /etc/peer.pem; mkdir -p /run/exim4; chown Debian-exim /run/exim4")

    def command(self) -> list[str]:
        return ["/usr/sbin/exim4", "-bdf", "-q5s"]

    def log(self) -> str:
        text = ""
        for path in glob.glob(f"{self.root}/var/log/exim4/*log"):
            with open(path, errors="replace") as file:
                text += file.read()
        return text

    def version(self) -> str:
        return "Exim " + self.run("exim4", "-bV").split()[2]


PEERS = {peer.name: peer for peer in (Postfix, Exim)}
