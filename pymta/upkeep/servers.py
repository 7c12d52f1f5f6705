"""servers: the other servers' own programs, which tell what they would say of a Maildir: as whoever runs us, without a daemon or a login.

Dovecot's imap and pop3 take their settings as options, so that no configuration is read; Courier's imapd and courierpop3d take from the
environment what their login would have put there.
"""
from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from pymta.upkeep.talk import Talk, imap_view, pop3_view
from pymta.upkeep.view import View

UIDL_FORMAT = "%08Xu%08Xv"                              # Dovecot's default
DOVECOT_PLACES = ("/usr/lib/dovecot", "/usr/libexec/dovecot", "/usr/local/libexec/dovecot")
COURIER_PLACES = ("/usr/bin", "/usr/lib/courier/courier", "/usr/lib/courier/bin", "/usr/libexec/courier", "/usr/local/libexec/courier")


@dataclass(frozen=True)
class Dovecot:
    """imap, pop3: paths of its programs; pop3 may be "".  uidl_format: its pop3_uidl_format."""

    imap: str
    pop3: str
    uidl_format: str = UIDL_FORMAT

    name = "Dovecot"

    def talk(self, program: str, maildir: str) -> Talk:
        settings = [f"mail_location=maildir:{maildir}", "log_path=/dev/null", f"mail_uid={os.geteuid()}", f"mail_gid={os.getegid()}",
                    "first_valid_uid=0", "first_valid_gid=0", f"pop3_uidl_format={self.uidl_format}", "pop3_no_flag_updates=yes"]
        words = [program, "-O", *(word for setting in settings for word in ("-o", setting))]
        return Talk(words, {"USER": "pymta", "HOME": os.path.dirname(maildir), "PATH": os.defpath})

    def view(self, maildir: str) -> View:
        """What it says of this Maildir, which it works on.  Raises OSError."""
        with self.talk(self.imap, maildir) as talk:
            view = imap_view(talk, modseq=True)
        if self.pop3:
            with self.talk(self.pop3, maildir) as talk:
                view.drop = pop3_view(talk)
        return view


@dataclass(frozen=True)
class Courier:
    """imapd, pop3d: paths of its programs; pop3d may be ""."""

    imapd: str
    pop3d: str

    name = "Courier"

    def talk(self, program: str, maildir: str) -> Talk:
        home, box = os.path.split(maildir)
        environment: Mapping[str, str] = {
            "AUTHENTICATED": "pymta", "HOME": home, "MAILDIR": maildir, "IMAP_KEYWORDS": "1", "IMAP_USELOCKS": "1", "PROTOCOL": "IMAP",
            "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE",
            "IMAP_EMPTYTRASH": "", "IMAP_UMASK": "077", "PATH": os.defpath, "LANG": "C.UTF-8"}
        return Talk([program, box], environment, cwd=home)

    def view(self, maildir: str) -> View:
        with self.talk(self.imapd, maildir) as talk:
            view = imap_view(talk, "INBOX.")
        if self.pop3d:
            with self.talk(self.pop3d, maildir) as talk:
                talk.line()                             # a greeting, which Dovecot leaves to its login
                view.drop = pop3_view(talk)
        return view


def dovecot(places: tuple[str, ...] = DOVECOT_PLACES) -> Dovecot | None:
    """Dovecot as it is installed here; None if it is not."""
    imap, pop3 = _find("imap", places), _find("pop3", places)
    return Dovecot(imap, pop3, _configured_format() or UIDL_FORMAT) if imap else None


def courier(places: tuple[str, ...] = COURIER_PLACES) -> Courier | None:
    imapd = _find("imapd", places)
    return Courier(imapd, _find("courierpop3d", places) or _find("pop3d", places)) if imapd else None


def _find(name: str, places: tuple[str, ...]) -> str:
    paths = (os.path.join(place, name) for place in places)
    return next((path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)), "")


def _configured_format() -> str:
    """What this host's Dovecot is told to show as UIDLs; "" where it cannot be asked."""
    program = shutil.which("doveconf")
    if not program:
        return ""
    try:
        done = subprocess.run([program, "-h", "pop3_uidl_format"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

