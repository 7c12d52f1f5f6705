"""pymta-qrun: decide what is owed to whom and when it is tried again.                     pymta-qrun(8)"""
from __future__ import annotations

import os

from pymta import log
from pymta.daemon import reload
from pymta.formats.transports import Transports
from pymta.daemon.notify import notify
from pymta.queue.begin import begin
from pymta.queue.drops import DROPS
from pymta.queue.loop import Loop
from pymta.queue.runner import OWN, SMTPD, Runner
from pymta.routing import Router

NAME = "pymta-qrun"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when asked to stop; else as begin() says."""
    config, instance = begin(NAME, "Decide what is owed to whom and when it is tried again.", argv, account="pymta-queue", umask=0o002)
    with instance:
        transports = Transports(os.path.join(config.etc, "transports"), config["remote.smarthost"])
        runner = Runner(config, Router(config), transports.destination)
        loop = Loop({SMTPD: runner.take_smtpd, OWN: runner.take_own, DROPS: runner.drops.take,
                     "report/local/new": lambda names: runner.read_reports("local", names),
                     "report/remote/new": lambda names: runner.read_reports("remote", names)}, runner.look)
        runner.start()
        notify("READY=1")
        log.event("start", pid=os.getpid(), spool=config["host.spool"])
        another = loop.run(config, runner.due, runner.next_due)
    if another:
        reload.again()
    log.event("stop")
    return 0
