"""make run and make install, as somebody who has just cloned the project would use them."""
from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests.running import ROOT, START_S, Sandboxes, new_directory, wait_until

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not here")


def commands(text: str) -> list[str]:
    """The shell commands that --watch prints, whole lines."""
    joined = text.replace("\\\n", "")
    return [line.strip() for line in joined.split("\n") if re.match(r"  (printf|curl|ls) ", line)]


@pytest.fixture
def directory():
    with Sandboxes() as sandboxes:
        yield sandboxes.new_directory()


def make_run(directory: str, base: int, out) -> subprocess.Popen:
    """Its own process group, as a terminal gives it: Ctrl-C goes to all of it."""
    return subprocess.Popen(["make", "-s", "run", "-o", ".venv/.run", f"PY={sys.executable}", f"SANDBOX={directory}", f"PORTS={base}"], cwd=ROOT,
                            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)


def ctrl_c(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGINT)
    process.wait(15)


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")
def test_what_make_run_says_works_and_the_second_run_finds_the_mail(directory):
    base = 12000 + os.getpid() % 1200 * 10
    shown = os.path.join(directory, "shown")

    def text() -> str:
        with open(shown) as file:
            return file.read()

    with open(shown, "w") as out:
        first = make_run(directory, base, out)
        try:
            wait_until(lambda: "What happens:" in text() or first.poll() is not None, START_S, text)
            if "cannot read" in text() and "(Python)" in text():
                pytest.skip("no Python that another uid may read")
            typed = commands(text())
            assert len(typed) == 7
            for command in typed[:3]:
                assert shell(command) == "", command
            boxes = [os.path.join(directory, "home", name, "Maildir", "new") for name in ("alice", "bob")]
            wait_until(lambda: [len(os.listdir(box)) for box in boxes] == [2, 1], 30, text)
            assert "MESSAGES 2" in shell(typed[3])
            assert "It works." in shell(typed[4]) and "It works." in shell(typed[5])
            wait_until(lambda: text().count(" deliver ") >= 3, 10, text)
            assert re.search(r"^\d\d:\d\d:\d\d smtpd +accept +id=", text(), re.M), text()
        finally:
            ctrl_c(first)
    assert not os.path.exists(os.path.join(directory, "endpoints.json"))
    with open(shown, "w") as out:
        second = make_run(directory, base, out)
        try:
            wait_until(lambda: "What happens:" in text(), START_S, text)
            assert "MESSAGES 2" in shell(typed[3])
        finally:
            ctrl_c(second)


def shell(command: str) -> str:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout + done.stderr


def make(*words: str) -> None:
    done = subprocess.run(["make", "-s", *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def files(directory: str) -> list[str]:
    return sorted(os.path.relpath(os.path.join(top, name), directory) for top, _, names in os.walk(directory) for name in names)


def test_make_install_overwrites_no_configuration_and_uninstall_takes_everything_else():
    stage = new_directory()
    try:
        kept = os.path.join(stage, "etc", "pymta", "pymta.conf")
        os.makedirs(os.path.dirname(kept))
        with open(kept, "w") as file:
            file.write("host.name = kept.example.test\n")
        os.makedirs(os.path.join(stage, "usr", "bin"))
        os.symlink("/usr/bin/mailq.postfix", os.path.join(stage, "usr", "bin", "mailq"))
        words = [f"DESTDIR={stage}", "PREFIX=/usr", "DEPS=system", f"PYTHON={sys.executable}"]
        old = os.path.join(stage, "usr", "lib", "pymta", "pymta", "of_an_older_version.py")
        os.makedirs(os.path.dirname(old))
        open(old, "w").close()
        make("install", "SENDMAIL=yes", *words)
        assert not os.path.exists(old)
        with open(kept) as file:
            assert file.read() == "host.name = kept.example.test\n"
        for link in ("sbin/sendmail", "lib/sendmail", "bin/newaliases"):
            assert os.readlink(os.path.join(stage, "usr", link)) == "/usr/bin/pymta-inject"
        assert os.readlink(os.path.join(stage, "usr/bin/mailq")) == "/usr/bin/mailq.postfix"
        with open(os.path.join(stage, "usr/bin/pymta-inject")) as file:
            assert file.readline() == f"#!{sys.executable} -IS\n"
        for path in ("usr/share/man/man1/pymta-sandbox.1", "usr/share/man/man5/pymta.conf.5", "usr/lib/sysusers.d/pymta.conf",
                     "usr/lib/tmpfiles.d/pymta.conf", "etc/pymta/pymta.conf.example"):
            assert os.path.getsize(os.path.join(stage, path))
        with open(os.path.join(stage, "usr/lib/systemd/system/pymta-smtpd.service")) as file:
            assert "\nExecStart=/usr/sbin/pymta-smtpd\n" in file.read()
        make("uninstall", *words)
        assert files(stage) == ["etc/pymta/pymta.conf", "usr/bin/mailq"]
    finally:
        shutil.rmtree(stage)


def test_what_was_installed_runs_without_the_checkout():
    prefix = new_directory()
    try:
        make("install", f"PREFIX={prefix}", f"SYSCONFDIR={prefix}/etc", f"UNITDIR={prefix}/units", "DEPS=system", "ACTIVATE=no", f"PYTHON={sys.executable}")
        with Sandboxes() as sandboxes:
            one = sandboxes.start(program=os.path.join(prefix, "bin", "pymta-sandbox"))
            for pids in one.ends["pids"].values():
                with open(f"/proc/{pids[0]}/cmdline") as file:
                    assert f"\0{prefix}/sbin/pymta-" in file.read()
            with open(one.ends["sendmail"]) as file:
                assert ROOT not in file.read().replace(sys.executable, "")
            assert one.sendmail("alice").returncode == 0
            one.wait_mail(1)
    finally:
        shutil.rmtree(prefix)
