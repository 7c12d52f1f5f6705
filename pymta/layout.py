"""layout: every place on disk outside the source: path, owner, mode, sole writer, readers, page.

The installer, tmpfiles.d, ReadWritePaths= in the units, `pymta-config check` and FILES in the man pages derive from PLACES.

Queue files are 0664 and protected by the directories they lie in: whoever may not enter a directory has no way to them.
The group of in/* is pymta-queue, so that the runner may append its records to what another program wrote.
"""
from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pymta import __version__, durable, privs
from pymta.formats.queuefile import SHARDS

if TYPE_CHECKING:
    from pymta.settings import Settings


@dataclass(frozen=True, slots=True)
class Place:
    """path: below the spool, or absolute with {etc} or {run} in front.  owner, group: account names."""

    path: str
    mode: int
    owner: str
    group: str
    writer: str
    readers: tuple[str, ...]
    page: str
    doc: str
    spread: bool = False                                # has SHARDS subdirectories, see below


_Q = "pymta-queue(5)"
FORMAT = 1                                              # rises when an older version would misread what this one writes in the spool
FORMAT_FILE = "state/format"

# ext4 looks for a free inode in the block group of the directory and passes over every one that was freed within the last minutes:
# after some thousand deletions making a file costs 600 us of processor time instead of 20 (measured).  So files are made in one of
# these subdirectories after the other, a second each, which lie in block groups far apart (attribute T, chattr(1)).
SPOOL: tuple[Place, ...] = (
    Place("", 0o755, "root", "root", "", (), "pymta(7)", "the spool"),
    Place("in", 0o755, "root", "root", "", (), _Q, "the intakes, one for each program that writes mail"),
    Place("in/smtpd", 0o2750, "pymta-smtpd", "pymta-queue", "pymta-smtpd", ("pymta-qrun",), _Q, "from the network"),
    Place("in/smtpd/tmp", 0o2770, "pymta-smtpd", "pymta-queue", "pymta-smtpd", (), _Q, "being written; not ours yet", spread=True),
    Place("in/smtpd/new", 0o2770, "pymta-smtpd", "pymta-queue", "pymta-smtpd", ("pymta-qrun",), _Q, "acknowledged"),
    Place("in/inject", 0o755, "pymta-queue", "pymta-queue", "any user", ("pymta-qrun",), _Q, "from local programs"),
    Place("in/inject/tmp", 0o3777, "pymta-queue", "pymta-queue", "any user", (), _Q, "being written; not ours yet", spread=True),
    Place("in/inject/new", 0o3777, "pymta-queue", "pymta-queue", "any user", ("pymta-qrun",), _Q, "acknowledged by exit 0"),
    Place("in/qrun", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "what the runner itself writes"),
    Place("in/qrun/tmp", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q,
          "a whole copy whose source is still there, or has just gone", spread=True),
    Place("in/qrun/new", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", ("pymta-qrun",), _Q, "bounces, notices and routed drops"),
    Place("split", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "being parted into a local and a remote message"),
    Place("todo", 0o755, "root", "root", "", (), _Q, "due now"),
    Place("todo/local", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", ("pymta-local",), _Q,
          "to be delivered here; pymta-local takes away what is done"),
    Place("todo/remote", 0o2770, "pymta-queue", "pymta-remote", "pymta-qrun", ("pymta-remote",), _Q,
          "to be sent; pymta-remote takes away what is done"),
    Place("report", 0o755, "root", "root", "", (), _Q, "what became of an attempt, where there is something to say"),
    Place("report/local", 0o2750, "root", "pymta-queue", "pymta-local", ("pymta-qrun",), _Q, "from pymta-local"),
    Place("report/local/tmp", 0o2770, "root", "pymta-queue", "pymta-local", (), _Q, "being written"),
    Place("report/local/new", 0o2770, "root", "pymta-queue", "pymta-local", ("pymta-qrun",), _Q, "to be read by the runner"),
    Place("report/remote", 0o2750, "pymta-remote", "pymta-queue", "pymta-remote", ("pymta-qrun",), _Q, "from pymta-remote"),
    Place("report/remote/tmp", 0o2770, "pymta-remote", "pymta-queue", "pymta-remote", (), _Q, "being written"),
    Place("report/remote/new", 0o2770, "pymta-remote", "pymta-queue", "pymta-remote", ("pymta-qrun",), _Q, "to be read by the runner"),
    Place("later", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "one directory for each minute in which something is due"),
    Place("parked", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "one directory for each destination that does not answer"),
    Place("hold", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "waits for the admin"),
    Place("corrupt", 0o2750, "pymta-queue", "pymta-queue", "pymta-qrun", (), _Q, "damaged; a file beside it says why"),
    Place("publishing", 0o700, "root", "root", "pymta-local", (), _Q, "copies that are about to appear in Maildirs: which, not their text"),
    Place("state", 0o755, "root", "root", "", (), _Q, "one directory for each program: its lock, and what others may know of its doing"),
    Place("state/format", 0o644, "root", "root", "the daemon that made the spool", ("every daemon of the queue",), _Q,
          "the number of the formats in here; a daemon that is older refuses to start"),
    Place("state/qrun", 0o755, "pymta-queue", "pymta-queue", "pymta-qrun", ("admin",), _Q, "the runner's lock"),
    Place("state/local", 0o755, "root", "root", "pymta-local", ("admin",), _Q, "the lock of pymta-local"),
    Place("state/local/full", 0o755, "root", "root", "pymta-local", ("pymta-smtpd",), _Q, "mailboxes that have no room"),
    Place("state/smtpd", 0o750, "pymta-smtpd", "pymta-smtpd", "pymta-smtpd", ("admin",), "pymta-smtpd(8)", "to whom each login has written"),
    Place("state/tls", 0o700, "root", "root", "pymta-smtpd", (), "pymta.conf(5)",
          "a self-signed certificate, where it could not be made in /etc/pymta/tls"),
    Place("state/remote", 0o755, "pymta-remote", "pymta-remote", "pymta-remote", ("admin",), _Q, "the lock of pymta-remote"),
)
ELSEWHERE: tuple[Place, ...] = (
    Place("{etc}", 0o755, "root", "root", "admin", ("every program",), "pymta.conf(5)", "configuration"),
    Place("{etc}/pymta.conf", 0o644, "root", "root", "admin", ("every program",), "pymta.conf(5)", "the settings"),
    Place("{etc}/aliases", 0o644, "root", "root", "admin", ("pymta-smtpd", "pymta-qrun"), "pymta-aliases(5)", "who else is meant by an address"),
    Place("{etc}/users", 0o644, "root", "root", "pymta-passwd, admin",
          ("pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-imapd", "pymta-pop3d"), "pymta-users(5)", "virtual users and where their mail lies"),
    Place("{etc}/passwords", 0o640, "root", "pymta-auth", "pymta-passwd, admin", ("the password children",), "pymta-users(5)", "password hashes"),
    Place("{etc}/senders", 0o644, "root", "root", "admin", ("pymta-smtpd",), "pymta-senders(5)", "from what other addresses a login may send"),
    Place("{etc}/transports", 0o644, "root", "root", "admin", ("pymta-remote", "pymta-qrun"), "pymta-transports(5)",
          "destinations that are not found by MX"),
    Place("{etc}/relay_recipients", 0o644, "root", "root", "admin", ("pymta-smtpd", "pymta-qrun"), "pymta-users(5)",
          "who gets mail in local.relay_domains"),
    Place("{etc}/tls", 0o755, "root", "root", "admin, pymta-begin", ("pymta-smtpd", "pymta-imapd", "pymta-pop3d"), "pymta.conf(5)", "certificate and key"),
    Place("{run}", 0o755, "root", "root", "", (), "pymta(7)", "lock and pid files"),
    Place("{run}/trace", 0o711, "root", "root", "admin", ("pymta-imapd", "pymta-pop3d"), "pymta-imapd(8)",
          "a directory for each account or client whose sessions are to be written down there"),
    Place("{run}/host.name", 0o644, "root", "root", "pymta-begin", ("every program",), "pymta-begin(8)", "the name of this host, as the name service knows it"),
)
PLACES = SPOOL + ELSEWHERE

ACCOUNTS: dict[str, str] = {
    "pymta-smtpd": "takes mail from the network",
    "pymta-queue": "keeps the queue",
    "pymta-remote": "sends mail to other hosts",
    "pymta-auth": "checks passwords",
    "pymta-login": "speaks IMAP and POP3 until the user is known",
    "pymta-vmail": "owns the mailboxes of virtual users",
}


class Newer(OSError):
    """The spool has been worked on by a version of pymta that writes what this one does not understand."""

    REMEDY = "install that version again, or a later one; nothing was touched, and the queue waits as it is"


def where(place: Place, settings: Settings) -> str:
    """The path of a place under these settings."""
    if place.path.startswith("{"):
        return place.path.format(etc=settings.etc, run=settings["host.run"])
    return os.path.join(settings["host.spool"], place.path).rstrip("/")


def ready(spool: str) -> None:
    """See that the spool is there before a daemon works in it.  Raises KeyError without the accounts, Newer, other OSError."""
    check_format(spool)
    if not privs.is_root():
        heal_spool(spool)
        return
    try:
        make_spool(spool, single_uid=False)
    except PermissionError:
        pass            # root by name only, as our units make it: systemd-tmpfiles has been here, and what is missing shows soon enough


def make_spool(spool: str, *, single_uid: bool) -> None:
    """Make what is missing of the spool.  single_uid: everything belongs to who calls (the sandbox); else to the accounts
    of PLACES, which must exist (KeyError), and the caller is root."""
    os.makedirs(spool, exist_ok=True)
    for place in SPOOL:
        if place.mode & 0o100:
            _make(os.path.join(spool, place.path) if place.path else spool, place, single_uid)
    path = os.path.join(spool, FORMAT_FILE)
    if format_of(spool) < FORMAT or not os.path.exists(path):
        durable.replace(path, b"%d\n" % FORMAT, mode=0o644)


def format_of(spool: str) -> int:
    """The number of the formats in a spool.  One without the file was made before there was one."""
    try:
        with open(os.path.join(spool, FORMAT_FILE), "rb") as file:
            return int(file.read(16))
    except FileNotFoundError:
        return 1
    except ValueError:
        raise Newer(f"{FORMAT_FILE} in {spool} is no number; this program reads format {FORMAT}") from None


def check_format(spool: str) -> None:
    """Raises Newer where what stands in the spool may not be what this program takes it for."""
    found = format_of(spool)
    if found > FORMAT:
        raise Newer(f"the spool {spool} has format {found}, that of a newer pymta; this one ({__version__}) reads up to {FORMAT}")


def _make(path: str, place: Place, single_uid: bool) -> None:
    """Make or mend one place.  What is right already is not touched: an ordinary start needs no rights to change it."""
    durable.mkdir(path, 0o700)
    if not single_uid:
        import grp
        import pwd
        owner = pwd.getpwnam(place.owner).pw_uid, grp.getgrnam(place.group).gr_gid
        if (os.stat(path).st_uid, os.stat(path).st_gid) != owner:
            os.chown(path, *owner)
    if stat.S_IMODE(os.stat(path).st_mode) != place.mode:
        os.chmod(path, place.mode)
    if place.spread:
        durable.spread_subdirectories(path)
        for name in SHARDS:
            _make(f"{path}/{name}", replace(place, spread=False), single_uid)


def heal_spool(spool: str) -> None:
    """Make the directories that are missing, for a program that is not root and may find a spool made by hand; those that it
    may not make are another program's to make."""
    for place in SPOOL:
        if not place.mode & 0o100:
            continue
        path = os.path.join(spool, place.path) if place.path else spool
        for each in [path, *(f"{path}/{name}" for name in SHARDS if place.spread)]:
            try:
                if not os.path.isdir(each):
                    _make(each, replace(place, spread=False), True)
            except OSError:
                continue
