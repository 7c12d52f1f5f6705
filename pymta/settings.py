"""settings: every setting of pymta, once.                                                 pymta.conf(5)

pymta.conf(5), the commented example file, `pymta-config show` and `pymta-config check` are made from SETTINGS.  A program
reads them once, at its start, into a frozen Settings and hands on only what a function needs.
"""
from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Callable, Iterable, Mapping

from pymta import hostname
from pymta.formats import conf
from pymta.formats.users import is_shown

DEFAULT_ETC = "/etc/pymta"


# ---- kinds of value: text -> value, or ValueError with the remedy -----------------------------------------------------
def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    try:
        return {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}[value.lower()]
    except KeyError:
        raise ValueError("neither yes nor no; write yes or no") from None


def choice(*options: str) -> Callable[[str], str]:
    """One of a few words."""
    def one_of(value: str) -> str:
        if value not in options:
            raise ValueError(f"not one of {', '.join(options)}; write one of them")
        return value
    return one_of


def count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise ValueError("not a number; write 0, 20, 1000")
    return int(value)


def positive(value: str) -> int:
    if (number := count(value)) == 0:
        raise ValueError("0 would stop everything; write 1 or more")
    return number


def delimiters(value: str) -> str:
    """Characters that may part a name from its extension."""
    if not set(value) <= set("!#$%&'*=?^_`{|}~.+-"):
        raise ValueError("holds a letter, a digit, a blank or @; write -+")
    return value


def bits(most: int) -> Callable[[str], int]:
    """The length of a network's prefix."""
    def prefix(value: str) -> int:
        if (number := count(value)) > most:
            raise ValueError(f"more than {most}; write {most} or less")
        return number
    return prefix


_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_OCTETS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def _measure(value: str, units: Mapping[str, float], remedy: str) -> float:
    digits = value[:40].rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    try:
        if not digits.replace(".", "", 1).isdecimal() or not digits.isascii():
            raise KeyError
        return float(digits) * units[value[len(digits):]]
    except (KeyError, ValueError):
        raise ValueError(remedy) from None


def rates(value: str) -> tuple[tuple[int, float], ...]:
    """How many within how many seconds."""
    out = []
    for item in words(value):
        number, slash, unit = item.partition("/")
        if not slash or unit not in ("m", "h", "d"):
            raise ValueError("not a rate; write 500/h 5000/d")
        out.append((positive(number), float(_SECONDS[unit])))
    return tuple(out)


def port(value: str) -> int:
    if not 0 < (number := count(value)) < 65536:
        raise ValueError("not a port; write 25")
    return number


def duration(value: str) -> float:
    """Seconds."""
    return _measure(value, _SECONDS, "not a duration; write 90s, 30m, 5d")


def size(value: str) -> int:
    """Octets."""
    return int(_measure(value, _OCTETS, "not a size; write 65536, 512K, 50M"))


def durations(value: str) -> tuple[float, ...]:
    return tuple(duration(item) for item in words(value))


def words(value: str) -> tuple[str, ...]:
    """Items separated by blanks or commas."""
    return tuple(value.replace(",", " ").split())


def domains(value: str) -> tuple[str, ...]:
    """Names of domains, those with letters beyond ASCII as A-labels."""
    return tuple(_ascii_domain(item.lower().rstrip(".")) for item in words(value))


def _ascii_domain(name: str) -> str:
    if name.isascii():
        return name
    from pymta.message import address                   # hardly ever needed, and pymta-inject has no time
    return address.ascii_domain(name)


def networks(value: str) -> tuple[Any, ...]:
    try:
        return tuple(ipaddress.ip_network(item, strict=False) for item in words(value))
    except ValueError:
        raise ValueError("not a network; write 192.0.2.0/24 or 2001:db8::/32") from None


def addresses(value: str) -> tuple[str, ...]:
    """IP addresses in their usual form."""
    try:
        return tuple(str(ipaddress.ip_address(item)) for item in words(value))
    except ValueError:
        raise ValueError("not an IP address; write 192.0.2.1 or 2001:db8::1") from None


def host_port(value: str) -> tuple[str, int] | None:
    """(host, port), or None for an empty value.  An IPv6 address stands in brackets."""
    if not value:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536 or not host:
        raise ValueError("not HOST:PORT; write mail.example.net:587 or [2001:db8::1]:25")
    return host.strip("[]"), int(port)


