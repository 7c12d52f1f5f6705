"""Many clients of one user under random commands, with a stranger in the Maildir, never disagree with each other nor with the disk.

PYMTA_SEED names the seed of a run that failed; PYMTA_CROWD_S how long the long form lasts.
"""
from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crowd import crowd
from tests.daemons import ROOT, Stage, free_ports
from tests.programs.test_sessions import AUTH_UID, LAUNCH, LOGIN_UID, processes


@pytest.fixture
def seed(capsys) -> int:
    seed = int(os.environ.get("PYMTA_SEED") or random.randrange(1 << 32))
    print(f"PYMTA_SEED={seed}")                         # shown with a failure
    return seed


@pytest.fixture
def stage():
    with Stage(imap_sessions_per_user=100) as stage:
        yield stage
        stage.stop()
        assert " bug " not in stage.log() and "Traceback" not in stage.log(), stage.log()


def _maildir(stage: Stage) -> Path:
    maildir = stage.user("ann", "pw")
    stage.fill(maildir, {f"cur/{1000000000 + n}.M{n}P1Q1.mail:2,": b"Subject: %d\n\nx\n" % n for n in range(20)})
    stage.start("pymta-imapd", {"imap.listen": "imap", "imap.listen_tls": "imaps"})
    return maildir


def test_a_crowd_for_seconds(stage: Stage, seed: int) -> None:
    maildir = _maildir(stage)
    done = crowd(stage.ports["imap"], "ann", "pw", maildir, seed=seed, clients=6, rounds=3, round_s=1.0)
    assert done.total() > 100, done


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_crowd_for_minutes(stage: Stage, seed: int) -> None:
    maildir = _maildir(stage)
    rounds = int(float(os.environ.get("PYMTA_CROWD_S", "300")) / 5)
    done = crowd(stage.ports["imap"], "ann", "pw", maildir, seed=seed, clients=12, rounds=rounds, round_s=5.0)
    print(done)


@pytest.mark.root
def test_a_crowd_whose_sessions_are_a_process_of_the_mailbox_uid(seed: int) -> None:
    uid = 21003
    with Stage(imap_sessions_per_user=100) as stage:
        stage.user("ann", "pw")
        maildir = stage.mail / "ann" / "Maildir"
        stage.fill(maildir, {f"cur/{1000000000 + n}.M{n}P1Q1.mail:2,": b"Subject: %d\n\nx\n" % n for n in range(20)})
        subprocess.run(["chown", "-R", f"{uid}:{uid}", maildir.parent], check=True)
        for path in (stage.root, stage.etc, stage.mail):
            path.chmod(0o755)
        (stage.etc / "users").write_text(f"ann@example.test:{uid}:{uid}:{maildir.parent}\n")
        for name, group in (("passwords", AUTH_UID), ("tls/key.pem", LOGIN_UID)):
            (stage.etc / name).chmod(0o640)
            os.chown(stage.etc / name, 0, group)
        stage.ports["imap"], tls = free_ports(2)
        stage.settings.update({"imap.listen": f"127.0.0.1:{stage.ports['imap']}", "imap.listen_tls": f"127.0.0.1:{tls}"})
        (stage.etc / "pymta.conf").write_text("".join(f"{name} = {value}\n" for name, value in stage.settings.items()))
        with open(stage.log_path, "ab") as log:
            process = subprocess.Popen([sys.executable, "-c", LAUNCH.replace("pop3d", "imapd"), str(stage.etc)], cwd=ROOT,
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stage._processes.append(process)
        stage.wait(lambda: "pymta-imapd: start" in stage.log() or process.poll() is not None)
        done = crowd(stage.ports["imap"], "ann", "pw", maildir, seed=seed, clients=6, rounds=2, round_s=1.0)
        assert done.total() > 50, done
        assert uid in processes(process.pid).values()
        stage.stop()
        assert " bug " not in stage.log(), stage.log()
