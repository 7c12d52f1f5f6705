"""begin: what pymta-qrun, pymta-local and pymta-remote do before they work: options, settings, spool, account, lock."""
from __future__ import annotations

import argparse
import os

from pymta import layout, locks, log, privs, settings
from pymta.daemon import background
from pymta.daemon.trim import trim


def begin(name: str, sentence: str, argv: list[str] | None, *, account: str, umask: int) -> tuple[settings.Settings, locks.Instance]:
    """The settings, and the lock that keeps a second one of this program away; the working directory is the spool, and we are
    account where we were root (an empty account: we stay who we are).

    Raises SystemExit: 64 for the command line, 67 without the account, 69 if another one works on this spool, 73 without the spool,
    78 if a newer version of pymta has worked on it.
    """
    parser = argparse.ArgumentParser(prog=name, description=sentence)
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="where pymta.conf lies (default %(default)s)")
    background.option(parser)
    options = parser.parse_args(argv)
    log.start(name)
    config = settings.read(os.path.abspath(options.etc))
    if options.daemon:
        background.detach(name, config)
    for complaint in config.complaints:
        log.event("config", why=complaint)
    spool = config["host.spool"]
    try:
        layout.ready(spool)
        privs.become_account(account)
        os.umask(umask)
        os.chdir(spool)
        trim()
        return config, locks.single_instance(os.path.abspath(f"state/{name.removeprefix('pymta-')}/lock"))
    except locks.AlreadyRunning as error:
        log.event("trouble", what=f"another {name} works on this spool", why=str(error), remedy="stop it first")
        raise SystemExit(69) from None
    except KeyError as error:
        log.event("trouble", what=str(error.args[0]))
        raise SystemExit(67) from None
    except layout.Newer as error:
        log.event("trouble", what=str(error), remedy=layout.Newer.REMEDY)
        raise SystemExit(78) from None
    except OSError as error:
        log.event("trouble", what=f"cannot work in {spool}", why=error.strerror or str(error), remedy="pymta-config places lists what must be there")
        raise SystemExit(73) from None