def shown(value: str) -> str:
    """Which messages POP3 shows."""
    if not is_shown(value):
        raise ValueError("write all, unseen or a number of days, as 30d")
    return value


def listen(value: str) -> tuple[tuple[str, int], ...]:
    """Addresses to listen on."""
    return tuple(pair for item in words(value) if (pair := host_port(item)))


def listen_or_path(value: str) -> tuple[tuple[str, int], ...]:
    """Addresses to listen on; a path stands as (path, 0)."""
    return tuple(pair for item in words(value) for pair in ([(item, 0)] if item.startswith("/") else listen(item)))


@dataclass(frozen=True, slots=True)
class Setting:
    """One row: name, kind (text -> value), default as it would be written, programs that read it, and what it does."""

    name: str
    kind: Callable[[str], Any]
    default: str
    used_by: tuple[str, ...]
    doc: str


ALL = ("every program",)
DAEMONS = ("pymta-smtpd", "pymta-imapd", "pymta-pop3d")

SETTINGS: tuple[Setting, ...] = (
    Setting("host.name", text, "", ALL,
            "The name of this host as other hosts know it.  Empty: what the system says (its fully qualified name)."),
    Setting("host.addresses", addresses, "", ("pymta-remote",),
            "IP addresses by which other hosts reach this one though the system does not have them (behind NAT, say).  An MX with one of "
            "them is this host, to which it never sends."),
    Setting("host.spool", text, "/var/spool/pymta", ALL, "Where the queue lives."),
    Setting("host.run", text, "/run/pymta", ALL, "Where lock files live."),

    Setting("local.domains", domains, "", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "Domains whose users are the users of this system and those in the users file by bare name.  The host name and localhost "
            "are always among them."),
    Setting("local.virtual_domains", domains, "", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "Domains all of whose users stand in the users file with their full address.  A domain with a line in the users "
            "file need not be listed here."),
    Setting("local.system_users", boolean, "yes", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "Whether the users of this system (getpwnam, uid at least local.first_uid, with a home) get mail in local domains."),
    Setting("local.first_uid", count, "1000", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "System users below this uid get no mailbox."),
    Setting("local.extension", delimiters, "-+", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "Characters that part a user's name from an extension: user-anything and user+anything reach user."),
    Setting("local.admin", text, "", ("pymta-smtpd", "pymta-qrun", "pymta-local"),
            "Who reads mail for root (and so for postmaster, abuse and mailer-daemon where no alias says otherwise).  "
            "While it is empty, that mail waits in hold/."),
    Setting("local.virtual_uid", text, "", ("pymta-local", "pymta-imapd", "pymta-pop3d"),
            "The system user that owns the mailboxes of virtual users whose line names no uid.  Empty: pymta-vmail where it exists, "
            "else the user that runs pymta-local."),
    Setting("local.virtual_home", text, "/var/mail/pymta", ("pymta-local", "pymta-imapd", "pymta-pop3d"),
            "Below it lies DOMAIN/USER for each virtual user whose line names no home.  The mailbox is Maildir in the home."),
    Setting("local.relay_domains", domains, "", ("pymta-smtpd", "pymta-qrun"),
            "Domains whose mail is taken for another host, as a backup MX or a gateway does.  Only recipients that stand in "
            "relay_recipients, by address or as @domain, are accepted.  The mail goes where transports or the MX of the domain say, "
            "never to an MX that is no better than this host."),
    Setting("local.quota", size, "0", ("pymta-smtpd", "pymta-local"),
            "What a mailbox may hold, in octets, where the user's line in the users file has no quota of its own.  0: any amount."),
    Setting("local.folders", words, "", ("pymta-local", "pymta-imapd"),
            "Folders made in every new mailbox.  Drafts, Sent, Junk, Trash and Archive carry their special-use marks whenever they exist."),
    Setting("local.undelete", duration, "1d", ("pymta-imapd", "pymta-pop3d"),
            "How long expunged mail can be brought back with pymta-maildir undelete; never less than an hour.  When the disk is full it goes at once."),

    Setting("queue.retry", durations, "0s, 5m, 15m, 30m, 60m", ("pymta-qrun",),
            "How long to wait before each try.  After the last one the wait grows by half each time, up to queue.retry_max."),
    Setting("queue.retry_max", duration, "3h", ("pymta-qrun",), "The longest wait between two tries."),
    Setting("queue.lifetime", duration, "5d", ("pymta-qrun",),
            "How long a message is retried before it is returned.  RFC 5321 §4.5.4.1 asks for at least 4-5 days."),
    Setting("queue.bounce_lifetime", duration, "1d", ("pymta-qrun",),
            "The same for a message with an empty reverse-path."),
    Setting("queue.warn_after", duration, "4h", ("pymta-qrun",),
            "When the sender is told, once, that a message is late.  0s: never."),
    Setting("queue.size_max", size, "50M", ("pymta-smtpd", "pymta-inject", "pymta-qrun"), "The biggest message that is accepted."),
    Setting("queue.recipients_max", positive, "10000", ("pymta-smtpd", "pymta-inject", "pymta-qrun"),
            "The most recipients one message may have, after aliases."),
    Setting("queue.drops_per_uid", positive, "1000", ("pymta-qrun",),
            "How many messages that programs of one user hand in are taken within a minute.  More wait, and those of other users go first."),
    Setting("queue.hops_max", positive, "50", ("pymta-smtpd", "pymta-qrun"), "A message with more Received fields loops (RFC 5321 §6.3)."),
    Setting("queue.free_min", size, "64M", ("pymta-smtpd", "pymta-inject"),
            "Below this much free space in the spool new mail is answered 452."),
    Setting("queue.own_filesystem", choice("auto", "yes", "no"), "auto", ("pymta-smtpd",),
            "Whether the spool has a file system of its own, so that one syncfs serves a whole batch: yes, no, or auto (yes where "
            "the spool, or a directory above it other than / and /var, is a mount point)."),

    Setting("smtp.listen", listen, "[::]:25", ("pymta-smtpd",), "Where to take mail from other hosts."),
    Setting("smtp.submission", listen, "[::]:587", ("pymta-smtpd",), "Where users hand in mail, after STARTTLS and a login."),
    Setting("smtp.submissions", listen, "[::]:465", ("pymta-smtpd",), "The same with TLS from the first byte."),
    Setting("smtp.lmtp", listen_or_path, "", ("pymta-smtpd",),
            "Where to take mail by LMTP (RFC 2033): HOST:PORT, or the path of a Unix socket, such as /run/pymta/lmtp, which is made with mode 0660."),
    Setting("smtp.relay_from", networks, "", ("pymta-smtpd",), "Networks whose hosts may send to any domain without a login."),
    Setting("smtp.proxy_from", networks, "", ("pymta-smtpd",),
            "Networks of load balancers, whose connections must begin with a header of the PROXY protocol (version 1 or 2) that names "
            "the client.  From anybody else such a header ends the session."),
    Setting("smtp.xclient_from", networks, "", ("pymta-smtpd",),
            "Networks of front ends that may say by XCLIENT who their client is, and who has logged in there.  They are believed: who may "
            "do that may send as anybody."),
    Setting("smtp.trusted", networks, "127.0.0.0/8 ::1/128", ("pymta-smtpd",),
            "Networks whose hosts no check and no limit from smtp.early_talk to smtp.tarpit_after holds for; those of smtp.relay_from "
            "are always among them.  They may not relay for that."),
    Setting("smtp.early_talk", choice("no", "greeting", "strict"), "strict", ("pymta-smtpd",),
            "Who is refused (554) because he talks too soon.  greeting: who sends anything before our greeting, as mail programs never "
            "do.  strict: also who sends more behind EHLO or HELO before it is answered (RFC 2920 §3.1).  no: nobody."),
    Setting("smtp.greet_delay", duration, "1s", ("pymta-smtpd",),
            "How long a client of smtp.listen waits for our greeting, so that those who do not wait show themselves.  Who had "
            "mail accepted within the last minutes does not wait."),
    Setting("smtp.helo_check", choice("no", "syntax", "strict"), "syntax", ("pymta-smtpd",),
            "What is asked of the name in EHLO or HELO on smtp.listen.  syntax: that it may be a name or is an address literal.  strict: "
            "a name with a dot or a literal, and not our own.  no: nothing."),
    Setting("smtp.require_ptr", choice("no", "log", "yes"), "no", ("pymta-smtpd",),
            "Whether the name that the DNS has for a client's address, and that leads back to it, is looked up.  log: its name stands in "
            "the log.  yes: mail is refused (550 5.7.25) where there is none.  no: nothing is looked up."),
    Setting("smtp.client_sessions", count, "50", ("pymta-smtpd",), "Sessions one address may have at a time.  0: any number."),
    Setting("smtp.network_sessions", count, "200", ("pymta-smtpd",), "The same for all addresses of a network.  0: any number."),
    Setting("smtp.client_connects", count, "120", ("pymta-smtpd",), "New sessions a minute from one address.  0: any number."),
    Setting("smtp.network_connects", count, "600", ("pymta-smtpd",), "The same for all addresses of a network.  0: any number."),
    Setting("smtp.client_messages", count, "300", ("pymta-smtpd",),
            "Messages a minute from one address on smtp.listen; more are put off (450).  0: any number."),
    Setting("smtp.network_messages", count, "1200", ("pymta-smtpd",), "The same for all addresses of a network.  0: any number."),
    Setting("smtp.network_ipv4", bits(32), "24", ("pymta-smtpd",), "How many bits make a network of IPv4 addresses."),
    Setting("smtp.network_ipv6", bits(128), "64", ("pymta-smtpd",), "How many bits make a network of IPv6 addresses."),
    Setting("smtp.tarpit", duration, "15s", ("pymta-smtpd",),
            "The longest wait for the answer to a command that is refused.  0s: none.  The wait begins with a second and doubles with each error."),
    Setting("smtp.tarpit_after", count, "3", ("pymta-smtpd",), "Errors of one address within ten minutes whose answers come at once."),
    Setting("smtp.recipients_max", positive, "1000", ("pymta-smtpd",), "Recipients in one transaction; RFC 5321 §4.5.3.1.8 asks for at least 100."),
    Setting("smtp.mails_max", count, "0", ("pymta-smtpd",),
            "Messages in one session, which is closed then (421); announced as MAILMAX (RFC 9422).  0: any number."),
    Setting("smtp.release_max", duration, "30d", ("pymta-smtpd",),
            "How far ahead users may set the time at which a message is sent (FUTURERELEASE, RFC 4865); until then it waits in later/.  0s: not at all."),
    Setting("smtp.sessions_max", positive, "2000", ("pymta-smtpd",), "Sessions at a time in each worker."),
    Setting("smtp.errors_max", positive, "20", ("pymta-smtpd",), "Refused commands after which a session is closed."),
    Setting("smtp.timeout", duration, "5m", ("pymta-smtpd",), "A session that says nothing for this long is closed (RFC 5321 §4.5.3.2.7)."),
    Setting("smtp.session_max", duration, "2h", ("pymta-smtpd",), "The longest life of a session, whatever it does."),
    Setting("smtp.sender_check", boolean, "yes", ("pymta-smtpd",),
            "Whether a login may send only from its own addresses: MAIL FROM and From must be the mailbox's address, one with an "
            "extension, an alias that leads to it, or stand in the senders file; else 553 5.7.1."),
    Setting("smtp.hide_client", boolean, "no", ("pymta-smtpd",),
            "Whether the Received field of mail that a user hands in says nothing of where it came from.  The log does."),
    Setting("smtp.login_rate", rates, "1000/h 5000/d", ("pymta-smtpd",),
            "How many recipients a login may write to within a minute (m), an hour (h) or a day (d).  More are put off (452 4.7.1), and "
            "postmaster is told.  Empty: any number."),
    Setting("smtp.new_recipients_per_day", count, "250", ("pymta-smtpd",),
            "How many recipients that it never wrote to before a login may write to within a day.  Mail to more of them is accepted and waits in "
            "hold/ for pymta-mailq release, and postmaster is told: this is what a stolen password looks like.  0: any number."),
    Setting("smtp.workers", positive, "2", ("pymta-smtpd",), "Processes that share the listening sockets."),

    Setting("tls.certificate", text, "", DAEMONS,
            "File with the certificate chain (PEM) for clients that name no other host.  Empty: ETC/tls/cert.pem."),
    Setting("tls.key", text, "", DAEMONS, "File with its private key.  Empty: ETC/tls/key.pem; where tls.certificate is set, in the same file."),
    Setting("tls.certificates", text, "/etc/letsencrypt/live", DAEMONS,
            "Directory with a directory for each further certificate, as certbot leaves it (fullchain.pem and privkey.pem; also cert.pem and "
            "key.pem, and what acme.sh and lego write).  ETC/tls is looked at in the same way.  A certificate serves the names that stand in "
            "it, the one for host.name also clients that name none.  Files may change at any time."),
    Setting("tls.self_signed", boolean, "yes", DAEMONS,
            "Whether a self-signed certificate is made at the start (ETC/tls/cert.pem and key.pem) while there is none at all."),
    Setting("tls.minimum", choice("1.2", "1.3"), "1.2", DAEMONS, "The oldest version of TLS that is spoken."),

    Setting("login.plain_from", networks, "127.0.0.0/8 ::1/128", ("pymta-imapd", "pymta-pop3d"),
            "Networks that may log in without TLS."),
    Setting("login.failures", count, "3", DAEMONS,
            "Wrong passwords from one network (IPv4 /24, IPv6 /64) after which each answer is delayed, twice as long each time.  0: never."),
    Setting("login.delay_max", duration, "15s", DAEMONS, "The longest such delay."),
    Setting("login.hashers", positive, "2", DAEMONS, "Password hashes computed at a time; each takes 19 MiB."),

    Setting("imap.listen", listen, "[::]:143", ("pymta-imapd",), "Where to serve IMAP, with STARTTLS."),
    Setting("imap.listen_tls", listen, "[::]:993", ("pymta-imapd",), "Where to serve IMAP with TLS from the first byte."),
    Setting("imap.sessions_per_user", positive, "50", ("pymta-imapd",), "Sessions one user may have at a time."),
    Setting("imap.sessions_max", positive, "5000", ("pymta-imapd",), "Sessions at a time in all."),
    Setting("imap.notify_mailboxes", positive, "1000", ("pymta-imapd",),
            "Mailboxes that one session may watch with NOTIFY (RFC 5465); each costs two of the user's inotify watches, however many sessions do."),
    Setting("imap.without", words, "", ("pymta-imapd",),
            "Capabilities that no client is offered (pymta-imapd(8) lists them), and whose ENABLE is not heard.  without= in the users file "
            "does the same for one account."),
    Setting("imap.client_without", text, "*Office 365*: UIDONLY; *Outlook*: UIDONLY", ("pymta-imapd",),
            "The same for clients by the name they say in ID: PATTERN: CAPABILITIES; PATTERN: CAPABILITIES.  In a pattern * stands for "
            "anything, and case does not count.  Outlook says ENABLE UIDONLY and then uses the numbers that this takes away."),
    Setting("imap.share_users", boolean, "yes", ("pymta-imapd",),
            "Whether users may give each other rights to their mailboxes (RFC 4314).  Only for those whose mailboxes belong to "
            "local.virtual_uid: a session of another uid can open nobody else's."),
    Setting("imap.shared", text, "", ("pymta-imapd",),
            "A Maildir that belongs to all, owned by local.virtual_uid.  Its mailboxes stand below Shared; who may do what with them "
            "says the dovecot-acl of each, or that of the directory itself."),
    Setting("imap.idle_max", duration, "30m", ("pymta-imapd",), "A session that says nothing for this long is closed (RFC 9051 §5.4)."),
    Setting("imap.workers", positive, "1", ("pymta-imapd",),
            "Processes that share the listening sockets.  Where all mailboxes belong to one uid, each of them counts imap.sessions_per_user for itself."),
    Setting("pop3.listen", listen, "[::]:110", ("pymta-pop3d",), "Where to serve POP3, with STLS."),
    Setting("pop3.listen_tls", listen, "[::]:995", ("pymta-pop3d",), "Where to serve POP3 with TLS from the first byte."),
    Setting("pop3.shows", shown, "all", ("pymta-pop3d",),
            "Which messages of INBOX are shown, where the user's line in the users file does not say: all, unseen (those that no program has "
            "marked as read), or 30d (those that came in the last 30 days).  The others stay, for IMAP."),
    Setting("pop3.sessions_max", positive, "2000", ("pymta-pop3d",), "Sessions at a time in all."),
    Setting("pop3.idle_max", duration, "10m", ("pymta-pop3d",), "A session that says nothing for this long is closed (RFC 1939 §3)."),
    Setting("pop3.workers", positive, "1", ("pymta-pop3d",), "Processes that share the listening sockets."),

    Setting("remote.smarthost", host_port, "", ("pymta-remote", "pymta-qrun"),
            "Host that takes all mail for other hosts.  Empty: deliver to each domain's MX."),
    Setting("remote.port", port, "25", ("pymta-remote",), "The port of other hosts' mail servers."),
    Setting("remote.concurrency", positive, "20", ("pymta-remote",), "Connections at a time to one destination; fewer while it is slow or refuses."),
    Setting("remote.concurrency_all", positive, "100", ("pymta-remote",), "Connections at a time in all."),
    Setting("remote.reuse", positive, "100", ("pymta-remote",), "Messages sent over one connection."),
    Setting("remote.recipients_max", positive, "100", ("pymta-remote",), "Recipients in one outgoing transaction."),
    Setting("remote.connect_timeout", duration, "30s", ("pymta-remote",), "How long to wait for a connection and its greeting."),
    Setting("remote.timeout", duration, "5m", ("pymta-remote",), "How long to wait for any other reply (RFC 5321 §4.5.3.2)."),
    Setting("remote.tls", choice("may", "never"), "may", ("pymta-remote",), "may: use STARTTLS where offered, without checking names.  never: do not."),
    Setting("dns.server", host_port, "", ("pymta-remote", "pymta-smtpd"), "The name server to ask.  Empty: those of /etc/resolv.conf."),
    Setting("dns.timeout", duration, "10s", ("pymta-remote", "pymta-smtpd"), "How long one look-up may take in all."),
)

