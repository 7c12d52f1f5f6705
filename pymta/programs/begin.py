"""pymta-begin: find what the daemons must know before they start.                                pymta-begin(8)

    pymta-begin [--etc DIR]

The name of this host, for those programs that may not ask the network for it; and a certificate, if there is none.  Run by its unit
before the daemons.  Without it each of them finds both by itself: nothing here is needed twice.  Exit status: 0; 73 if a file cannot be made.
"""
from __future__ import annotations

import argparse
import os
import sys

from pymta import durable, hostname, log, settings
from pymta.tls import files as tls_files

EX_CANTCREAT = 73


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="pymta-begin", description="find what the daemons must know before they start")
    parser.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    etc = parser.parse_args(argv).etc
    log.start("pymta-begin")
    try:
        os.makedirs(os.path.dirname(hostname.FOUND), 0o755, exist_ok=True)
        durable.unlink_if_there(hostname.FOUND)         # or we would believe what we said before
        name = hostname.find()
        durable.replace(hostname.FOUND, f"{name}\n".encode(), mode=0o644)
    except OSError as error:
        log.event("trouble", what=f"cannot write {hostname.FOUND}", why=error.strerror or str(error))
        return EX_CANTCREAT
    tls_files.make_first(settings.read(etc))
    return 0


if __name__ == "__main__":
    sys.exit(main())
