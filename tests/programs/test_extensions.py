"""What RFC 3461, 6152 and 6531 add goes through the whole system as it came: by submission in, to hosts that have it and hosts that do not."""
from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator

import pytest

from tests.peer import Peer
from tests.running import Sandbox, wait_until

FULL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000", "DSN")
SOME = ("PIPELINING", "8BITMIME", "SIZE 10000000")
EIGHT = "Subject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n" \
        "Message-ID: <1@client.test>\r\nDate: Mon, 23 Nov 2026 17:00:00 +0000\r\nFrom: alice@example.test\r\n\r\n" \
        "grüße\r\n.\r\n.. \r\n\ttab  \r\n\r\n"
UNICODE = EIGHT.replace("Subject: eight", "Subject: grüße")


class System:
    """A sandbox and its peers; each test asks only for what came since it began."""

    def __init__(self, sandbox: Sandbox, full: Peer, some: Peer, bare: Peer) -> None:
        self.sandbox, self.full, self.some, self.bare = sandbox, full, some, bare

    def send(self, recipients: list[str], data: str, mail: list[str] = [], rcpt: list[str] = [], sender: str = "alice@example.test") -> None:
        with self.sandbox.smtp() as client:
            client.ehlo()
            for code, said in (client.mail(sender, mail), *(client.rcpt(recipient, rcpt) for recipient in recipients)):
                assert code == 250, said
            code, said = client.data(data.encode())
            assert code == 250, said

    def lines(self, peer: Peer, verb: str, recipient: str) -> list[str]:
        """What was said of the transaction to this recipient that starts with verb."""
        lines = [line for talk in peer.talks for line in talk.lines]
        at = next(number for number, line in enumerate(lines) if line.startswith(f"RCPT TO:<{recipient}>"))
        start = max(number for number in range(at) if lines[number].startswith("MAIL "))
        return [line for line in lines[start:at + 1] if line.startswith(verb)]

    def came(self, peer: Peer, recipient: str) -> bytes:
        """The message as it came, dots taken off, without the Received fields of ours."""
        wait_until(lambda: any(recipient in mail.recipients for mail in peer.mails), 30, lambda: self.sandbox.log()[-4000:])
        mail, = [mail for mail in peer.mails if recipient in mail.recipients]
        lines = [line[1:] if line.startswith(b".") else line for line in mail.data.splitlines(keepends=True)]
        while lines[0].startswith((b"Received:", b"\t", b" ")):
            del lines[0]
        return b"".join(lines)

    def told(self, mark: str) -> dict[str, str]:
        """The fields about the recipient in the report that speaks of mark."""
        found: list[bytes] = []

        def there() -> bool:
            found[:] = [data for path in self.sandbox.inbox() if mark.encode() in (data := _read(path))]
            return bool(found)
        wait_until(there, 30, lambda: self.sandbox.log()[-4000:])
        part = list(email.message_from_bytes(found[0], policy=email.policy.SMTPUTF8).walk())[2]
        raw = found[0].partition(b"Content-Description: Delivery report\n")[2].partition(b"\n--=_")[0].decode()
        fields = [line.partition(": ") for line in raw.replace("\n    ", " ").split("\n")]
        return {"type": part.get_content_type(), **{name: value for name, _, value in fields}}


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def system(module_sandbox_factory) -> Iterator[System]:
    with Peer(extensions=FULL) as full, Peer(extensions=SOME) as some, Peer(extensions=()) as bare:
        yield System(module_sandbox_factory(relay_from="127.0.0.0/8", transport=[
            f"full.test=127.0.0.1:{full.port}", f"some.test=127.0.0.1:{some.port}", f"xn--bcher-kva.test=127.0.0.1:{some.port}",
            f"bare.test=127.0.0.1:{bare.port}"]), full, some, bare)


