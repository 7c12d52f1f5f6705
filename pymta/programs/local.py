"""pymta-local: deliver messages into the mailboxes of this host's users.                  pymta-local(8)"""
from __future__ import annotations

import argparse
import os

from pymta import layout, locks, log, privs, settings
from pymta.accounts import Accounts
from pymta.notify import notify
from pymta.queue.local import TODO, Local
from pymta.queue.loop import Loop

NAME = "pymta-local"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 when asked to stop, 69 if another one works on this spool, 73 if the spool cannot be used."""
    parser = argparse.ArgumentParser(prog=NAME, description="Deliver messages into the mailboxes of this host's users.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default %(default)s)")
    options = parser.parse_args(argv)
    log.start(NAME)
    config = settings.read(options.etc)
    for complaint in config.complaints:
        log.event("config", why=complaint)
    try:
        if privs.is_root():
            layout.make_spool(config["host.spool"], single_uid=False)
        os.chdir(config["host.spool"])
        if not privs.is_root():
            layout.heal_spool(".")
        os.umask(0o077)
        instance = locks.single_instance(os.path.join(config["host.spool"], "state/local/lock"))
    except locks.AlreadyRunning as error:
        log.event("trouble", what="another pymta-local works on this spool", why=str(error), remedy="stop it first")
        return 69
    except KeyError as error:
        log.event("trouble", what=str(error.args[0]))
        return 67
    except OSError as error:
        log.event("trouble", what=f"cannot work in {config['host.spool']}", why=error.strerror or str(error),
                  remedy="pymta-config places lists what must be there")
        return 73
    local = Local(config, Accounts(config))
    loop = Loop({TODO: local.deliver}, local.look)
    local.start()
    notify("READY=1")
    log.event("start", pid=os.getpid(), spool=config["host.spool"])
    loop.run()
    log.event("stop")
    instance.close()
    return 0
