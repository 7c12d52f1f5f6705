"""configuration: what `pymta-config check` says, the certificates apart."""
from __future__ import annotations

from collections.abc import Iterator

from pymta import check
from pymta.tls import files as tls_files
from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding

SUBJECT = "configuration"


def look(case: Case) -> Iterator[Finding]:
    certificates = {path for pair in tls_files.Files(case.settings).pairs() for path in pair}
    for one in check.everything(case.settings):
        if one.where in certificates:
            continue                                    # certificates.py says more of them
        why, _, remedy = one.text.rpartition("; ")
        why, remedy = (why, remedy) if why else (one.text, "")
        yield Finding(SUBJECT, one.where, why, remedy, NOTE if "run this as root" in one.text else WARNING if one.warning else FAULT)
