"""The same Maildir to us and to Dovecot's pop3, which speaks on stdin and stdout: sizes, unique ids, order, every message and its top."""
from __future__ import annotations

import os
import subprocess

import pytest

from pymta.drop import open_drop
from pymta.proto.pop3 import Pop3Server, Retrieve
from tests.dovecot import ROOT, directory, needs_dovecot
from tests.oddmail import ODD

pytestmark = needs_dovecot

BINARY = "/usr/lib/dovecot/pop3"
# A first line that is a dot is not here: Dovecot 2.3 sends it without another, and its client takes it for the end.
DOTS = [b"Subject: dots\n\n.\n..\n.x\n", b"Subject: crlf\r\n\r\n.\r\nx\r\n", b"Subject: cr\n\na\rb\r\n\r\r\n", b"Subject: long\n\n" + b"x" * 9000 + b"\n",
        b"Subject: big\n\n" + b"line\n" * 70000]
# Nor is the empty message, of which it says 0 octets and sends an empty line.  What is not ASCII has a surrogate with us: RFC 6858
MAIL = [message for message in ODD if message and message.isascii()] + DOTS


def dovecot(maildir: str, commands: list[bytes], uidl_format: str) -> list[bytes]:
    """The answers of Dovecot: for each command what a client reads."""
    inner = maildir[len(ROOT):] if ROOT else maildir
    settings = [f"mail_location=maildir:{inner}", "log_path=/dev/stderr", f"mail_uid={os.geteuid()}", f"mail_gid={os.getegid()}", "first_valid_uid=0",
                "first_valid_gid=0", f"pop3_uidl_format={uidl_format}", "pop3_no_flag_updates=yes"]
    words = (["chroot", ROOT] if ROOT else []) + [BINARY, *(word for setting in settings for word in ("-o", setting))]
    done = subprocess.run(words, input=b"".join(command + b"\r\n" for command in commands), user=os.getuid(), group=os.getgid(), capture_output=True,
                          env={"USER": "u", "HOME": inner, "PATH": os.environ["PATH"]}, timeout=60)
    assert done.stdout.startswith(b"+OK"), (done.stdout[:200], done.stderr)
    return parted(done.stdout, commands)                # it gives no greeting then


def ours(maildir: str, commands: list[bytes]) -> list[bytes]:
    drop, server = open_drop(maildir), Pop3Server.handed_over(utf8=True)
    try:
        server.logged_in(drop.sizes, drop.uids)
        server.take()
        server.feed(b"".join(command + b"\r\n" for command in commands))
        said = b""
        while (event := server.next_event()) is not None:
            assert isinstance(event, Retrieve)
            with open(drop.open_file(event.index), "rb") as file:
                server.message(file.read())
            said += server.take()
        return parted(said + server.take(), commands)
    finally:
        drop.close()


def parted(said: bytes, commands: list[bytes]) -> list[bytes]:
    """What was said to each command, without the words behind +OK but for STAT's and UIDL's."""
    out = []
    for command in commands:
        line, _, said = said.partition(b"\r\n")
        if not line.startswith(b"+OK"):
            out.append(line[:4])
        elif command.startswith((b"RETR", b"TOP")) or command in (b"LIST", b"UIDL"):
            text, said = (b"", said[3:]) if said.startswith(b".\r\n") else (said[:said.index(b"\r\n.\r\n") + 2], said[said.index(b"\r\n.\r\n") + 5:])
            out.append(text)
        else:
            out.append(line if command.startswith((b"STAT", b"LIST", b"UIDL")) else b"+OK")
    assert not said, said[:200]
    return out


def compare(maildir: str, uidl_format: str) -> list[bytes]:
    """Both answers to everything; the ids as they were given."""
    numbers = range(1, len(MAIL) + 2)
    commands = [b"STAT", b"LIST", b"UIDL", *(b"%s %d" % (verb, n) for n in numbers for verb in (b"LIST", b"UIDL", b"RETR")),
                *(b"TOP %d %d" % (n, lines) for n in numbers for lines in (0, 1, 100)), b"DELE 2", b"DELE 2", b"LIST 2", b"STAT", b"RSET", b"STAT"]
    theirs, mine = dovecot(maildir, commands, uidl_format), ours(maildir, commands)
    different = [(command, them[:300], me[:300]) for command, them, me in zip(commands, theirs, mine) if them != me]
    assert not different, different[:5]
    return mine[2].split(b"\r\n")


def fill(maildir: str) -> list[str]:
    for part in ("cur", "new", "tmp"):
        os.makedirs(f"{maildir}/{part}")
    names = []
    for number, message in enumerate(MAIL, 1):
        names.append(f"{1000000000 + number}.M1P1Q{number}.mail")
        with open(f"{maildir}/cur/{names[-1]}:2,", "wb") as file:
            file.write(message)
    return names


def test_odd_messages() -> None:
    with directory() as path:
        fill(path + "/Maildir")
        compare(path + "/Maildir", "%f")


@pytest.mark.parametrize("head, form", [("", "%f"), (" P%08Xu%08Xv", "%08Xu%08Xv"), (" PUID%u-%v", "UID%u-%v"), (" P%v.%u", "%v.%u")])
def test_ids_and_order_of_an_earlier_server(head: str, form: str) -> None:
    """Keys P and O of dovecot-uidlist, and the format in its first line."""
    with directory() as path:
        names = fill(path + "/Maildir")
        with open(path + "/Maildir/dovecot-uidlist", "w", encoding="ascii") as file:
            file.write(f"3 V1795451104 N{len(names) + 10}{head} G51f45402de68046b364e000083ecc375\n")
            for number, name in enumerate(names, 1):
                keys = f" PUID{number}-77" * (number % 3 == 0) + f" O{100 - number}" * (number % 4 == 0)
                file.write(f"{number}{keys} :{name}\n")
        rows = compare(path + "/Maildir", form)
        assert sum(b"-77" in row for row in rows) == len(names) // 3
