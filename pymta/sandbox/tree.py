"""tree: everything the sandbox keeps below DIR, made or mended, and durable before anybody is told it is there.

    DIR/etc/      pymta.conf aliases users passwords transports tls/ (etc/pymta leads here too, as on a host)
    DIR/spool/    the queue                     DIR/home/NAME/Maildir/    the mailboxes
    DIR/bin/      sendmail                      DIR/run/                  lock files
    DIR/log       what all daemons log          DIR/endpoints.json        only while everything answers

In pymta.conf, users, passwords and transports the lines between the two marks are the sandbox's and written anew at each start;
what an admin adds outside them stays.  aliases is made once and never touched again.
"""
from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

from pymta import durable, layout, mailbox
from pymta.login import hashes
from pymta.formats import passwords, users
from pymta.mailbox import tidying
from pymta.sandbox import certificate
from pymta.sandbox.options import FOLDERS, LISTENERS, Options, User

_BEGIN = "# ---- written by pymta-sandbox at each start; other lines stay as you write them ----"
_END = "# ---- end of what pymta-sandbox writes ----"
_ALIASES = """\
# Who else is meant by an address: see pymta-aliases(5).  An edit is in force at once.
# sales: alice, bob
"""
# Nothing is limited; with nobody trusted, what --set asks for holds on loopback
_NO_LIMITS = {
    "smtp.login_rate": "", "smtp.new_recipients_per_day": "0",
    "smtp.trusted": "", "smtp.early_talk": "greeting", "smtp.greet_delay": "0s", "smtp.helo_check": "no", "smtp.tarpit": "0s",
    **dict.fromkeys(("smtp.client_sessions", "smtp.network_sessions", "smtp.client_connects", "smtp.network_connects",
                     "smtp.client_messages", "smtp.network_messages"), "0"),
}
_SHEBANG_MAX = 120                                      # Linux takes 127 before 5.1, 255 since


def program_dir() -> str:
    """The directory above the package pymta."""
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def maildir(directory: str, options: Options, user: User) -> str:
    home = user.local if user.domain == options.domain else os.path.join(user.domain, user.local)
    return os.path.join(directory, "home", home, "Maildir")


def spool(options: Options) -> str:
    return options.settings.get("host.spool") or os.path.join(options.directory, "spool")


def build(options: Options, ports: dict[str, str]) -> None:
    """Make or mend the tree.  ports: listener -> addresses as pymta.conf writes them.  Raises OSError."""
    top = options.directory
    for name in ("bin", "etc", "etc/tls", "home", "run"):
        durable.mkdir(os.path.join(top, name), 0o755)
    _configuration(options, ports)
    _people(options)
    _sendmail(top)
    layout.make_spool(spool(options), single_uid=True)
    certificate.ensure(os.path.join(top, "etc", "tls"), _names(options))
    for path in {os.stat(path).st_dev: path for path in (top, os.path.join(top, "home"), spool(options))}.values():
        durable.sync_fs(path)                           # hundreds of directories: one call for each file system


def _names(options: Options) -> list[str]:
    """What the certificate is for."""
    names = ["localhost", "127.0.0.1", "::1", *(f"mail.{domain}" for domain in reversed(options.domains))]
    return list(dict.fromkeys(filter(None, [options.settings.get("host.name", "").lower(), *names])))


