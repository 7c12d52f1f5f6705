"""pymta-qrun: decide what is owed to whom and when it is tried again.                     pymta-qrun(8)"""
from __future__ import annotations

import argparse
import os

from pymta import layout, locks, log, privs, settings
from pymta.formats.transports import Transports
from pymta.notify import notify
from pymta.queue.loop import Loop
from pymta.queue.runner import DROPS, OWN, SMTPD, Runner
from pymta.routing import Router

NAME = "pymta-qrun"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when asked to stop, 69 if another runner works on this spool, 67 without the account pymta-queue."""
    parser = argparse.ArgumentParser(prog=NAME, description="Decide what is owed to whom and when it is tried again.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default %(default)s)")
    options = parser.parse_args(argv)
    log.start(NAME)
    config = settings.read(options.etc)
    for complaint in config.complaints:
        log.event("config", why=complaint)
    try:
        if privs.is_root():
            layout.make_spool(config["host.spool"], single_uid=False)
        privs.become_account("pymta-queue")
        os.umask(0o002)
        os.chdir(config["host.spool"])
        if not privs.is_root():
            layout.heal_spool(".")
        instance = locks.single_instance(os.path.join(config["host.spool"], "state/qrun/lock"))
    except locks.AlreadyRunning as error:
        log.event("trouble", what="another pymta-qrun works on this spool", why=str(error), remedy="stop it first")
        return 69
    except KeyError as error:
        log.event("trouble", what=str(error.args[0]))
        return 67
    except OSError as error:
        log.event("trouble", what=f"cannot work in {config['host.spool']}", why=error.strerror or str(error),
                  remedy="pymta-config places lists what must be there")
        return 73
    runner = Runner(config, Router(config), Transports(os.path.join(config.etc, "transports"), config["remote.smarthost"]).destination)
    loop = Loop({SMTPD: runner.take_smtpd, OWN: runner.take_own, DROPS: runner.take_drops,
                 "report/local/new": lambda names: runner.read_reports("local", names),
                 "report/remote/new": lambda names: runner.read_reports("remote", names)}, runner.look)
    runner.start()
    notify("READY=1")
    log.event("start", pid=os.getpid(), spool=config["host.spool"])
    loop.run(runner.due, runner.next_due)
    log.event("stop")
    instance.close()
    return 0
