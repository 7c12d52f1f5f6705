"""A search that takes a minute in pymta-imapd: others are served meanwhile, and it ends with its client and with the server."""
from __future__ import annotations

import os
import signal
import socket
import time

import pytest

from tests.programs.test_imapd import deliver, wait_for
from tests.running import Sandbox, wait_until

LONG = b"s SEARCH " + b" ".join(b"NOT BODY nowhere%d" % number for number in range(999)) + b"\r\n"


def busy_s(box: Sandbox) -> float:
    """Processor time that the processes of pymta-imapd have used."""
    used = 0
    for pid in box.ends["pids"]["pymta-imapd"]:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                used += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        except FileNotFoundError:                       # a child of the start that has ended
            pass
    return used / os.sysconf("SC_CLK_TCK")


def is_idle(box: Sandbox) -> bool:
    before = busy_s(box)
    time.sleep(1)
    return busy_s(box) - before < 0.3


@pytest.fixture
def box(sandbox_factory) -> Sandbox:
    box = sandbox_factory()
    deliver(box, "alice", *[b"Subject: big\n\n" + b"word of a text " * 10_000 + b"\n"] * 400)
    return box


def test_it_ends_when_the_client_closes(box: Sandbox) -> None:
    other = box.imap()
    other.select()
    sock = socket.create_connection((box.ends["host"], box.ends["imap"]), 20)
    sock.sendall(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n".replace(b"secret", box.user("alice")["password"].encode()) + LONG)
    wait_until(lambda: busy_s(box) > 1)
    assert not is_idle(box)
    assert other.noop()[0] == "OK" and other.search(None, "BODY", '"of a text word"') == ("OK", [b" ".join(b"%d" % number for number in range(1, 401))])
    sock.close()                                        # no reset: to the server it looks like one who says no more
    wait_until(lambda: is_idle(box), 9)                 # asked every 0.2 s, not every 10
    assert other.noop()[0] == "OK"


def test_who_says_no_more_is_told_all_the_same(box: Sandbox) -> None:
    with socket.create_connection((box.ends["host"], box.ends["imap"]), 20) as sock:
        sock.sendall(b"a LOGIN alice %b\r\nb SELECT INBOX\r\nc SEARCH RETURN (COUNT) TEXT word\r\nd LOGOUT\r\n" % box.user("alice")["password"].encode())
        sock.shutdown(socket.SHUT_WR)
        heard = sock.makefile("rb").read()
    assert b"* ESEARCH (TAG \"c\") COUNT 400\r\n" in heard and b"\r\nd OK" in heard


def test_a_server_that_goes_down_does_not_wait_for_it(box: Sandbox) -> None:
    client = box.imap()
    client.select()
    client.send(LONG)
    wait_until(lambda: busy_s(box) > 1)
    for pid in box.ends["pids"]["pymta-imapd"][:1]:
        os.kill(pid, signal.SIGTERM)
    said = wait_for(client, b"BYE")
    assert b"s OK" not in said
