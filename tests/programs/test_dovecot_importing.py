"""Our reading of Dovecot's configuration and hashes, against what its own programs say of them."""
from __future__ import annotations

import os
import re
import subprocess

from pymta.login import hashes
from pymta.importing.dovecot import grammar, passwdfile
from pymta.importing.report import Import
from pymta.importing.source import Source
from tests import dovecot
from tests.unit.test_importing_dovecot import OLD

pytestmark = dovecot.needs_dovecot


def said(*words: str) -> str:
    """What one of Dovecot's programs prints; it runs as root, as an admin would run it."""
    before = os.geteuid()
    os.seteuid(os.getuid())
    try:
        return subprocess.run((["chroot", dovecot.ROOT] if dovecot.ROOT else []) + list(words), capture_output=True, text=True, timeout=60).stdout
    finally:
        os.seteuid(before)


def flat(section: grammar.Section, prefix: str = "") -> dict[str, str]:
    out = {prefix + key: one.value for key, one in section.settings.items()}
    for inner in section.sections:
        out |= flat(inner, f"{prefix}{inner.kind} {inner.name}".strip() + "/")
    return out


def test_doveconf_reads_the_same_settings():
    with dovecot.directory() as where:
        inside = where[len(dovecot.ROOT):] if dovecot.ROOT else where
        os.chmod(where, 0o755)
        for path, text in OLD.items():
            if path.startswith("/etc/dovecot/"):
                text = text.replace("/usr/share/dovecot/protocols.d", f"{inside}/protocols.d").replace("</etc/ssl/", f"<{inside}/").replace("auto = subscribe", "auto=subscribe # x")
                real = os.path.join(where, path.removeprefix("/etc/dovecot/"))
                os.makedirs(os.path.dirname(real), exist_ok=True)
                with open(real, "w", encoding="utf-8") as file:
                    file.write(text)
        os.mkdir(f"{where}/protocols.d")
        for name in ("imap", "pop3"):
            with open(f"{where}/protocols.d/{name}.protocol", "w", encoding="ascii") as file:
                file.write(f"protocols = $protocols {name}\n")
        for name in ("mail.pem", "mail.key"):
            with open(f"{where}/{name}", "w", encoding="ascii") as file:
                file.write("x\n")
        theirs = flat(grammar.read(Source(), "doveconf", said("doveconf", "-c", f"{inside}/dovecot.conf", "-n").encode()).top)
        ours = flat(grammar.read(Source(dovecot.ROOT or "/"), f"{inside}/dovecot.conf").top)
    assert theirs, "doveconf said nothing"
    for key, value in theirs.items():
        same = ours.get(key, "").split() == value.replace("30 days", "30d").split()
        assert same or key == "ssl_key", key            # which it hides
    assert {key for key in ours if ours[key] and key not in theirs} <= {
        "listen", "passdb/driver", "userdb/driver", "service imap-login/inet_listener imaps/port", "service auth/unix_listener /var/spool/postfix/private/auth/mode",
        "ssl_min_protocol"}                             # set to what is the default


def test_every_hash_that_dovecot_makes_is_checked_or_refused_and_never_taken_wrongly():
    schemes = said("doveadm", "pw", "-l").split()
    taken = []
    for scheme in schemes:
        made = said("doveadm", "pw", "-s", scheme, "-u", "ann@v.example", "-p", "correct horse", *(["-r", "5"] if scheme == "BLF-CRYPT" else [])).strip()
        if not re.match(r"\{[A-Z0-9.-]+\}.", made):
            continue                                    # it cannot make this one
        ours, out = passwdfile.hash_of(made, "CRYPT"), Import()
        if out.password("users:1", "ann@v.example", ours):
            taken.append(scheme)
            assert hashes.matches(ours, b"correct horse"), (scheme, made, ours)
            assert not hashes.matches(ours, b"wrong horse")
        else:
            assert out.rows[0].verdict == "unsupported" and "pymta-passwd" in out.rows[0].text and made not in str(out.rows)
    assert {"SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "MD5", "SSHA", "SSHA256", "SSHA512", "SHA", "SHA256", "SHA512", "PLAIN", "CLEARTEXT"} <= set(taken), taken


def test_a_bare_digest_is_taken_for_what_it_is():
    for coding in ("", ".HEX", ".B64"):
        for scheme in ("SHA256", "SSHA512", "SHA1"):
            made = said("doveadm", "pw", "-s", scheme + coding, "-p", "correct horse").strip()
            if made:
                assert hashes.matches(passwdfile.hash_of(made, "CRYPT"), b"correct horse"), made
