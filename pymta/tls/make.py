"""make: make keys and certificates.  The only importer of cryptography's X.509, 10 MiB that no daemon should carry.

`self_signed` is for the first start of a host, so that TLS is on from the first minute; sandbox/certificate.py builds a test authority
from the same parts.
"""
from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pymta import durable

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]
# nobody renews it and every client has to be told to trust it: it should not end before somebody gets a better one
_SELF_SIGNED_DAYS = 3650


def self_signed(folder: str, names: list[str]) -> None:
    """Make folder/cert.pem and key.pem (0600) for these host names.  Raises OSError."""
    key = new_key()
    cert = (builder(names[0], name(names[0]), key, _SELF_SIGNED_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(signs_others=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(alternatives(names), critical=False)
            .sign(key, hashes.SHA256()))
    save(folder, "cert.pem", "key.pem", cert, key, [])


def new_key() -> ec.EllipticCurvePrivateKey:
    """P-256: every client knows it, and a handshake costs a tenth of RSA's."""
    return ec.generate_private_key(ec.SECP256R1())


def builder(subject: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder()
            .subject_name(name(subject)).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(digital_signature=not signs_others, content_commitment=False, key_encipherment=False, data_encipherment=False,
                         key_agreement=False, key_cert_sign=signs_others, crl_sign=signs_others, encipher_only=False, decipher_only=False)


def alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    """Host names and addresses, as text."""
    out: list[x509.GeneralName] = []
    for one in names:
        try:
            out.append(x509.IPAddress(ipaddress.ip_address(one)))
        except ValueError:
            out.append(x509.DNSName(one))
    return x509.SubjectAlternativeName(out)


def key_hash(pem: bytes) -> str:
    """SHA-256 of the public key of the first certificate, hexadecimal: what a TLSA record 3 1 1 holds (RFC 6698 §2.1)."""
    key = x509.load_pem_x509_certificate(pem).public_key()
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def save(folder: str, name: str, key_name: str, cert: x509.Certificate, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate]) -> None:
    """Write the chain (0644) and the key (0600).  Raises OSError."""
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in [cert, *chain])
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    durable.replace(os.path.join(folder, key_name), secret, 0o600)
    durable.replace(os.path.join(folder, name), pem, 0o644)
