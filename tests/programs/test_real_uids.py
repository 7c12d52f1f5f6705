"""Every program as its own account, started by root, and mailboxes of several uids: permissions that one uid never meets."""
import json
import shutil
import subprocess
import sys
import tempfile

import pytest

from tests.realuids import FIRST, ROOT, USERS

pytestmark = pytest.mark.root
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]


def can_unshare() -> bool:
    return shutil.which("unshare") is not None and subprocess.run([*UNSHARE, "mount", "--bind", "/etc/passwd", "/etc/passwd"],
                                                                   capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def found():
    if not can_unshare():
        pytest.skip("no namespaces here: cannot mount other accounts over /etc/passwd")
    with tempfile.TemporaryDirectory(prefix="pymta-uids-", dir="/var/tmp") as directory:
        done = subprocess.run([*UNSHARE, sys.executable, "-m", "tests.realuids", directory], cwd=ROOT, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr[-6000:]
        yield json.loads(done.stdout)


def account(name):
    from pymta import layout
    return FIRST + list(layout.ACCOUNTS).index(name)


def test_each_program_is_its_own_account(found):
    uids = found["uids"]
    assert uids["pymta-qrun"] == [account("pymta-queue")]
    assert uids["pymta-remote"] == [account("pymta-remote")]
    assert uids["pymta-local"] == [0]
    assert set(uids["pymta-smtpd"]) == {0, account("pymta-smtpd"), account("pymta-auth")}
    for name in ("pymta-imapd", "pymta-pop3d"):
        assert {0, account("pymta-login"), account("pymta-auth")} <= set(uids[name])


def test_mail_belongs_to_the_owner_of_its_mailbox(found):
    assert found["inject"] == [0, ""]
    assert found["files"] == {"ann": [[USERS["ann"], 0o600]], "ben": [[USERS["ben"], 0o600]], "vic": [[account("pymta-vmail"), 0o600]]}
    assert found["stamp"], "the kernel's uid stands in the Received field of what a local program handed in"


def test_sessions_run_as_the_owner_of_the_mailbox(found):
    for login, uid, count in (("ann", USERS["ann"], 3), ("vic@virtual.test", account("pymta-vmail"), 1)):
        assert found[f"imap {login}"] == found[f"pop3 {login}"] == count
        assert uid in found[f"imap uids {login}"] and uid in found[f"pop3 uids {login}"]
    assert found["owners"] == {"ann": [USERS["ann"]], "ben": [USERS["ben"]], "vic": [account("pymta-vmail")]}


def test_keys_of_root_serve_daemons_that_are_not_root_and_state_has_one_writer(found):
    """certbot's layout: directories 0700, the key 0600, both root's."""
    assert found["subject"] == [["DNS", "localhost"]]
    assert found["contacts"] == [account("pymta-smtpd"), 0o600, ["ben@example.test"]]


def test_nothing_is_left_and_nothing_went_wrong(found):
    assert found["queue"] == [] and found["statuses"] == [0] * 6
    assert " bug " not in found["log"] and " trouble " not in found["log"], found["log"]
