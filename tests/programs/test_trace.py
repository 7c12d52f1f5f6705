"""What a client says is written down where the admin made a directory for it: by account and by address, IMAP and POP3, no secrets."""
from __future__ import annotations

import glob
import imaplib
import os
import poplib
import stat
from pathlib import Path

import pytest

from tests.running import Sandbox, wait_until

PASSWORD = "correct-horse"


@pytest.fixture(scope="module")
def box(module_sandbox_factory) -> Sandbox:
    return module_sandbox_factory(user=[f"{name}:{PASSWORD}" for name in ("alice", "bob", "carol")])


def ask_for(box: Sandbox, name: str) -> Path:
    """Make the directory, as pymta-imapd(8) says."""
    path = Path(box.directory, "run", "trace", name)
    path.parent.mkdir(mode=0o711, exist_ok=True)
    path.mkdir()
    path.chmod(0o1733)
    return path


def ended(path: Path) -> str:
    """A trace that has come to its end."""
    wait_until(lambda: path.exists() and path.read_text().endswith(" - end\n"), 20, lambda: path.read_text() if path.exists() else "no file")
    return path.read_text()


def test_imap_of_one_account(box: Sandbox) -> None:
    directory = ask_for(box, "alice@example.test")
    alice, bob = box.imap("alice", "imaps"), box.imap("bob")
    alice.append("INBOX", "", imaplib.Time2Internaldate(0), b"Subject: private\r\n\r\nwhisper\r\n")
    alice.select()
    alice.fetch("1", "(BODY.PEEK[])")
    alice.logout()
    bob.logout()
    text = ended(directory / "imap-0")
    assert "imaps session of <alice@example.test> from 127.0.0.1, TLSv1." in text.splitlines()[0]
    assert " C: " in text and " APPEND INBOX " in text and "BODY[] {" in text and " S: * BYE" in text and "octets)" in text
    assert PASSWORD not in text and "whisper" not in text and "private" not in text
    status = (directory / "imap-0").stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert glob.glob(f"{box.directory}/run/trace/*/*") == [str(directory / "imap-0")]
    assert "trace file=" in box.log()

    (directory / "literals").touch()
    again = box.imap("alice")
    again.select()
    again.fetch("1", "(BODY.PEEK[])")
    again.logout()
    text = ended(directory / "imap-1")
    assert "whisper" in text and PASSWORD not in text


def test_what_is_compressed_is_written_in_clear(box: Sandbox) -> None:
    import zlib
    directory = ask_for(box, "carol@example.test")
    carol = box.imap("carol")
    carol.send(b"z COMPRESS DEFLATE\r\n")
    assert carol.readline().startswith(b"z OK")
    carol.send((deflate := zlib.compressobj(wbits=-15)).compress(b"y STATUS INBOX (MESSAGES)\r\nx LOGOUT\r\n") + deflate.flush(zlib.Z_SYNC_FLUSH))
    while carol.sock.recv(1000):
        pass
    carol.shutdown()
    text = ended(directory / "imap-0")
    assert " C: y STATUS INBOX (MESSAGES)" in text
    assert ' S: * STATUS "INBOX" (MESSAGES 0)' in text


def test_pop3_of_one_account_until_the_directory_goes(box: Sandbox) -> None:
    box_imap = box.imap("bob")
    box_imap.append("INBOX", "", imaplib.Time2Internaldate(0), b"Subject: private\r\n\r\nwhisper\r\n")
    box_imap.logout()
    directory = ask_for(box, "bob@example.test")

    def read() -> None:
        pop = poplib.POP3(box.ends["host"], box.ends["pop3"])
        pop.user("bob")
        pop.pass_(PASSWORD)
        assert b"whisper" in pop.retr(1)[1]
        pop.quit()
    read()
    text = ended(directory / "pop3-0")
    assert " C: RETR 1" in text and " S: (" in text and " C: QUIT" in text and "whisper" not in text and PASSWORD not in text
    (directory / "pop3-0").unlink()
    directory.rmdir()
    read()
    assert not directory.exists()


def test_a_client_by_its_address_before_and_after_its_login(box: Sandbox) -> None:
    directory = ask_for(box, "127.0.0.1")
    wrong = imaplib.IMAP4(box.ends["host"], box.ends["imap"])
    with pytest.raises(imaplib.IMAP4.error):
        wrong.login("bob", "wrong-battery")
    wrong.login("bob", PASSWORD)
    wrong.logout()
    pop = poplib.POP3(box.ends["host"], box.ends["pop3"])
    pop.user("bob")
    with pytest.raises(poplib.error_proto):
        pop.pass_("wrong-battery")
    pop.quit()
    texts = [ended(directory / name) for name in ("imap-login-0", "imap-0", "pop3-login-0")]
    assert "NO [AUTHENTICATIONFAILED]" in texts[0] and " LOGIN (" in texts[0] and "session of <bob@example.test>" in texts[1]
    assert "-ERR [AUTH]" in texts[2] and " C: USER bob" in texts[2]
    assert not any("battery" in text or PASSWORD in text for text in texts)
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def test_a_file_and_a_directory_have_an_end(box: Sandbox) -> None:
    directory = ask_for(box, "bob@example.test")
    for number in range(50):
        (directory / f"imap-{number}").touch()
    bob = box.imap("bob")
    assert bob.noop()[0] == "OK"
    bob.logout()
    assert len(os.listdir(directory)) == 50 and not any(path.stat().st_size for path in directory.iterdir())
    (directory / "imap-7").unlink()
    bob = box.imap("bob")
    for _ in range(300):
        assert bob.list('"' + "x" * 8000 + '"', "%")[0] == "OK"
    bob.logout()
    wait_until(lambda: "no more is written here" in (directory / "imap-7").read_text(), 20)
    assert 2 << 20 < (directory / "imap-7").stat().st_size < (2 << 20) + 20_000
