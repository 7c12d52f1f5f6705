"""The systemd units give each daemon what it needs and no more: the whole system runs on their rights, and mail goes all the way.

systemd itself is not needed: its User=, CapabilityBoundingSet=, NoNewPrivileges=, ProtectSystem= and ReadWritePaths= are done by
setpriv(1) and mounts, and the places are made from the tmpfiles that are installed.
"""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.realuids import ROOT, USERS

pytestmark = pytest.mark.root
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]


def reason() -> str:
    """Why it cannot be tested here, or an empty text."""
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return "no unshare or no setpriv"
    done = subprocess.run([*UNSHARE, "sh", "-c", "mount --bind /etc /etc && mount -o remount,bind,ro /"], capture_output=True, text=True)
    return f"no namespaces here: {done.stderr}" if done.returncode else ""


@pytest.fixture(scope="module")
def found():
    if os.geteuid() == 0 and reason():
        pytest.skip(reason())
    with tempfile.TemporaryDirectory(prefix="pymta-units-", dir="/var/tmp") as directory:
        done = subprocess.run([*UNSHARE, sys.executable, "-m", "tests.units", directory], cwd=ROOT, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr[-6000:]
        yield json.loads(done.stdout)


def test_mail_goes_all_the_way_on_the_rights_of_the_units(found):
    assert found["inject"] == [0, ""]
    assert {who: rows[0][0] for who, rows in found["files"].items() if who in USERS} == USERS
    for login, count in (("ann", 3), ("vic@virtual.test", 1)):
        assert found[f"imap {login}"] == found[f"pop3 {login}"] == count
    assert found["queue"] == [] and found["statuses"] == [0] * 6
    assert ": bug " not in found["log"] and ": trouble " not in found["log"], found["log"]


def test_only_parents_that_change_uid_are_root(found):
    assert {name for name, uids in found["uids"].items() if 0 in uids} == {"pymta-local", "pymta-smtpd", "pymta-imapd", "pymta-pop3d"}
