"""tls_check: every certificate file is read as the daemons read it, and looked at as a client would."""
from __future__ import annotations

import datetime
import os
import tempfile

import pytest
import trustme

from pymta import clock, settings
from pymta.tls import check as tls_check
from tests import certificates

HOST = "mail.example.test"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def good(authority):
    return authority.issue_cert(HOST)


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "pymta.conf").write_text(f"host.name = {HOST}\ntls.certificates =\nhost.spool = {tmp_path}/spool\n")
    return tmp_path


def found(etc, now=None):
    return list(tls_check.findings(settings.read(str(etc)), clock.now() if now is None else now))


def test_a_good_one_is_not_mentioned(etc, good):
    certificates.put(str(etc / "tls"), good)
    os.chmod(etc / "tls" / "key.pem", 0o600)
    assert found(etc) == []
    (one,) = tls_check.look(settings.read(str(etc)))
    assert one.serves(HOST) and not one.serves("example.test") and one.links == 1 and one.days(clock.now()) > 14


@pytest.mark.parametrize("days_before_end, text, warning", [(20, "", True), (5, "ends in 5 days; renew", True), (-3, "ended 3 days ago", False)])
def test_the_end(etc, authority, days_before_end, text, warning):
    end = datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc)
    certificates.put(str(etc / "tls"), authority.issue_cert(HOST, not_after=end))
    os.chmod(etc / "tls" / "key.pem", 0o600)
    rows = found(etc, end.timestamp() - days_before_end * 86400)
    assert [(path, kind) for path, _, kind in rows] == ([(str(etc / "tls/cert.pem"), warning)] if text else [])
    assert not text or text in rows[0][1]


def test_the_key_of_another(etc, authority, good):
    certificates.put(str(etc / "tls"), good)
    (etc / "tls/key.pem").write_bytes(authority.issue_cert(HOST).private_key_pem.bytes())
    os.chmod(etc / "tls/key.pem", 0o600)
    ((path, text, warning),) = found(etc)
    assert path == str(etc / "tls/cert.pem") and "another certificate" in text and not warning


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
@pytest.mark.parametrize("data", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff" * 100])
def test_no_pem(etc, good, name, data):
    certificates.put(str(etc / "tls"), good)
    (etc / "tls" / name).write_bytes(data)
    os.chmod(etc / "tls/key.pem", 0o600)
    ((path, text, warning),) = found(etc)
    assert path == str(etc / "tls/cert.pem") and "; " in text and not warning


def test_a_key_with_a_password(etc, good):
    from cryptography.hazmat.primitives import serialization
    certificates.put(str(etc / "tls"), good)
    key = serialization.load_pem_private_key(good.private_key_pem.bytes(), None)
    (etc / "tls/key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")))
    os.chmod(etc / "tls/key.pem", 0o600)
    ((_, text, _),) = found(etc)
    assert "has a password; take it off" in text


def test_another_name(etc, authority):
    certificates.put(str(etc / "tls"), authority.issue_cert("other.test"))
    os.chmod(etc / "tls/key.pem", 0o600)
    ((_, text, warning),) = found(etc)
    assert f"no certificate is for {HOST}" in text and warning
    certificates.put(str(etc / "tls" / "more"), authority.issue_cert("*.example.test"))
    os.chmod(etc / "tls/more/key.pem", 0o600)
    assert found(etc) == []


def test_a_key_for_everybody(etc, good):
    certificates.put(str(etc / "tls"), good)
    os.chmod(etc / "tls/key.pem", 0o644)
    assert found(etc) == []                             # pytest's own directory is closed to others
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        (etc / "tls").rename(f"{top}/tls")
        (etc / "pymta.conf").write_text(f"host.name = {HOST}\ntls.certificates = {top}\nhost.spool = {etc}/spool\n")
        ((path, text, warning),) = found(etc)
        assert path == f"{top}/tls/key.pem" and "chmod 600" in text and not warning


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read(etc, good):
    certificates.put(str(etc / "tls"), good)
    os.chmod(etc / "tls/key.pem", 0)
    ((_, text, warning),) = found(etc)
    assert "run this as root" in text and warning


def test_what_a_client_has_against_it(etc, authority, good, monkeypatch, tmp_path):
    certificates.put(str(etc / "tls"), good)
    (one,) = tls_check.look(settings.read(str(etc)))
    assert "unable to get local issuer" in tls_check.distrust(one, HOST)
    with open(tmp_path / "ca.pem", "wb") as file:
        file.write(authority.cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert tls_check.distrust(one, HOST) == ""
    assert "mismatch" in tls_check.distrust(one, "other.test").lower()
