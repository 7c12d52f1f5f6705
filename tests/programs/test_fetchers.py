"""Programs of others fetch mail from us by POP3 and IMAP, over STARTTLS and implicit TLS: each message whole and once.

Each is run for real where it is installed; the certificate is checked against the sandbox's own authority.
"""
from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fetchers import FETCHERS, Door, Failed, Fetcher, Way
from tests.running import Sandbox, new_directory

MAIL = [
    b"From: ann@a.example\nSubject: plain\n\nhello\n",
    b"From: ann@a.example\nSubject: dots\n\n.\n..\n.first\n\n. \n",
    "From: ann@a.example\nSubject: high\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße, 日本語\n".encode(),
    b"From: ann@a.example\nSubject: long\n\n" + b"x" * 900 + b"\n" + b"y" * 998 + b"\nend\n",
    b"From: ann@a.example\nSubject: From\n\nFrom the start\n>From quoted\n\n\nlast\n",
    b"From: ann@a.example\nSubject: big\n\n" + b"".join(b"%d lines of this\n" % n for n in range(60000)),
]
USERS, FILES = itertools.count(), itertools.count()


def each():
    return pytest.mark.parametrize(("fetcher", "way"), [pytest.param(fetcher, way, id=f"{fetcher.name}-{way}") for fetcher in FETCHERS for way in fetcher.ways])


def need(fetcher: Fetcher) -> None:
    if reason := fetcher.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=[f"user{number}:secret" for number in range(2 * sum(len(fetcher.ways) for fetcher in FETCHERS))])


@pytest.fixture
def user(box: Sandbox) -> str:
    """A user of this test alone."""
    return f"user{next(USERS)}"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that a fetcher may write in, whoever it is run as."""
    path = new_directory()
    yield Path(path)
    shutil.rmtree(path)


def door(box: Sandbox, user: str, way: Way, home: Path, password: str = "secret") -> Door:
    return Door(box.ends[way.listener], user, password, box.ends["ca_file"], home)


def deliver(box: Sandbox, user: str, *messages: bytes) -> str:
    """Put messages into new/; the name of the last one."""
    maildir, name = Path(box.user(user)["maildir"]), ""
    owner = maildir.stat()
    for message in messages:
        name = f"{int(time.time())}.M{next(FILES):06}P{os.getpid()}.host"
        path = maildir / "tmp" / name
        path.write_bytes(message)
        os.chown(path, owner.st_uid, owner.st_gid)
        path.rename(maildir / "new" / name)
    return name


def content(message: bytes) -> tuple[bytes, bytes]:
    """(Subject, body): what no fetcher may touch."""
    header, _, body = message.partition(b"\n\n")
    return next(line for line in header.split(b"\n") if line.startswith(b"Subject: ")), body


@each()
def test_each_message_is_fetched_whole_and_once(box: Sandbox, user: str, fetcher: Fetcher, way: Way, home: Path) -> None:
    need(fetcher)
    at = door(box, user, way, home)
    deliver(box, user, *MAIL)
    fetcher.fetch(way, at, True)
    assert sorted(map(content, fetcher.got(at))) == sorted(map(content, MAIL))
    assert len(box.inbox(user)) == len(MAIL)
    late = b"From: ann@a.example\nSubject: late\n\nlate\n"
    deliver(box, user, late)
    fetcher.fetch(way, at, True)
    assert sorted(map(content, fetcher.got(at))) == sorted(map(content, [*MAIL, late]))
    name = deliver(box, user, MAIL[0])
    fetcher.fetch(way, at, False)                       # what is fetched now goes from the server
    assert sorted(map(content, fetcher.got(at))) == sorted(map(content, [*MAIL, late, MAIL[0]]))
    assert not any(name in path for path in box.inbox(user))
    assert " bug " not in box.log()


@each()
def test_a_wrong_password_fetches_nothing(box: Sandbox, user: str, fetcher: Fetcher, way: Way, home: Path) -> None:
    need(fetcher)
    deliver(box, user, MAIL[0])
    at = door(box, user, way, home, password="wrong")
    try:
        fetcher.fetch(way, at, True)
    except Failed:
        pass
    assert fetcher.got(at) == [] and len(box.inbox(user)) == 1
    assert f"service={way.protocol} user=<{user}> why=wrong-password" in box.log()
