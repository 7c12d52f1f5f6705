"""listeners: whether each address that is configured answers, and with our greeting; TLS where there should be TLS.

It comes as a client from this host does, says little, and goodbye.  Used by pymta-setup too: whose is a port?
"""
from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pymta.tls import check as tls_check
from pymta.doctor import systemd
from pymta.doctor.finding import NOTE, WARNING, Case, Finding
from pymta.settings import Settings

SUBJECT = "listeners"
# listener: (setting, daemon, our greeting, TLS at once, what is asked, what says that there is TLS)
LISTENERS: dict[str, tuple[str, str, bytes, bool, bytes, bytes]] = {
    "smtp": ("smtp.listen", "pymta-smtpd", rb"220 (\S+) ESMTP\r\n", False, b"EHLO [127.0.0.1]\r\n", b"STARTTLS"),
    "submission": ("smtp.submission", "pymta-smtpd", rb"220 (\S+) ESMTP\r\n", False, b"EHLO [127.0.0.1]\r\n", b"STARTTLS"),
    "submissions": ("smtp.submissions", "pymta-smtpd", rb"220 (\S+) ESMTP\r\n", True, b"", b""),
    "lmtp": ("smtp.lmtp", "pymta-smtpd", rb"220 (\S+) LMTP\r\n", False, b"", b""),
    "imap": ("imap.listen", "pymta-imapd", rb"\* OK \[CAPABILITY [^]]*\] (\S+) IMAP ready\r\n", False, b"a CAPABILITY\r\n", b"STARTTLS"),
    "imaps": ("imap.listen_tls", "pymta-imapd", rb"\* OK \[CAPABILITY [^]]*\] (\S+) IMAP ready\r\n", True, b"", b""),
    "pop3": ("pop3.listen", "pymta-pop3d", rb"\+OK ()POP3 server ready\r\n", False, b"CAPA\r\n", b"STLS"),
    "pop3s": ("pop3.listen_tls", "pymta-pop3d", rb"\+OK ()POP3 server ready\r\n", True, b"", b""),
}
_GOODBYE = {"smtp": b"QUIT\r\n", "subm": b"QUIT\r\n", "lmtp": b"QUIT\r\n", "imap": b"z LOGOUT\r\n", "pop3": b"QUIT\r\n"}
_TIMEOUT_S = 10.0
_LINE_MAX_OCTETS = 8192
_AT_ONCE = 8
_EVERYWHERE = ("::", "0.0.0.0", "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one address said.  ours: whether the greeting is; name: the host name in it; why: what went wrong, with errno where there was
    no connection; greeting: its first line; has_tls: None where it was not asked; certificate: DER."""

    ours: bool = False
    name: str = ""
    why: str = ""
    errno: int = 0
    greeting: bytes = b""
    has_tls: bool | None = None
    certificate: bytes = b""


def look(case: Case) -> Iterator[Finding]:
    wanted = [(name, host, port) for name, (setting, *_) in LISTENERS.items() for host, port in case.settings[setting]]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda row: ask(case.settings, *row), wanted))
    certificates = tls_check.look(case.settings)
    for (name, host, port), answer in zip(wanted, answers):
        yield from judge(case, name, shown(host, port), answer, certificates)
    if case.systemd:
        yield from systemd.sockets(SUBJECT, {name: {port for _, port in case.settings[row[0]]} for name, row in LISTENERS.items() if name != "lmtp"})


def judge(case: Case, name: str, where: str, answer: Answer, certificates: list[tls_check.Certificate]) -> Iterator[Finding]:
    setting, daemon, *_ = LISTENERS[name]
    what = f"{where} ({setting})"
    start = f"start {daemon}" + (f": systemctl start pymta-{name}.socket" if case.systemd else "")
    if answer.errno in (errno.EACCES, errno.EPERM):
        yield Finding(SUBJECT, what, "this user may not connect to it", "run pymta-doctor as root", NOTE)
    elif answer.errno:
        yield Finding(SUBJECT, what, f"nobody answers: {answer.why}", start)
    elif not answer.ours and answer.greeting:
        yield Finding(SUBJECT, what, f"another program answers: {answer.greeting[:100].decode('utf-8', 'replace').strip()}",
                      f"stop that one (ss -ltnp names it), or change {setting}; then {start}")
    elif not answer.ours or answer.why:
        yield Finding(SUBJECT, what, answer.why or "it says nothing", f"see the log of {daemon}; restart it")
    if not answer.ours:
        return
    if answer.name and answer.name != case.settings.host:
        yield Finding(SUBJECT, what, f"it calls itself {answer.name}, the configuration says {case.settings.host}", f"reload {daemon}", WARNING)
    if answer.has_tls is False and any(one.pem for one in certificates):
        yield Finding(SUBJECT, what, "it offers no TLS though there is a certificate", f"see the log of {daemon}, which names what it cannot use")
    known = {ssl.PEM_cert_to_DER_cert(_first(one.pem)) for one in certificates if one.pem}
    if answer.certificate and known and answer.certificate not in known and not any(one.unseen for one in certificates):
        yield Finding(SUBJECT, what, "the certificate it shows is none of those on disk", f"see the log of {daemon}, which names what it cannot use", WARNING)


def _first(pem: bytes) -> str:
    end = b"-----END CERTIFICATE-----"
    return (pem[pem.index(b"-----BEGIN CERTIFICATE-----"):pem.index(end)] + end).decode("ascii", "replace")


def shown(host: str, port: int) -> str:
    return host if host.startswith("/") else f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---- one conversation -------------------------------------------------------------------------------------------------
def ask(settings: Settings, name: str, host: str, port: int) -> Answer:
    """What answers at an address, which may be the unspecified one."""
    _, daemon, greeting, tls_at_once, question, mark = LISTENERS[name]
    timeout_s = _TIMEOUT_S + (settings["smtp.greet_delay"] if name == "smtp" else 0.0)
    try:
        sock = _connect(host, port, timeout_s)
    except OSError as error:
        return Answer(why=error.strerror or str(error), errno=error.errno or errno.ETIMEDOUT)
    with sock:
        certificate = b""
        try:
            if _behind_proxy(settings, daemon, sock):
                sock.sendall(b"PROXY UNKNOWN\r\n")
            if tls_at_once:
                sock = _unchecked().wrap_socket(sock, server_hostname=settings.host)
                certificate = sock.getpeercert(True) or b""
            line = _line(sock)
        except (OSError, ValueError) as error:
            return Answer(why=f"{'TLS fails' if tls_at_once else 'it does not greet'}: {getattr(error, 'reason', None) or error}")
        found = re.fullmatch(greeting, line)
        if not found and not line.startswith(b"421 "):
            return Answer(greeting=line, why="" if line else "it closes the connection and says nothing")
        has_tls = None
        try:
            if question:
                sock.sendall(question)
                has_tls = mark in _reply(sock, name)
            sock.sendall(_GOODBYE[name[:4]])
        except OSError as error:
            return Answer(True, why=f"it greets, and then: {error}", greeting=line)
        return Answer(True, found[1].decode("ascii", "replace") if found else "", greeting=line, has_tls=has_tls, certificate=certificate)


def _connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Raises OSError of the last address tried."""
    if host.startswith("/"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        try:
            sock.connect(host)
        except BaseException:
            sock.close()
            raise
        return sock
    trouble: OSError | None = None
    for each in ("127.0.0.1", "::1") if host in _EVERYWHERE else (host,):
        try:
            return socket.create_connection((each, port), timeout_s)
        except OSError as error:
            trouble = trouble or error
    assert trouble is not None
    raise trouble


def _behind_proxy(settings: Settings, daemon: str, sock: socket.socket) -> bool:
    """Whether a connection from here must begin as one of a load balancer does (smtp.proxy_from)."""
    if daemon != "pymta-smtpd" or sock.family == socket.AF_UNIX:
        return False
    own = ipaddress.ip_address(sock.getsockname()[0])
    return any(own in network for network in settings["smtp.proxy_from"])


def _unchecked() -> ssl.SSLContext:
    """What is shown is compared with the files; certificates.py says who believes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _line(sock: socket.socket) -> bytes:
    """One line with its CR LF, or what came before the end."""
    data = b""
    while not data.endswith(b"\n") and len(data) < _LINE_MAX_OCTETS:
        piece = sock.recv(1)
        if not piece:
            break
        data += piece
    return data


def _reply(sock: socket.socket, name: str) -> bytes:
    """A reply of several lines."""
    last = {"imap": rb"a .*", "pop3": rb"\.\r\n|-ERR.*"}.get(name, rb"[0-9]{3} .*")
    out = b""
    for _ in range(100):
        line = _line(sock)
        out += line
        if not line or re.match(last, line):
            break
    return out


def owner_of(port: int) -> str:
    """The program that listens on a TCP port, where this user may know; else empty (proc(5), tcp)."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                for fields in map(str.split, file.readlines()[1:]):
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        inodes.add(f"socket:[{fields[9]}]")
        except (OSError, ValueError, IndexError):
            continue
    for pid in filter(str.isdecimal, os.listdir("/proc") if inodes else []):
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                        return f"{file.read().strip()}, pid {pid}"
        except OSError:
            continue
    return ""
