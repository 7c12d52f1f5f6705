"""der: what it reads of a certificate is what cryptography reads."""
import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from pymta.tls import der

KEY = ec.generate_private_key(ec.SECP256R1())


def certificate(names, ends, *, common="x", issuer="x", extra=()):
    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    made = (x509.CertificateBuilder().subject_name(name(common)).issuer_name(name(issuer)).public_key(KEY.public_key()).serial_number(1 << 100)
            .not_valid_before(datetime.datetime(1999, 1, 1)).not_valid_after(ends))
    for extension in extra:
        made = made.add_extension(extension, critical=True)
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    from cryptography.hazmat.primitives.serialization import Encoding
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("names, common, wanted", [
    ([x509.DNSName("Mail.Example.test"), x509.DNSName("*.shop.test")], "other.test", {"mail.example.test", "*.shop.test"}),
    ([x509.RFC822Name("a@b.test"), x509.DNSName("a.test")], "x", {"a.test"}),
    ([x509.DNSName(f"n{number}.example.test") for number in range(200)], "x", {f"n{number}.example.test" for number in range(200)}),
    ([], "Old.example.test", {"old.example.test"}),
    ([], "no host name", set()),
    ([x509.RFC822Name("a@b.test")], "old.example.test", {"old.example.test"}),
])
def test_names(names, common, wanted):
    extra = [x509.BasicConstraints(ca=False, path_length=None)]
    assert der.read(certificate(names, datetime.datetime(2030, 1, 1), common=common, extra=extra)).names == wanted


@pytest.mark.parametrize("ends", [datetime.datetime(2030, 2, 28, 23, 59, 58), datetime.datetime(2049, 12, 31), datetime.datetime(2050, 1, 1),
                                  datetime.datetime(9999, 12, 31, 23, 59, 59)])
def test_the_end(ends):
    assert der.read(certificate([], ends)).ends == ends.replace(tzinfo=datetime.timezone.utc).timestamp()


def test_who_vouches_for_it():
    assert der.read(certificate([], datetime.datetime(2030, 1, 1))).self_signed
    assert not der.read(certificate([], datetime.datetime(2030, 1, 1), issuer="an authority")).self_signed


WHOLE = certificate([x509.DNSName("a.test")], datetime.datetime(2030, 1, 1))


@given(st.binary(max_size=60) | st.integers(0, len(WHOLE) - 1).map(lambda at: WHOLE[:at])
       | st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)).map(lambda pair: WHOLE[:pair[0]] + bytes([pair[1]]) + WHOLE[pair[0] + 1:]))
def test_damage_is_a_value_error_at_worst(data):
    try:
        der.read(data)
    except ValueError:
        pass


def test_it_reads_what_ssl_makes_of_pem():
    assert der.read(ssl.PEM_cert_to_DER_cert(ssl.DER_cert_to_PEM_cert(WHOLE))).names == {"a.test"}
