"""certificate: a test authority and a server certificate signed by it, good for loopback and nothing else.

DIR/etc/tls/ca.pem, ca.key, cert.pem (the chain), key.pem.  Kept over restarts while they are valid for the names that are asked for, so a
client that was told to trust ca.pem goes on trusting it.
"""
from __future__ import annotations

import datetime
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from pymta.tls.make import Pair, alternatives, builder, name, new_key, save, usage

_CA_DAYS, _DAYS, _SPARE_DAYS = 3650, 397, 30           # clients refuse certificates that live for more than 398 days


def ensure(folder: str, names: list[str]) -> None:
    """Make what is missing, about to end, or for other names.  names: host names and addresses, as text."""
    authority = _load(os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key"))
    if authority is None or not _lasts(authority[0]):
        authority = _make_authority()
        save(folder, "ca.pem", "ca.key", *authority, [])
    server = _load(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    if server is None or not _lasts(server[0]) or not _issued_by(server[0], authority[0]) or _names(server[0]) != alternatives(names):
        save(folder, "cert.pem", "key.pem", *_make_server(authority, names), [authority[0]])


def _load(certificate: str, key: str) -> Pair | None:
    try:
        with open(certificate, "rb") as file:
            cert = x509.load_pem_x509_certificate(file.read())
        with open(key, "rb") as file:
            private = serialization.load_pem_private_key(file.read(), None)
    except (OSError, ValueError, TypeError):
        return None                                     # missing or damaged: made anew
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != cert.public_key():
        return None
    return cert, private


def _lasts(cert: x509.Certificate) -> bool:
    now = datetime.datetime.now(datetime.timezone.utc)
    # not_valid_after_utc is not in cryptography 38 of Debian 12
    end = cert.not_valid_after_utc if hasattr(cert, "not_valid_after_utc") else cert.not_valid_after.replace(tzinfo=datetime.timezone.utc)
    return end - now > datetime.timedelta(days=_SPARE_DAYS)


def _issued_by(cert: x509.Certificate, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    try:
        assert isinstance(key, ec.EllipticCurvePublicKey) and cert.signature_hash_algorithm
        key.verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))
    except Exception:                                   # InvalidSignature, or a key of another kind: not ours
        return False
    return cert.issuer == authority.subject


def _names(cert: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _make_authority() -> Pair:
    key = new_key()
    subject = f"pymta sandbox CA {os.urandom(4).hex()}"   # a name of its own: clients may know several sandboxes
    cert = (builder(subject, name(subject), key, _CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs_others=True), critical=True)
            .sign(key, hashes.SHA256()))
    return cert, key


def _make_server(authority: Pair, names: list[str]) -> Pair:
    key = new_key()
    issuer, issuer_key = authority
    cert = (builder(names[-1], issuer.subject, key, _DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(signs_others=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(alternatives(names), critical=False)
            .sign(issuer_key, hashes.SHA256()))
    return cert, key
