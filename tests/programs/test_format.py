"""The upgrade promise: a newer program reads what an older one left, and an older one refuses what a newer one left, and says so."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from pymta import layout
from tests.running import ROOT, new_directory


@pytest.fixture
def tree():
    top = new_directory()
    os.mkdir(f"{top}/etc")
    layout.make_spool(f"{top}/spool", single_uid=True)
    with open(f"{top}/etc/pymta.conf", "w") as file:
        file.write(f"host.name = mx.example.test\nhost.spool = {top}/spool\nhost.run = {top}/run\nsmtp.listen = 127.0.0.1:0\nsmtp.submission =\n"
                   "smtp.submissions =\ntls.self_signed = no\n")
    yield top
    shutil.rmtree(top)


def listing(top: str) -> list[tuple[str, int]]:
    return sorted((os.path.join(path, name), os.lstat(os.path.join(path, name)).st_ino) for path, folders, files in os.walk(top)
                  for name in [*folders, *files])


@pytest.mark.parametrize("program", ["smtpd", "qrun", "local", "remote"])
@pytest.mark.parametrize("found", ["2\n", "17", "two"])
def test_an_older_program_refuses_the_spool_of_a_newer_one(tree, program, found):
    with open(f"{tree}/spool/state/format", "w") as file:
        file.write(found)
    with open(f"{tree}/spool/in/qrun/tmp/something-newer", "w") as file:
        file.write("x")
    before = listing(f"{tree}/spool")
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", f"pymta-{program}"), "--etc", f"{tree}/etc"], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 78, done.stderr
    assert "this one" in done.stderr or "this program reads format 1" in done.stderr, done.stderr
    assert "install that version again" in done.stderr and "start" not in done.stderr.split()
    assert listing(f"{tree}/spool") == before


def test_a_spool_from_before_the_number_is_of_the_first_format_and_gets_it(tree):
    path = f"{tree}/spool/state/format"
    assert open(path).read() == "1\n"
    os.unlink(path)
    assert layout.format_of(f"{tree}/spool") == 1
    layout.make_spool(f"{tree}/spool", single_uid=True)
    assert open(path).read() == f"{layout.FORMAT}\n"
