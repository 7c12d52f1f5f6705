"""Many clients of one user under random commands, with a stranger in the Maildir, never disagree with each other nor with the disk.

PYMTA_SEED names the seed of a run that failed; PYMTA_CROWD_S how long the long form lasts.
"""
from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.crowd import crowd
from tests.daemons import Stage


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