BY_NAME: Mapping[str, Setting] = MappingProxyType({row.name: row for row in SETTINGS})


class Settings:
    """What is in force: attribute access is by section and name, `settings["queue.lifetime"]`.

    etc: the directory of pymta.conf, aliases, users, passwords, transports.  sources: name -> where the value came from;
    texts: name -> the value as it is written.
    """

    __slots__ = ("etc", "_values", "sources", "complaints", "texts")

    def __init__(self, etc: str, values: Mapping[str, Any], sources: Mapping[str, str], complaints: Iterable[str],
                 texts: Mapping[str, str] = MappingProxyType({})) -> None:
        self.etc = etc
        self._values = MappingProxyType(dict(values))
        self.sources = MappingProxyType(dict(sources))
        self.complaints = tuple(complaints)
        self.texts = MappingProxyType(dict(texts))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    @property
    def host(self) -> str:
        """This host's name, lower case."""
        return self._values["host.name"]


def read(etc: str = DEFAULT_ETC) -> Settings:
    """The settings of ETC/pymta.conf.  A missing file means the defaults; a wrong line is kept as a complaint
    (`file:line: name = value: reason; remedy`) and its setting stays at the default."""
    path = os.path.join(etc, "pymta.conf")
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            rows, bad = conf.parse(file.read())
    except FileNotFoundError:
        rows, bad = [], []
    texts = {row.name: row.default for row in SETTINGS}
    values: dict[str, Any] = {row.name: row.kind(row.default) for row in SETTINGS}
    sources = {row.name: "default" for row in SETTINGS}
    complaints = [f"{path}:{number}: {reason}" for number, reason in bad]
    for number, name, value in rows:
        row = BY_NAME.get(name)
        if row is None:
            complaints.append(f"{path}:{number}: {name}: no such setting; {nearest(name)}")
            continue
        try:
            values[name] = row.kind(value)
        except ValueError as error:
            complaints.append(f"{path}:{number}: {name} = {value}: {error}")
            continue
        if sources[name] != "default":
            complaints.append(f"{sources[name]}: {name} stands again in line {number}, which holds; remove one of them")
        texts[name], sources[name] = value, f"{path}:{number}"
    if not values["host.name"]:
        texts["host.name"] = values["host.name"] = hostname.find()
        sources["host.name"] = "the system"
    values["host.name"] = values["host.name"].lower().rstrip(".")
    return Settings(etc, values, sources, complaints, texts)


def nearest(name: str) -> str:
    """What to try instead of a setting that does not exist."""
    import difflib
    close = difflib.get_close_matches(name, list(BY_NAME), 1)
    return f"did you mean {close[0]}?" if close else "pymta.conf(5) lists them all"
