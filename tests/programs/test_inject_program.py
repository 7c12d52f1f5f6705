"""pymta-inject as a process, with no daemon anywhere."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pymta import layout
from pymta.formats import queuefile

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "bin" / "pymta-inject"


@pytest.fixture
def home(tmp_path):
    """A directory with etc/ and an empty spool."""
    layout.make_spool(str(tmp_path / "spool"), single_uid=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pymta.conf").write_text(f"host.spool = {tmp_path}/spool\nhost.name = h.example\nqueue.free_min = 0\nqueue.size_max = 100K\n"
                                             "local.system_users = no\n")
    return tmp_path


def run(home: Path, *words: str, sent: bytes = b"Subject: x\n\nhello\n", program: Path = PROGRAM, **more) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-IS", str(program), "--etc", str(home / "etc"), *words], input=sent, capture_output=True,
                          timeout=60, **more)


def drops(home: Path) -> list[tuple[queuefile.Envelope, bytes]]:
    """What stands in in/inject/new; nothing may be left in tmp."""
    assert not list((home / "spool/in/inject/tmp").rglob("*.*"))
    found = []
    for path in sorted((home / "spool/in/inject/new").iterdir()):
        fd = os.open(path, os.O_RDONLY)
        assert queuefile.is_whole(fd) and stat.S_IMODE(os.fstat(fd).st_mode) == 0o640 and path.name.endswith(".drop")
        os.close(fd)
        data = path.read_bytes()
        envelope = queuefile.decode(data)
        found.append((envelope, data[envelope.head_octets:]))
    return found


def to(envelope: queuefile.Envelope) -> list[bytes]:
    return [recipient.address for recipient in envelope.recipients]


def test_as_a_script_with_the_system_python(home):
    """The way it is installed: found and run by the kernel, wherever a link to it lies, with no environment at all."""
    link = home / "sendmail"
    link.symlink_to(PROGRAM)
    done = subprocess.run([link, "--etc", str(home / "etc"), "-i", "ann"], input=b"hi\n", capture_output=True, timeout=60, env={}, cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert to(drops(home)[0][0]) == [b"ann@h.example"]


def test_header_recipients_and_the_lone_dot(home):
    done = run(home, "-t", sent=b"To: ann\r\nBcc: secret\r\n\r\none\r\n.\r\ntwo\r\n")
    assert done.returncode == 0
    envelope, message = drops(home)[0]
    assert to(envelope) == [b"ann@h.example", b"secret@h.example"]
    assert message.endswith(b"\n\none\n") and b"secret" not in message and b"\r" not in message


@pytest.mark.parametrize("words, sent, status, says", [
    (("-i",), b"x", 64, "no recipient"), (("-t",), b"x", 64, "To, Cc or Bcc"), (("a b@c",), b"x", 65, "not an address"), (("-f",), b"x", 64, "needs a value"),
    (("ann",), b"x\n" * 60000, 65, "queue.size_max"), (("-bd",), b"", 64, "no daemon"), (("-bz",), b"", 64, "-bz"), (("--what",), b"", 64, "--help"),
])
def test_what_is_refused(home, words, sent, status, says):
    done = run(home, *words, sent=sent)
    assert done.returncode == status and says in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"pymta-inject: ") and not drops(home)


@pytest.mark.parametrize("words", [("-bi",), ("-I",), ("-q",), ("-q15m",)])
def test_nothing_to_do_is_done(home, words):
    done = run(home, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"") and not drops(home)


def test_the_null_sender(home):
    assert run(home, "-f", "", "ann").returncode == run(home, "-f", "<>", "ann").returncode == 0
    assert [envelope.sender for envelope, _ in drops(home)] == [b"", b""]


def test_no_spool_and_no_settings(home):
    (home / "etc/pymta.conf").write_text(f"host.spool = {home}/nowhere\nhost.name = h\n")
    done = run(home, "ann")
    assert done.returncode == 78 and b"nowhere/in/inject" in done.stderr
    (home / "etc/pymta.conf").unlink()
    (home / "etc/pymta.conf").mkdir()
    assert run(home, "ann").returncode == 78


def test_closed_descriptors_do_no_harm(home):
    script = 'exec "$0" -IS "$1" --etc "$2" ann <&- 2>&-'
    done = subprocess.run(["sh", "-c", script, sys.executable, PROGRAM, home / "etc"], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert drops(home)[0][1].endswith(b"\n\n")          # an empty message: standard input was not there


def test_a_umask_does_not_hide_the_drop_from_the_runner(home):
    assert run(home, "ann", umask=0o777).returncode == 0
    assert len(drops(home)) == 1


def test_arguments_and_headers_beyond_ascii(home):
    assert run(home, "-F", "Jörg", "jörg@bücher.example", sent=b"Subject: \xff\n\n\xfe\n").returncode == 0
    envelope, message = drops(home)[0]
    assert to(envelope) == ["jörg@xn--bcher-kva.example".encode()] and b"From: =?utf-8?B?SsO2cmc=?= <" in message and message.endswith(b"\n\n\xfe\n")


def test_many_at_once(home):
    with ThreadPoolExecutor(8) as pool:
        assert {done.returncode for done in pool.map(lambda n: run(home, f"u{n}"), range(24))} == {0}
    found = drops(home)
    assert len({envelope.id for envelope, _ in found}) == 24
    assert {to(envelope)[0] for envelope, _ in found} == {b"u%d@h.example" % n for n in range(24)}


def test_smtp_on_standard_input(home):
    talk = (b"EHLO me\r\nMAIL FROM:<ann@a.example>\r\nRCPT TO:<bob@b.example>\r\nRCPT TO:<postmaster>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"
            b"MAIL FROM:<>\r\nRCPT TO:<carl@c.example>\r\nDATA\r\n\r\n" + b"y" * 70 + b"\r\n.\r\nQUIT\r\n")
    done = run(home, "-bs", sent=talk)
    assert done.returncode == 0 and done.stderr == b""
    assert [line[:4] for line in done.stdout.split(b"\r\n")[:-1] if line[3:4] != b"-"] == [
        b"220 ", b"250 ", b"250 ", b"250 ", b"250 ", b"354 ", b"250 ", b"250 ", b"250 ", b"354 ", b"250 ", b"221 "]
    (one, first), (two, second) = drops(home)
    assert one.sender == b"ann@a.example" and to(one) == [b"bob@b.example", b"postmaster@h.example"] and first.endswith(b"\n\n.dot\n")
    assert two.sender == b"" and to(two) == [b"carl@c.example"] and second.endswith(b"\n" + b"y" * 70 + b"\n")


def test_smtp_refuses_what_the_disk_refuses(home):
    (home / "etc/pymta.conf").write_text(f"host.spool = {home}/spool\nhost.name = h.example\nqueue.free_min = 1000000G\n")
    done = run(home, "-bs", sent=b"EHLO me\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert b"\r\n451 4.3.0 not enough disk space" in done.stdout and not drops(home)


def test_verify(home):
    (home / "etc/users").write_text("ann@h.example\n")
    done = run(home, "-bv", "bob@remote.example")
    assert done.returncode == 0 and done.stdout == b"bob@remote.example... deliverable: relayed to <bob@remote.example>\n"
    done = run(home, "-bv", "nobody-at-all")
    assert done.returncode == 67 and b"undeliverable: 5.1.1" in done.stdout
    assert run(home, "-bv").returncode == 64


def test_the_queue_is_shown(home):
    assert run(home, "ann").returncode == 0
    done = run(home, "-bp")
    assert done.returncode == 0 and b"<ann@h.example>" in done.stdout and b"1 message" in done.stdout
    link = home / "mailq"
    link.symlink_to(PROGRAM)
    assert run(home, program=link).stdout == run(home, "-bp").stdout


def test_version_and_help(home):
    assert b"usage:" in run(home, "--help").stdout and run(home, "--version").stdout.startswith(b"pymta-inject ")
