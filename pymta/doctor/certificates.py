"""certificates: each file that the daemons would use: whether it can be loaded, how long it holds, and who believes it."""
from __future__ import annotations

from collections.abc import Iterator

from pymta.tls import check as tls_check, files as tls_files
from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding

SUBJECT = "certificates"


def look(case: Case) -> Iterator[Finding]:
    settings = case.settings
    for path, text, warning in tls_check.findings(settings, case.now):
        why, _, remedy = text.rpartition("; ")
        yield Finding(SUBJECT, path, why, remedy, NOTE if "run this as root" in text else WARNING if warning else FAULT)
    found = tls_check.look(settings)
    if not found:
        yield Finding(SUBJECT, tls_files.Files(settings).etc, "there is no certificate, so there is no TLS and nobody can hand in mail",
                      "run pymta-setup, or put cert.pem and key.pem there")
    for one in found:
        if one.facts is None or one.wrong:
            continue
        yield Finding(SUBJECT, one.path, f"for {', '.join(sorted(one.facts.names)) or 'no name'}; ends in {one.days(case.now):.0f} days; {one.links} "
                      f"certificate{'s' if one.links != 1 else ''} in its chain", "", NOTE)
        if one.days(case.now) < 0:
            continue                                    # told
        if one.facts.self_signed:
            yield Finding(SUBJECT, one.path, "it is self-signed: mail programs warn their users, other mail hosts take it",
                          f"get one from an authority: certbot certonly --standalone -d {settings.host}", WARNING)
        elif one.serves(settings.host) and (why := tls_check.distrust(one, settings.host)):
            yield Finding(SUBJECT, one.path, f"a client that trusts the authorities of this system refuses it: {why}",
                          "put the whole chain there, the server's own certificate first; an authority of your own must be made known to every client", WARNING)