def test_everything_is_passed_on_to_a_host_that_has_it(system: System) -> None:
    system.send(["bob@full.test"], UNICODE, ["BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ+2B314"],
                ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Bob+2Bx@full.test"])
    assert system.came(system.full, "bob@full.test") == UNICODE.encode()
    mail, rcpt = system.lines(system.full, "", "bob@full.test")
    assert {"BODY=8BITMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ+2B314"} <= set(mail.split())
    assert rcpt == "RCPT TO:<bob@full.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2Bx@full.test"


def test_nothing_is_added_that_nobody_asked_for(system: System) -> None:
    system.send(["carl@full.test"], "Subject: plain\r\nMessage-ID: <2@client.test>\r\n\r\nhello\r\n")
    system.came(system.full, "carl@full.test")
    mail, rcpt = system.lines(system.full, "", "carl@full.test")
    assert [word.partition("=")[0] for word in mail.split()] == ["MAIL", "FROM:<alice@example.test>", "SIZE"] and rcpt == "RCPT TO:<carl@full.test>"


def test_a_host_without_dsn_has_its_receipt_written_here(system: System) -> None:
    system.send(["dora@some.test"], EIGHT, ["BODY=8BITMIME", "ENVID=dora's"], ["NOTIFY=SUCCESS"])
    assert system.came(system.some, "dora@some.test") == EIGHT.encode()
    assert system.lines(system.some, "RCPT", "dora@some.test") == ["RCPT TO:<dora@some.test>"]
    fields = system.told("rfc822; dora@some.test")
    assert fields["Action"] == "relayed" and fields["Original-Envelope-Id"] == "dora's" and fields["Status"] == "2.0.0"
    assert fields["Remote-MTA"] == "dns; [127.0.0.1]" and fields["Diagnostic-Code"] == "smtp; 250 2.0.0 taken"


def test_a_header_beyond_ascii_is_returned_where_it_cannot_go(system: System) -> None:
    system.send(["emil@some.test"], UNICODE, ["SMTPUTF8", "BODY=8BITMIME"])
    fields = system.told("rfc822; emil@some.test")
    assert fields["Action"] == "failed" and fields["Status"] == "5.6.7" and fields["type"] == "message/delivery-status"


def test_smtputf8_that_is_not_needed_stops_nothing(system: System) -> None:
    system.send(["fritz@some.test"], EIGHT, ["SMTPUTF8", "BODY=8BITMIME"])
    assert system.came(system.some, "fritz@some.test") == EIGHT.encode()
    assert "SMTPUTF8" not in system.lines(system.some, "MAIL", "fritz@some.test")[0]


def test_an_address_beyond_ascii_goes_where_it_can(system: System) -> None:
    system.send(["jörg@full.test", "jörg@some.test"], EIGHT.replace("eight", "both"), ["SMTPUTF8", "BODY=8BITMIME"])
    system.came(system.full, "jörg@full.test")
    assert "SMTPUTF8" in system.lines(system.full, "MAIL", "jörg@full.test")[0].split()
    fields = system.told("utf-8; jörg@some.test")
    assert fields["type"] == "message/global-delivery-status" and fields["Status"] == "5.6.7"


def test_a_domain_beyond_ascii_needs_no_smtputf8(system: System) -> None:
    system.send(["gerd@bücher.test"], EIGHT.replace("eight", "books"), ["SMTPUTF8", "BODY=8BITMIME"])
    assert system.came(system.some, "gerd@xn--bcher-kva.test") == EIGHT.replace("eight", "books").encode()


def test_a_delivery_here_is_told(system: System) -> None:
    system.send(["bob@example.test"], EIGHT.replace("eight", "home"), ["BODY=8BITMIME"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;Robert@example.test"])
    fields = system.told("rfc822; Robert@example.test")
    assert fields["Action"] == "delivered" and fields["Final-Recipient"] == "rfc822; bob@example.test"
    mail, = [data for path in system.sandbox.inbox("bob") if b"Subject: home" in (data := _read(path))]
    assert mail.endswith(EIGHT.replace("eight", "home").replace("\r\n", "\n").encode())


@pytest.mark.parametrize("lines", [1, 20_000])
def test_a_host_without_8bitmime_gets_the_same_in_7_bit(system: System, lines: int) -> None:
    """RFC 6152 §3."""
    data = EIGHT + "schöne grüße\r\n" * lines
    system.send([f"hans{lines}@bare.test"], data, ["BODY=8BITMIME"])
    came = system.came(system.bare, f"hans{lines}@bare.test")
    assert came.isascii() and b"BODY" not in system.lines(system.bare, "MAIL", f"hans{lines}@bare.test")[0].encode()
    before, after = (email.message_from_bytes(each) for each in (data.encode(), came))
    assert after["Content-Transfer-Encoding"] == "quoted-printable" and after.get_payload(decode=True) == before.get_payload(decode=True)
    assert [(name, value) for name, value in after.items() if name != "Content-Transfer-Encoding"] == \
        [(name, value) for name, value in before.items() if name != "Content-Transfer-Encoding"]


def test_what_has_no_7_bit_form_is_returned(system: System) -> None:
    system.send(["ida@bare.test"], EIGHT.replace("Transfer-Encoding: 8bit", "Transfer-Encoding: base64"), ["BODY=8BITMIME"])
    assert system.told("rfc822; ida@bare.test")["Status"] == "5.6.3"


def test_what_is_signed_goes_as_it_is(system: System) -> None:
    part = EIGHT.partition("MIME-Version: 1.0\r\n")[2]
    data = "Subject: signed\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n" + part + "\r\n--b--\r\n"
    system.send(["karl@bare.test"], data, ["BODY=8BITMIME"])
    assert system.came(system.bare, "karl@bare.test").endswith(data.partition("--b")[2].encode())
    assert "goes with 8-bit octets to 127.0.0.1" in system.sandbox.log()


def test_a_local_program_asks_for_a_receipt(system: System) -> None:
    ran = system.sandbox.sendmail("-f", "alice@example.test", "-N", "success,failure", "-V", "job 7", "lars@some.test", "lena@full.test",
                                  message="Subject: from a program\n\ndone\n")
    assert ran.returncode == 0, ran.stderr
    fields = system.told("rfc822; lars@some.test")
    assert fields["Action"] == "relayed" and fields["Original-Envelope-Id"] == "job 7"
    system.came(system.full, "lena@full.test")
    assert system.lines(system.full, "", "lena@full.test")[-1] == "RCPT TO:<lena@full.test> NOTIFY=SUCCESS,FAILURE"
    assert "ENVID=job+207" in system.lines(system.full, "MAIL", "lena@full.test")[0].split()
