"""pymta-smtpd with many sessions at a time: half a message from each must not fill the memory."""
import os
import socket

from tests.alone import Alone
from tests.running import wait_until

NO_LIMITS = {f"smtp.{who}_{what}": "0" for who in ("client", "network") for what in ("sessions", "connects", "messages")}


def test_in_a_crowd_a_text_waits_on_disk():
    given = {**NO_LIMITS, "smtp.workers": "1"}
    with Alone("pymta-smtpd", ("smtp",), given, {"users": "alice\n"}) as daemon:
        crowd = [socket.create_connection(("127.0.0.1", daemon.port["smtp"]), 20) for _ in range(201)]
        try:
            assert all(sock.recv(100).startswith(b"220 ") for sock in crowd)
            last = crowd[-1]
            for line in (b"EHLO c.example", b"MAIL FROM:<ann@client.example>", b"RCPT TO:<alice@example.test>", b"DATA"):
                last.sendall(line + b"\r\n")
                assert last.recv(1000)[:1] in b"23"
            last.sendall((b"x" * 70 + b"\r\n") * 2000)      # twice what is kept, half of what a session alone may keep
            top = os.path.join(daemon.spool, "in/smtpd/tmp")
            wait_until(lambda: any(names for _, _, names in os.walk(top)))
        finally:
            for sock in crowd:
                sock.close()
        wait_until(lambda: not any(names for _, _, names in os.walk(top)))
