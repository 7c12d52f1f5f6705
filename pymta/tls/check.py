"""check: what is wrong with the certificate files that the daemons would use.

    look(settings) -> [Certificate, ...]        in order of preference, each with its facts or with why it cannot be used
    distrust(certificate, name) -> text         what a client that knows the usual authorities has against it

The first is what `pymta-config check` and pymta-doctor tell of every file; the second shakes hands in memory, client against server, so that
what is said is what a client would say: no chain to an authority, another name, ended.
"""
from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from pymta.tls import der, files as tls_files
from pymta.settings import Settings

DAY_S = 86400.0
SOON_DAYS = 14                                          # when the daemons begin to warn (tls/certificates.py); certbot renews 30 days before the end
_SIZE_MAX_OCTETS = 1 << 20
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_CHAIN_MAX = 20
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key belongs to another certificate; put the two together that were made together",
    "NO_START_LINE": "no key in it; put it there as PEM",
    "NO_CERTIFICATE_OR_CRL_FOUND": "no certificate in it; put it there as PEM",
}


@dataclass(frozen=True, slots=True)
class Certificate:
    """path, key: its files; facts: of the first certificate in path, None where that cannot be read; pem: chain and key; links: how many
    certificates path holds; wrong: why it cannot be used, with the remedy; unseen: why we may not look, though the daemons may."""

    path: str
    key: str
    facts: der.Facts | None = None
    pem: bytes = b""
    links: int = 0
    wrong: str = ""
    unseen: str = ""

    def days(self, now: float) -> float:
        """Days until it ends; below 0 since then."""
        return (self.facts.ends - now) / DAY_S if self.facts else 0.0

    def serves(self, name: str) -> bool:
        """Whether it is for this host name (RFC 6125 §6.4)."""
        return self.facts is not None and bool({name.lower(), "*." + name.lower().partition(".")[2]} & self.facts.names)


def look(settings: Settings) -> list[Certificate]:
    """Every certificate there is, as the daemons would find and read it."""
    return [_read(*pair) for pair in tls_files.Files(settings).pairs()]


def findings(settings: Settings, now: float) -> Iterator[tuple[str, str, bool]]:
    """(file, reason; remedy, whether this is a warning only) for what is wrong with any of them."""
    found = look(settings)
    for one in found:
        if one.unseen:
            yield one.path, f"{one.unseen}; run this as root", True
        elif one.wrong:
            yield one.path, one.wrong, False
        elif one.days(now) < 0:
            yield one.path, f"it ended {-one.days(now):.0f} days ago, so clients refuse it; get a new one", False
        elif one.days(now) < SOON_DAYS:
            yield one.path, f"it ends in {one.days(now):.0f} days; renew it (certbot renew, or put new files there)", True
        if open_to := _open_to_all(one.key):
            yield one.key, open_to, False
    usable = [one for one in found if one.facts and not one.wrong]
    if usable and not any(one.unseen for one in found) and not any(one.serves(settings.host) for one in usable):
        yield usable[0].path, f"no certificate is for {settings.host}, so clients see another name; get one for it, or change host.name", True


def _read(path: str, key: str) -> Certificate:
    try:
        texts = [_text(name) for name in dict.fromkeys((path, key))]
    except PermissionError as error:
        return Certificate(path, key, unseen=f"cannot be looked at: {error.filename}: {error.strerror}")
    except OSError as error:
        return Certificate(path, key, wrong=f"cannot be read: {error.filename or path}: {error.strerror or error}; mend it")
    pem = b"\n".join(texts) + b"\n"
    try:
        facts = der.read(_first(texts[0]))
        context(pem)
    except ssl.SSLError as error:
        return Certificate(path, key, wrong=_REASONS.get(error.reason or "", f"cannot be used: {error.reason or error}; make certificate and key anew"))
    except (ValueError, OSError) as error:
        return Certificate(path, key, wrong=f"cannot be used: {error}" + ("" if ";" in str(error) else "; make it anew"))
    return Certificate(path, key, facts, pem, min(texts[0].count(_BEGIN), _CHAIN_MAX))


def _text(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_SIZE_MAX_OCTETS + 1)
    if len(data) > _SIZE_MAX_OCTETS:
        raise OSError(27, f"longer than {_SIZE_MAX_OCTETS} octets", path)
    return data


def _first(pem: bytes) -> bytes:
    """The DER of the first certificate.  Raises ValueError."""
    begin, end = pem.find(_BEGIN), pem.find(_END)
    if not 0 <= begin < end:
        raise ValueError("no certificate in it; put it there as PEM")
    return ssl.PEM_cert_to_DER_cert(pem[begin:end + len(_END)].decode("ascii", "replace"))


def context(pem: bytes) -> ssl.SSLContext:
    """What a server would use.  Raises ssl.SSLError, ValueError (a key with a password)."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    fd = os.memfd_create("pair")                        # load_cert_chain knows files only
    try:
        os.write(fd, pem)
        made.load_cert_chain(f"/proc/self/fd/{fd}", password=_no_password)
    finally:
        os.close(fd)
    return made


def _no_password() -> str:
    raise ValueError("the key has a password; take it off (openssl pkey)")


def _open_to_all(path: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    if mode & stat.S_IROTH and _reachable(os.path.dirname(os.path.realpath(path))):
        return "everybody on this host may read this key; chmod 600"
    return ""


def _reachable(folder: str) -> bool:
    """Whether everybody may come to what lies in folder."""
    while folder != "/":
        try:
            if not os.stat(folder).st_mode & stat.S_IXOTH:
                return False
        except OSError:
            return False
        folder = os.path.dirname(folder)
    return True


# ---- with the eyes of a client ----------------------------------------------------------------------------------------
def distrust(certificate: Certificate, name: str) -> str:
    """Why a client that asks for name and trusts the authorities of this system would refuse it; empty if it would not."""
    trusting = ssl.create_default_context()
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(certificate.pem).wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(10):
        try:
            client.do_handshake()
            return ""
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return error.reason or str(error)
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            return error.reason or str(error)
    return "the handshake does not end"
