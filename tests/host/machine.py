"""machine: a Debian with systemd, booted in a container, that tests may install pymta on, reload, and cut the power of.

The root that root.sh made stays as it is: each Machine writes to an overlay of its own.  The network is the machine's own loopback.
"""
from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parent.parent
_BOOT_S = 60
_FIRST_BOOT = ("systemd-firstboot.service", "systemd-networkd-wait-online.service")


def reason() -> str:
    """Why there can be no machine here, or an empty text."""
    if os.geteuid():
        return "needs root"
    missing = [program for program in ("systemd-nspawn", "nsenter") if not shutil.which(program)]
    if missing:
        return f"no {' and no '.join(missing)}: install systemd-container"
    root = os.environ.get("PYMTA_HOST_ROOT")
    if not root or not os.path.exists(os.path.join(root, ".made")):
        return "PYMTA_HOST_ROOT does not name a root made by tests/host/root.sh; `make test-systemd` makes one"
    return ""


class Machine:
    """directory: where the overlay lies, on a real file system; the caller removes it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        for name in ("upper", "work", "root"):
            (directory / name).mkdir()
        layers = f"lowerdir={os.environ['PYMTA_HOST_ROOT']},upperdir={directory}/upper,workdir={directory}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
        for unit in _FIRST_BOOT:
            link = self.root / "etc/systemd/system" / unit
            link.symlink_to("/dev/null")
        (self.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (self.root / "etc/hostname").write_text("mail.example.org\n")

    def boot(self) -> None:
        """Start it and wait until systemd has nothing more to do."""
        self._console = open(self.directory / "console", "ab")
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--directory", str(self.root), "--register=no", "--keep-unit", "--private-network",
             f"--machine=pymta-test-{os.getpid()}", "--hostname=mail.example.org", "--console=pipe", "--link-journal=no",
             "--resolv-conf=off", "--timezone=off"],
            stdin=subprocess.DEVNULL, stdout=self._console, stderr=self._console)
        end = time.monotonic() + _BOOT_S
        while time.monotonic() < end:
            time.sleep(0.1)
            if self._nspawn.poll() is not None:
                break
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
            if not children:
                continue
            self._leader = int(children[0])
            state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded"):
                return
        raise RuntimeError(f"it does not boot: {(self.directory / 'console').read_text(errors='replace')[-3000:]}")

    def run(self, *argv: str, input: str = "", user: str = "", check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A command in the machine, as root or as user.  Raises AssertionError with what it said where it must succeed and does not."""
        become = [f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env"] if user else []
        asked = ["setpriv", "--bounding-set=-sys_time", *become, *argv]         # the clock is not the machine's own
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
        done = subprocess.run(["nsenter", "--target", str(self._leader), "--all", "--wd", *asked], input=input, env=environment,
                              capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """A command in the machine that goes on; its standard output can be read."""
        return subprocess.Popen(["nsenter", "--target", str(self._leader), "--all", "--wd", *argv], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True)

    def sh(self, script: str, **options: object) -> str:
        """What a shell script prints."""
        return self.run("sh", "-ec", script, **options).stdout                 # type: ignore[arg-type]

    def python(self, script: str, **options: object) -> str:
        """What a Python program prints, run by the machine's own interpreter."""
        return self.run("python3", "-c", script, **options).stdout            # type: ignore[arg-type]

    def copy_in(self, source: Path, name: str) -> None:
        """A tree of ours, as it is committed and changed, at name in the machine."""
        target = self.root / name.lstrip("/")
        target.mkdir(parents=True)
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=source, capture_output=True, check=True)
        names = [each for each in listed.stdout.split(b"\0") if each and os.path.exists(os.path.join(os.fsencode(source), each))]
        packed = subprocess.run(["tar", "-cf", "-", "--null", "--files-from=-"], cwd=source, input=b"\0".join(names), capture_output=True, check=True)
        subprocess.run(["tar", "-C", target, "--no-same-owner", "-xf", "-"], input=packed.stdout, check=True)

    def cut_power(self) -> None:
        """Everything in it ends at this instant, with nothing said and nothing synced."""
        assert self._nspawn is not None
        os.kill(self._leader, signal.SIGKILL)           # the first process of its namespace takes all others with it
        self._nspawn.wait(30)
        self._console.close()
        self._nspawn = None

    def remove(self) -> None:
        if self._nspawn is not None:
            self.cut_power()
        subprocess.run(["umount", "--lazy", self.root], check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def machine(directory: Path) -> Iterator[Machine]:
    """One that is booted, and goes at the end."""
    made = Machine(directory)
    try:
        made.boot()
        yield made
    finally:
        made.remove()
