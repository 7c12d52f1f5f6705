"""The Debian package: it creates accounts and starts nothing; it is used, upgraded, removed and purged, and no mail goes with it."""
from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import machine
from tests.host.machine import Machine

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]


def build(directory: Path, version: str) -> Path:
    """A package of the tree as it is, with that version; the file."""
    tree = directory / version
    subprocess.run(["git", "clone", "--quiet", machine.SOURCE, tree], check=True)
    changed = subprocess.run(["git", "diff", "HEAD", "--binary"], cwd=machine.SOURCE, capture_output=True, check=True).stdout
    if changed:
        subprocess.run(["git", "apply", "-"], input=changed, cwd=tree, check=True)
    init = tree / "pymta/__init__.py"
    init.write_text(init.read_text().partition("__version__")[0] + f'__version__ = "{version}"\n')
    subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.test", "commit", "-qam", "test"], cwd=tree, check=True)
    done = subprocess.run(["make", "-s", "deb"], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return tree / "dist" / f"pymta_{version}_all.deb"


@pytest.fixture(scope="module")
def packages() -> Iterator[tuple[Path, Path]]:
    missing = [program for program in ("dpkg-buildpackage", "dh", "dh_python3") if not shutil.which(program)]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: install debhelper, dh-python and dpkg-dev")
    with tempfile.TemporaryDirectory(prefix="pymta-deb-", dir="/var/tmp") as directory:
        yield build(Path(directory), "0.8"), build(Path(directory), "0.9")


@pytest.fixture(scope="module")
def host(packages: tuple[Path, Path]) -> Iterator[Machine]:
    if machine.reason():
        pytest.skip(machine.reason())
    directory = Path(tempfile.mkdtemp(prefix="pymta-host-", dir="/var/tmp"))
    with machine.machine(directory) as made:
        (made.root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 mail.example.org mail\n")
        made.sh("useradd -m ann")
        for package in packages:
            shutil.copy(package, made.root / "root")
        yield made


def test_the_package_lints_clean(packages):
    if not shutil.which("lintian"):
        pytest.skip("no lintian")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", packages[0]], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "", done.stdout


def active(host: Machine) -> list[str]:
    return host.sh("systemctl list-units --no-legend --plain --state=active 'pymta*' | awk '{print $1}'").split()


def mail(host: Machine) -> str:
    return host.sh("cat ~ann/Maildir/new/* ~ann/Maildir/cur/* 2>/dev/null || true")


def arrives(host: Machine, text: str) -> None:
    end = time.monotonic() + 20
    while text not in mail(host):
        assert time.monotonic() < end, host.run("journalctl", "--no-pager", "-n", "40").stdout
        time.sleep(0.1)


def test_an_installed_package_creates_accounts_and_starts_nothing(host):
    host.run("dpkg", "-i", "/root/pymta_0.8_all.deb")
    assert active(host) == [] and host.run("systemctl", "is-enabled", "pymta.target", check=False).stdout.strip() == "disabled"
    assert host.sh("getent passwd pymta-smtpd pymta-queue pymta-vmail").count("\n") == 3
    assert host.sh("stat -c '%U:%G %a' /var/spool/pymta/in/smtpd/new").strip() == "pymta-smtpd:pymta-queue 2770"
    assert host.sh("ls -l /usr/sbin/sendmail /usr/lib/sendmail /usr/bin/mailq /usr/bin/newaliases").count("pymta-inject") == 4
    assert host.sh("dpkg-query -W -f '${Provides}' pymta").count("mail-transport-agent")


def test_it_is_enabled_and_used(host):
    host.run("systemctl", "enable", "--now", "pymta.target")
    host.run("/usr/sbin/sendmail", "ann", input="Subject: one\n\nby the package\n")
    arrives(host, "by the package")


def test_an_upgrade_keeps_the_queue_and_restarts_what_runs(host):
    host.sh("echo 'far.test localhost:2599' > /etc/pymta/transports")
    host.run("/usr/sbin/sendmail", "someone@far.test", input="Subject: waits\n\ntext\n")
    end = time.monotonic() + 20
    while "far.test" not in host.run("mailq").stdout:
        assert time.monotonic() < end
        time.sleep(0.1)
    before = host.sh("systemctl show -p MainPID --value pymta-smtpd pymta-qrun").split()
    host.run("dpkg", "-i", "/root/pymta_0.9_all.deb")
    after = host.sh("systemctl show -p MainPID --value pymta-smtpd pymta-qrun").split()
    assert not set(before) & set(after) and "0" not in after, host.run("journalctl", "--no-pager", "-n", "60").stdout
    assert "far.test" in host.run("mailq").stdout
    host.run("/usr/sbin/sendmail", "ann", input="Subject: two\n\nby the newer one\n")
    arrives(host, "by the newer one")


def test_removed_and_purged_it_leaves_queue_and_mail(host):
    host.run("dpkg", "-r", "pymta")
    assert [name for name in active(host) if not name.endswith(".slice")] == []
    assert host.sh("ls /etc/pymta/transports") and "by the newer one" in mail(host)
    assert host.sh("find /var/spool/pymta -name '*.remote' -o -path '*parked*' -type f -o -path '*later*' -type f").strip()
    done = host.run("dpkg", "-P", "pymta")
    assert "queue and mail stay" in done.stderr + done.stdout
    assert host.sh("ls -d /etc/pymta 2>/dev/null || true") == "" and "by the newer one" in mail(host)
    assert host.sh("find /var/spool/pymta -path '*parked*' -type f -o -path '*later*' -type f").strip()
