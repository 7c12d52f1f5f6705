"""Dovecot's imap, which speaks on stdin and stdout without a daemon: the other side of the Maildir's tests.

It is looked for in PYMTA_DOVECOT_ROOT (a Debian root made by debootstrap; wants us to be root, for chroot) and else on this host.
"""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

NOBODY = 65534                                          # Dovecot serves no mail to root
BINARY = "/usr/lib/dovecot/imap"
ROOT = os.environ.get("PYMTA_DOVECOT_ROOT", "")


def missing() -> str | None:
    """Why there is no Dovecot to test with; None if there is one."""
    if not os.path.exists(ROOT + BINARY):
        return f"no {ROOT + BINARY}; install dovecot-imapd, or point PYMTA_DOVECOT_ROOT at a Debian root that has it"
    if ROOT and os.getuid() != 0:
        return "a Dovecot in another root wants chroot, and so root"
    return None


needs_dovecot = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@contextlib.contextmanager
def directory() -> Iterator[str]:
    """A new directory that both we and Dovecot reach, as the same uid: root is nobody meanwhile."""
    path = tempfile.mkdtemp(prefix="pymta-test-", dir=(ROOT + "/tmp") if ROOT else None)
    root = os.geteuid() == 0
    if root:
        os.chown(path, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield path
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        shutil.rmtree(path)


class Dovecot:
    """One session of user with a Maildir (more: further settings): command("SELECT INBOX") gives the untagged lines and the tagged one
    (bytes, without CRLF)."""

    def __init__(self, maildir: str, *more: str, user: str = "u") -> None:
        inner = maildir[len(ROOT):] if ROOT else maildir
        numbers = [f"mail_uid={os.geteuid()}", f"mail_gid={os.getegid()}", "first_valid_uid=0", "first_valid_gid=0"]
        settings = [f"mail_location=maildir:{inner}", "log_path=/dev/stderr", *numbers, *more]
        words = [BINARY, "-O", *(word for setting in settings for word in ("-o", setting))]
        self.process = subprocess.Popen((["chroot", ROOT] if ROOT else []) + words, user=os.getuid(), group=os.getgid(),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={"USER": user, "HOME": inner, "PATH": os.environ["PATH"]})
        self.count = 0
        greeting = self._line()
        assert greeting.startswith(b"* PREAUTH"), (greeting, self.process.stderr.read())

    def _line(self) -> bytes:
        line = self.process.stdout.readline()
        while found := re.search(rb"\{(\d+)\}\r\n\Z", line):
            line += self.process.stdout.read(int(found[1])) + self.process.stdout.readline()
        return line.rstrip(b"\r\n")

    def command(self, text: str, literal: bytes | None = None, ok: bool = True) -> list[bytes]:
        self.count += 1
        tag = b"t%d" % self.count
        data = tag + b" " + text.encode()
        if literal is not None:
            data += b" {%d+}\r\n%s" % (len(literal), literal)
        self.process.stdin.write(data + b"\r\n")
        self.process.stdin.flush()
        lines = []
        while line := self._line():
            lines.append(line)
            if line.startswith(tag + b" "):
                assert not ok or line.startswith(tag + b" OK"), lines
                return lines
        raise AssertionError(f"Dovecot hung up: {lines} {self.process.stderr.read()!r}")

    def view(self, mailbox: str = "INBOX") -> tuple[int, int, dict[int, tuple[frozenset[str], bytes]]]:
        """(UIDVALIDITY, UIDNEXT, UID -> (flags, text)) of a mailbox, which stays selected."""
        selected = b"\n".join(self.command(f'SELECT "{mailbox}"'))
        found = {}
        for line in self.command("UID FETCH 1:* (UID FLAGS BODY.PEEK[])"):
            if row := re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\) BODY\[\] \{\d+\}\r\n(.*)\)\Z", line, re.S):
                flags = frozenset(row[2].decode().split()) - {"\\Recent"}
                found[int(row[1])] = flags, row[3].replace(b"\r\n", b"\n")
        number = {key: int(re.search(key + rb" (\d+)", selected)[1]) for key in (b"UIDVALIDITY", b"UIDNEXT")}
        return number[b"UIDVALIDITY"], number[b"UIDNEXT"], found

    def close(self) -> None:
        try:
            self.command("LOGOUT")
        except (AssertionError, BrokenPipeError):
            pass
        self.process.communicate(timeout=30)

    def __enter__(self) -> Dovecot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