# ---- etc --------------------------------------------------------------------------------------------------------------
def _configuration(options: Options, ports: dict[str, str]) -> None:
    top = options.directory
    etc = os.path.join(top, "etc")
    rows = {
        "host.name": f"mail.{options.domain}",
        "host.spool": spool(options),
        "host.run": os.path.join(top, "run"),
        "local.domains": options.domain,
        "local.virtual_domains": " ".join(options.domains[1:]),
        "local.system_users": "no",
        "local.admin": options.users[0].address,        # or mail for postmaster would wait in hold/
        "local.virtual_uid": str(os.geteuid() or ""),   # whatever pymta-vmail is on this host
        "local.virtual_home": os.path.join(top, "home"),
        "local.folders": " ".join(FOLDERS),
        "smtp.relay_from": " ".join(options.relay_from),
        "tls.certificates": "",                         # of this host's real names, if any
        "login.failures": "0",
        **_NO_LIMITS,
        "imap.sessions_per_user": "200",
        **{LISTENERS[name]: where for name, where in ports.items()},
        **options.settings,
    }
    _replace_block(os.path.join(etc, "pymta.conf"), [f"{name} = {value}" for name, value in rows.items()], last=True)
    _replace_block(os.path.join(etc, "transports"), [f"{domain} {where}" for domain, where in options.transports])
    if not os.path.lexists(os.path.join(etc, "aliases")):
        durable.replace(os.path.join(etc, "aliases"), _ALIASES.encode(), 0o644)
    if not os.path.lexists(os.path.join(etc, "pymta")):
        os.symlink(".", os.path.join(etc, "pymta"))     # DIR/etc/pymta/aliases and DIR/etc/aliases are the same file


def _replace_block(path: str, lines: list[str], *, mode: int = 0o644, last: bool = False) -> None:
    """Put lines between the marks of the file at path.  Where there are no marks yet, they go to its top; last: to its end,
    because the last line holds there (pymta.conf)."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            old = file.read().splitlines()
    except FileNotFoundError:
        old = []
    block = [_BEGIN, *lines, _END]
    if _BEGIN in old and _END in old[old.index(_BEGIN):]:
        begin = old.index(_BEGIN)
        new = old[:begin] + block + old[old.index(_END, begin) + 1:]
    else:
        new = old + block if last else block + old
    data = "".join(line + "\n" for line in new).encode("utf-8", "surrogateescape")
    durable.replace(path, data, mode)


# ---- people -----------------------------------------------------------------------------------------------------------
def _people(options: Options) -> None:
    top = options.directory
    lines, boxes = [], []
    for user in options.users:
        box = maildir(top, options, user)
        boxes.append(box)
        bare = users.User(user.local, "" if user.domain == options.domain else user.domain, "", "", os.path.dirname(box), 0)
        lines.append(users.encode(bare).decode().rstrip("\n"))
    _replace_block(os.path.join(top, "etc", "users"), lines)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:   # argon2 lets the interpreter go
        made = list(pool.map(lambda user: hashes.make(hashes.prepare(user.password)), options.users))
    entries = [f"{passwords.fold(user.address)}:{hash}" for user, hash in zip(options.users, made)]
    _replace_block(os.path.join(top, "etc", "passwords"), entries, mode=0o640)
    for box in boxes:
        _mailbox(box)


def _mailbox(box: str) -> None:
    """Make the folders of one mailbox, and the cur, new and tmp that any of its folders lacks."""
    mailbox.make(box, FOLDERS)
    for name in os.listdir(box):
        if name.startswith(".") and os.path.isdir(os.path.join(box, name)):
            tidying.heal(os.fsencode(os.path.join(box, name)))


# ---- bin --------------------------------------------------------------------------------------------------------------
def _sendmail(top: str) -> None:
    """A sendmail that needs no environment: -I -S, because only the standard library and pymta are wanted, and quickly."""
    source = program_dir()
    python = f'''\
import sys
sys.path.insert(0, {source!r})
from pymta.programs.inject import run
run(["--etc", {os.path.join(top, "etc")!r}, *sys.argv[1:]])
'''
    path = os.path.join(top, "bin", "sendmail")
    if len(sys.executable) <= _SHEBANG_MAX and " " not in sys.executable:
        script = f"#!{sys.executable} -IS\n{python}"
    else:
        script = f"#!/bin/sh\nexec {_quoted(sys.executable)} -IS {_quoted(path + '.py')} \"$@\"\n"
        durable.replace(path + ".py", python.encode(), 0o644)
    durable.replace(path, script.encode(), 0o755)


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
