"""A reload in the middle of a load: nothing is lost, nothing comes twice, and no session is broken."""
from __future__ import annotations

import os
import signal
import time

from tests.load import ALIASES, Load, copies, debris, mark_of, queued, wait_empty
from tests.peer import Peer
from tests.running import Sandbox, wait_until

DAEMONS = ("pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-remote", "pymta-imapd", "pymta-pop3d")
SETTINGS = ["queue.retry=0s,1s,1s,2s,2s", "queue.retry_max=3s", "queue.free_min=0"]


def reload(sandbox: Sandbox, lifetime: str) -> None:
    """Change a setting, tell every daemon, and wait until each has begun to work by it."""
    path = os.path.join(sandbox.ends["etc"], "pymta.conf")
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"queue.lifetime = {lifetime}\n")
    before = sandbox.log().count(" reload")
    mains = {name: pids[0] for name, pids in sandbox.ends["pids"].items() if name in DAEMONS}
    with open(f"/proc/{mains['pymta-smtpd']}/task/{mains['pymta-smtpd']}/children") as file:
        count = len(file.read().split())
    for pid in mains.values():
        os.kill(pid, signal.SIGHUP)
    wait_until(lambda: sandbox.log().count(" reload") >= before + len(DAEMONS), 30, lambda: sandbox.log()[-3000:])
    assert {name: pids[0] for name, pids in sandbox.ends["pids"].items() if name in DAEMONS} == mains
    children = f"/proc/{mains['pymta-smtpd']}/task/{mains['pymta-smtpd']}/children"
    wait_until(lambda: len(open(children).read().split()) == count, 30)         # the old workers have ended with their last sessions


def test_a_reload_under_load_breaks_nothing(sandbox_factory):
    with Peer() as far:
        sandbox = sandbox_factory(set=SETTINGS, transport=[f"remote.test=127.0.0.1:{far.port}"])
        with open(sandbox.ends["etc"] + "/aliases", "w", encoding="utf-8") as file:
            file.write(ALIASES)
        load = Load(sandbox, sessions=6, injectors=2, seed=7, pause_s=0.005)
        time.sleep(1.1)                                 # the aliases are in force
        load.start()
        for number in range(4):
            time.sleep(0.7)
            reload(sandbox, f"{number + 1}d")
        load.stop()
        wait_empty(sandbox)
        found = copies(f"{sandbox.directory}/home")
        remote = {mark_of(mail.data.replace(b"\r\n", b"\n")) for mail in far.mails}
        lost, twice = load.ledger.faults(found, remote=remote.__contains__)
        assert not lost and not twice, (lost[:10], twice[:10])
        assert len(load.ledger.promised) > 100 and load.ledger.promised == set(load.ledger.sent), "somebody's session was broken"
        assert not queued(sandbox.ends["spool"]) and not debris(sandbox.directory)
        assert " trouble " not in sandbox.log() and " bug " not in sandbox.log()
