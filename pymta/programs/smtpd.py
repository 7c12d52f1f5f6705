"""pymta-smtpd: accept mail from the network into the queue.                                pymta-smtpd(8)

The sessions are in smtpd_session.py, what those of one worker share in smtpd_office.py.
"""
from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import lru_cache

from pymta import clock, layout, log, outcome, serve, settings
from pymta.daemon import background
from pymta.login import auth
from pymta.policy import limits, rates, rules as policy
from pymta.policy.gate import Gate
from pymta.programs.smtpd_office import INTAKE, Office, among
from pymta.programs.smtpd_session import NAME, Session
from pymta.queue import committer, intake

EX_NOUSER, EX_OSERR, EX_CONFIG = 67, 71, 78


def service(given: settings.Settings, started: float) -> serve.Service:
    """What serve needs to know."""
    listeners = {"smtp": given["smtp.listen"], "submission": given["smtp.submission"], "submissions": given["smtp.submissions"],
                 "lmtp": given["smtp.lmtp"]}

    rules = policy.Rules.of(given)
    table = rates.Table(given["smtp.workers"]) if rules.count else None     # the workers share its memory
    gates: dict[int, Gate] = {}

    def gate(worker: serve.Worker) -> Gate:
        counts = rates.Counts(table, worker.number, clock.tick) if table else None
        gates[worker.number] = Gate(rules, counts, (*given["smtp.trusted"], *given["smtp.relay_from"]))
        return gates[worker.number]

    def open_worker(worker: serve.Worker):
        office = Office(worker, gate(worker))
        return lambda wire: Session(wire, office)

    def commit(given: settings.Settings, clients: serve.Clients) -> None:
        layout.heal_spool(".")
        published, removed = intake.tidy(INTAKE, started)
        if published or removed:
            log.event("tidy", where=f"{INTAKE}/tmp", published=published, removed=removed)
        committer.helper_main(given, clients, INTAKE)

    helpers: dict[str, tuple[str, Callable[[settings.Settings, serve.Clients], None]]] = {"auth": (auth.ACCOUNT, auth.helper_main), "commit": (NAME, commit)}
    if limits.wanted(given):
        helpers["limits"] = NAME, limits.helper_main
    return serve.Service(NAME, listeners, open_worker, tls_listeners=frozenset(("submissions",)), workers=given["smtp.workers"],
                         sessions_max=given["smtp.sessions_max"], account=NAME, helpers=helpers,
                         behind=lru_cache(1000)(lambda address: among(given["smtp.proxy_from"], address)) if given["smtp.proxy_from"] else None,
                         full=outcome.TOO_MANY_CONNECTIONS.smtp(), gate=lambda worker: gates[worker.number])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog=NAME, description="Accept mail from the network into the queue.")
    parser.add_argument("--etc", default=settings.DEFAULT_ETC, metavar="DIR", help="directory of pymta.conf (default: %(default)s)")
    background.option(parser)
    options = parser.parse_args(argv)
    given = settings.read(os.path.abspath(options.etc))
    log.start(NAME)
    if options.daemon:
        background.detach(NAME, given)
    try:
        layout.ready(given["host.spool"])
        os.chdir(given["host.spool"])
    except KeyError as error:
        log.event("trouble", what=str(error.args[0]))
        return EX_NOUSER
    except layout.Newer as error:
        log.event("trouble", what=str(error), remedy=layout.Newer.REMEDY)
        return EX_CONFIG
    except OSError as error:
        log.event("trouble", what=f"cannot use the spool {given['host.spool']}", file=error.filename, why=error.strerror or str(error),
                  remedy="make the places, see pymta(7)")
        return EX_OSERR
    started = clock.now()                               # not that of a reload: sessions of before are still writing
    return serve.run(lambda settings: service(settings, started), given)
