"""pymta-tutorial(7) is typed as it stands, by root and by ann, on a machine that has just been set up; every answer is as printed."""
from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host import machine

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(600)]


@dataclass
class Step:
    user: str                                           # root or ann
    command: str
    answer: list[str]


def steps(page: str) -> list[Step]:
    """The commands of a page, in order: what stands in its literal displays behind # and $."""
    out: list[Step] = []
    for block in re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", page, re.M | re.S):
        lines = [line.removeprefix(r"\&").replace(r"\e", "\\") for line in block.splitlines()]
        while lines:
            line = lines.pop(0)
            if line[:2] not in ("# ", "$ "):
                out[-1].answer.append(line)
                continue
            command = line[2:]
            while command.endswith("\\"):
                command += "\n" + lines.pop(0)
            if "<<'EOF'" in command:
                while not command.endswith("\nEOF"):
                    command += "\n" + lines.pop(0)
            out.append(Step("root" if line[0] == "#" else "ann", command, []))
    return out


def pattern(answer: list[str]) -> str:
    """A line that is ... alone stands for any lines, also none; elsewhere it stands for what is in a line."""
    parts = [r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*").replace(r"\ ", r"\s+") + r"\s*\n" for line in answer]
    return "".join(parts)


def test_an_answer_is_told_from_another():
    assert re.fullmatch(pattern(["...", "b ... d", "..."]), "a\nb  c d\n") and not re.fullmatch(pattern(["b ... d"]), "a\nb c d\n")


def test_every_step_of_the_tutorial():
    if machine.reason():
        pytest.skip(machine.reason())
    page = (machine.SOURCE / "man/pymta-tutorial.7").read_text()
    found = steps(page)
    assert len(found) > 20
    with machine.machine(Path(tempfile.mkdtemp(prefix="pymta-host-", dir="/var/tmp"))) as host:
        (host.root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.0.1 mail.example.org mail\n")
        host.copy_in(machine.SOURCE, "/root/pymta")
        host.sh("useradd -m ann")
        for step in found:
            command = step.command.replace("make install", "make -s install DEPS=system")      # no network in there
            if step.user == "root":
                done = host.run("sh", "-c", f"cd /root/pymta\n{command}", check=False, timeout=300)
            else:
                done = host.run("sh", "-c", f"cd\nPATH=$PATH:/usr/sbin\n{command}", user="ann", check=False)
            said = f"{step.command}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
            assert done.returncode == 0, said
            assert re.fullmatch(pattern(step.answer), done.stdout.replace("\r\n", "\n")), f"{said}\nexpected:\n" + "\n".join(step.answer)
