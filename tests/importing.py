"""What the tests of pymta.importing share: systems written as texts, put on disk for the real program, and our answers about the outcome."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping

from pymta import settings
from pymta.formats.live import quiet
from pymta.importing.merge import merge
from pymta.importing.report import Import
from pymta.importing.source import Source
from pymta.routing import HOLD, Router
from tests.running import ROOT

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nann:x:1001:1001::/home/ann:/bin/sh\nbob:x:1002:1002::/home/bob:/bin/sh\n"


class Texts(Source):
    """Files that exist in memory alone: path -> octets.  A path that ends in "/" is an empty directory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        self.files = dict(files)

    def read(self, path: str) -> bytes | None:
        return self.files.get(os.path.normpath(path)) if path else None

    def names(self, path: str) -> list[str]:
        inside = os.path.normpath(path).rstrip("/") + "/"
        return sorted({name[len(inside):].split("/")[0] for name in self.files if name.startswith(inside)} - {""})

    def has(self, path: str) -> bool:
        return os.path.normpath(path) in self.files or bool(self.names(path)) or path in self.files


def texts(files: dict[str, str]) -> Texts:
    return Texts({"/etc/passwd": PASSWD} | {path: text.encode("utf-8", "surrogateescape") for path, text in files.items()})


def rows(made: Import, verdict: str) -> dict[str, str]:
    """what -> text of the rows with a verdict."""
    return {row.what: row.text for row in made.rows if row.verdict == verdict}


def place(root: str, files: dict[str, str]) -> None:
    """The files below a directory, which is the root of the other's system."""
    for path, text in files.items():
        real = os.path.join(root, path.lstrip("/"))
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))


def write(made: Import, etc: str) -> None:
    """An import's files in an empty directory."""
    for name, data in merge(made, {}, "test").files.items():
        with open(os.open(os.path.join(etc, name), os.O_CREAT | os.O_WRONLY, 0o640), "wb") as file:
            file.write(data)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The real program."""
    return subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-import"), *words], capture_output=True, text=True, timeout=60)


def run_json(*words: str) -> dict:
    done = run(*words, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def check(etc: str) -> list[str]:
    """The faults and warnings that pymta-config check names."""
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", "pymta-config"), "--etc", etc, "check"], capture_output=True, text=True, timeout=60)
    return done.stdout.splitlines()[:-1]


def who(etc: str, *addresses: str) -> dict[str, list[str] | str]:
    """address -> the recipients mail for it would have, or the SMTP reply that refuses it; what is for a mailbox here ends in the canonical address."""
    router = Router(settings.read(etc), tell=quiet)
    out: dict[str, list[str] | str] = {}
    for address in addresses:
        answer = router.resolve(address.encode())
        out[address] = sorted("hold" if any(name == HOLD for name, _ in one.notes) else one.address.decode() for one in answer) \
            if isinstance(answer, list) else str(answer.reply)
    return out
