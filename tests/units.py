"""The whole system under what its systemd units say, where there is no systemd: accounts, capabilities, and a file system of which
nothing but ReadWritePaths= can be written, each entry a mount of its own.

Run by tests/programs/test_units.py in namespaces of its own, as root:  python -m tests.units DIR.  Prints one JSON object, like realuids.
"""
from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from pymta import settings                                                       # noqa: E402
from pymta.tls import files as tls_files
from tests import realuids                                                                  # noqa: E402


def unit(name: str) -> dict[str, str]:
    with open(os.path.join(ROOT, "systemd", f"{name}.service")) as file:
        return dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line and not line.startswith("#"))


def here(path: str, directory: str) -> str:
    """A path of a host as it is in the test."""
    for place, its in (("/var/spool/pymta", "spool"), ("/var/mail/pymta", "virtual"), ("/home", "home"), ("/run/pymta", "run"), ("/etc/pymta", "etc")):
        if path == place or path.startswith(place + "/"):
            return os.path.join(directory, its) + path[len(place):]
    raise ValueError(path)


def apply_tmpfiles(directory: str) -> None:
    """What systemd-tmpfiles --create would do."""
    with open(os.path.join(ROOT, "systemd", "pymta.tmpfiles")) as file:
        for line in file:
            if line.startswith("d "):
                _, path, mode, user, group, _ = line.split()
                path = here(path, directory)
                os.makedirs(path, exist_ok=True)
                os.chown(path, pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
                os.chmod(path, int(mode, 8))


def wrap(directory: str) -> str:
    """A directory with a bin/ whose daemons put themselves under their unit first."""
    root = os.path.join(directory, "root")
    os.makedirs(os.path.join(root, "bin"))
    for name in os.listdir(os.path.join(ROOT, "bin")):
        path = os.path.join(root, "bin", name)
        if name in realuids.DAEMONS:
            with open(path, "w") as file:
                file.write(f"import sys\nsys.path.insert(0, {ROOT!r})\nfrom tests.units import outside\noutside({name!r}, {directory!r})\n")
        else:
            os.symlink(os.path.join(ROOT, "bin", name), path)
    return root


def outside(name: str, directory: str) -> None:
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, "-c",
                          f"import sys; sys.path.insert(0, {ROOT!r}); from tests.units import inside; inside({name!r}, {directory!r})"])


def inside(name: str, directory: str) -> None:
    """In a mount namespace of our own: leave writable what the unit says, take its rights, and become the daemon."""
    facts = unit(name)
    for path in facts["ReadWritePaths"].split():
        path = here(path.removeprefix("-"), directory)
        subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True)
    capabilities = ",".join(["-all", *("+" + word.removeprefix("CAP_").lower() for word in facts["CapabilityBoundingSet"].split())])
    words = ["setpriv", "--bounding-set", capabilities, "--inh-caps", "-all", "--no-new-privs"]
    if "User" in facts:
        words += ["--reuid", facts["User"], "--regid", facts["Group"], "--init-groups"]
    os.chdir(here(facts["WorkingDirectory"], directory))
    os.umask(int(facts["UMask"], 8))
    os.execvp(words[0], [*words, sys.executable, os.path.join(ROOT, "bin", name), "--etc", os.path.join(directory, "etc")])


def main(directory: str) -> dict:
    configure = realuids.configure

    def with_places(directory: str):
        done = configure(directory)
        shutil.rmtree(f"{directory}/letsencrypt/live/localhost")   # so pymta-begin makes one
        os.unlink(f"{directory}/ca.pem")
        apply_tmpfiles(directory)
        tls_files.make_first(settings.read(f"{directory}/etc"))
        return done

    realuids.configure = with_places
    realuids.ROOT = wrap(directory)
    return realuids.main(directory)


if __name__ == "__main__":
    try:
        print(json.dumps(main(sys.argv[1])))
    except Exception:
        with open(f"{sys.argv[1]}/log", errors="replace") as log:
            sys.stderr.write(log.read())
        raise
