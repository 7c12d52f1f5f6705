"""pymta-mailq and pymta-why as processes, with no daemon anywhere."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pymta import layout
from pymta.formats import queuefile
from tests import running

ROOT = Path(__file__).resolve().parents[2]
IDS = queuefile.Ids()


@pytest.fixture
def home(tmp_path):
    layout.make_spool(str(tmp_path / "spool"), single_uid=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/pymta.conf").write_text(f"host.spool = {tmp_path}/spool\nhost.name = h.example\n")
    return tmp_path


def put(home: Path, place: str) -> str:
    id = IDS.new(1_700_000_000)
    directory = home / "spool" / place
    directory.mkdir(exist_ok=True)
    envelope = queuefile.Envelope(b"ann@a.example", [queuefile.Recipient(queuefile.REMOTE, b"bob@b.example")], id)
    (directory / f"{id}.remote").write_bytes(queuefile.encode(envelope, b"Subject: x\n\nhello\n"))
    return id


def run(home: Path, program: str, *words: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "bin" / program), "--etc", str(home / "etc"), *words], capture_output=True, text=True,
                          timeout=60, **more)


def test_a_message_is_found_held_released_and_deleted(home):
    id = put(home, "later/20231114T221500")
    assert json.loads(run(home, "pymta-mailq", "--json").stdout)["id"] == id
    assert run(home, "pymta-mailq", "hold", id).returncode == 0
    done = run(home, "pymta-why", id)
    assert done.returncode == 0 and "waits for the admin" in done.stdout
    assert "hello" in run(home, "pymta-mailq", "show", id).stdout
    assert run(home, "pymta-mailq", "release", id).returncode == 0
    assert os.listdir(home / "spool/in/qrun/new") == [f"{id}.remote"]
    assert run(home, "pymta-mailq", "delete", id, "--yes").returncode == 0
    assert run(home, "pymta-why", id).returncode == 69


def test_a_reader_that_has_seen_enough(home):
    for _ in range(50):
        put(home, "hold")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, str(ROOT / "bin/pymta-mailq"), "--etc", str(home / "etc")], stdout=writer, stderr=subprocess.PIPE, timeout=60)
    os.close(writer)
    assert done.returncode == 0 and done.stderr == b""


def test_help(home):
    for program in ("pymta-mailq", "pymta-why"):
        done = run(home, program, "--help")
        assert done.returncode == 0 and "--json" in done.stdout


@pytest.mark.root
def test_a_user_without_rights_is_told_what_is_hidden(home):
    """As nobody: the open intake can be seen, what belongs to the queue cannot."""
    put(home, "hold")
    for directory in [home, *home.parents]:
        if os.stat(directory).st_mode & 0o5 != 0o5 and "pytest" in str(directory):
            os.chmod(directory, 0o755)
    done = run(home, "pymta-mailq", user=65534, group=65534, extra_groups=[])
    assert done.returncode == 77 and "nothing can be seen" in done.stdout
    assert f"cannot look into {home}/spool/hold: Permission denied" in done.stderr and "in/inject" not in done.stderr


def test_it_ends_quietly_when_interrupted(home):
    """Ctrl-C in the middle of a long list: no traceback."""
    for _ in range(200):
        put(home, "hold")
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    child = subprocess.Popen([sys.executable, str(ROOT / "bin/pymta-mailq"), "--etc", str(home / "etc"), "--json"], stdout=writer, stderr=subprocess.PIPE,
                             env={**os.environ, "PYTHONUNBUFFERED": "1"})
    os.close(writer)
    os.read(reader, 1)                                  # it is listing now, and soon waits for the full pipe
    child.send_signal(signal.SIGINT)
    while os.read(reader, 65536):
        pass
    os.close(reader)
    _, errors = child.communicate(timeout=60)
    assert child.returncode in (0, 130) and b"Traceback" not in errors


def test_a_running_queue(sandbox_factory):
    """A mail that nobody takes: seen waiting, held, released, tried again and deleted, under a runner that runs."""
    sandbox = sandbox_factory(transport=["remote.test=127.0.0.1:1"], set=["queue.retry=1h"])
    etc = Path(sandbox.ends["etc"]).parent

    def mailq(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, str(ROOT / "bin/pymta-mailq"), "--etc", sandbox.ends["etc"], *words], capture_output=True, text=True,
                              timeout=60, cwd=etc)

    def row() -> dict:
        rows = [json.loads(line) for line in mailq("--json").stdout.splitlines()]
        return rows[0] if rows else {}

    def waits(attempts: int) -> bool:
        found = row()
        return found.get("state") in ("later", "parked") and found["attempts"] >= attempts

    assert sandbox.sendmail("-f", "alice@example.test", "somebody@remote.test").returncode == 0
    running.wait_until(lambda: waits(1))
    found = row()
    assert found["sender"] == "alice@example.test" and found["owed"][0]["address"] == "somebody@remote.test" and found["owed"][0]["status"][0] == "4"
    assert found["owed"][0]["text"] in mailq().stdout
    assert mailq("hold", found["id"]).returncode == 0 and row()["state"] == "hold"
    assert mailq("release", found["id"]).returncode == 0
    running.wait_until(lambda: row().get("state") in ("later", "parked"))
    tried = row()["attempts"]
    assert mailq("retry", "--all").returncode == 0
    running.wait_until(lambda: waits(tried + 1))
    assert mailq("delete", found["id"], "--yes").returncode == 0
    assert mailq().stdout == "the queue is empty\n" and mailq("show", found["id"]).returncode == 69
