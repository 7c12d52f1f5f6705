"""pymta-local: deliver messages into the mailboxes of this host's users.                  pymta-local(8)"""
from __future__ import annotations

import os

from pymta import log
from pymta.daemon import reload
from pymta.accounts import Accounts
from pymta.daemon.notify import notify
from pymta.queue.begin import begin
from pymta.queue.local import TODO, Local
from pymta.queue.loop import Loop

NAME = "pymta-local"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when asked to stop; else as begin() says.  Stays root where it is: its children become the recipients."""
    config, instance = begin(NAME, "Deliver messages into the mailboxes of this host's users.", argv, account="", umask=0o077)
    with instance:
        local = Local(config, Accounts(config))
        loop = Loop({TODO: local.deliver}, local.look)
        local.start()
        notify("READY=1")
        log.event("start", pid=os.getpid(), spool=config["host.spool"])
        another = loop.run(config)
    if another:
        reload.again()
    log.event("stop")
    return 0
