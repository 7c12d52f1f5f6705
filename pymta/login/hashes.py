"""hashes: make and check one password hash.  Slow on purpose: call it from a pool of threads (it lets the interpreter go).

New hashes are argon2id with 19 MiB, 2 passes, 1 lane: about 20 ms, and memory is what limits how many run at a time.
Old ones are checked as they are, so that a file of Dovecot's, or lines of /etc/shadow, can be moved here:

    $argon2id$ $argon2i$                   argon2-cffi
    $y$ $7$ $2a$ $2b$ $2y$ $6$ $5$ $1$     crypt(3) in libcrypt, called through ctypes: the crypt module is gone in Python 3.13
    {ARGON2ID} {CRYPT} {BLF-CRYPT} ...     Dovecot's prefix before one of the above
    {SSHA} {SSHA256} {SSHA512} {SHA...}    base64 of digest and salt
    {PLAIN}                                the password itself

Passwords are bytes (UTF-8, made uniform by `prepare`); a hash is a str, one word of printable ASCII.
"""
from __future__ import annotations

import base64
import binascii
import ctypes
import ctypes.util
import functools
import hashlib
import hmac
import re
import unicodedata
from typing import Any

PASSWORD_MAX_OCTETS = 511                               # libcrypt takes no more, and nobody needs it
_MEMORY_KIB, _PASSES, _LANES = 19 * 1024, 2, 1
_CRYPT = re.compile(r"\$(?:y|gy|7|2[abxy]|6|5|1)\$[!-9;-~]+")
_ARGON2 = re.compile(r"\$argon2(?:id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_CRYPT_SCHEMES = frozenset(("CRYPT", "BLF-CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "MD5-CRYPT"))
_DIGESTS = {"SHA": "sha1", "SHA1": "sha1", "SSHA": "sha1", "SHA256": "sha256", "SSHA256": "sha256",
            "SHA512": "sha512", "SSHA512": "sha512"}


class Unusable(ValueError):
    """A hash that cannot be checked here; the text says why and what would work."""


def prepare(password: str) -> bytes:
    """The octets that are hashed for a password: composed (NFC), every kind of blank a plain one (RFC 8265 §4.2.2), UTF-8.

    What was not UTF-8 on the wire (surrogate escapes) passes through as the octets it was.  Raises ValueError for an empty or
    over-long one and for a NUL, at which crypt(3) would stop reading."""
    if not password.isascii():
        password = unicodedata.normalize("NFC", "".join(" " if unicodedata.category(c) == "Zs" else c for c in password))
    octets = password.encode("utf-8", "surrogateescape")
    if not octets or len(octets) > PASSWORD_MAX_OCTETS or b"\0" in octets:
        raise ValueError(f"a password has 1 to {PASSWORD_MAX_OCTETS} octets and no NUL")
    return octets


def make(password: bytes) -> str:
    """A new hash."""
    return _hasher().hash(password)


def check_form(hash: str) -> None:
    """Raise Unusable if this is no hash that `matches` could check.  A hash that begins with ! or * is locked, and fine."""
    scheme, value = _split(hash)
    if value[:1] in ("!", "*"):
        return
    if scheme in _DIGESTS:
        _digest_and_salt(scheme, value)
    elif scheme == "CRYPT":
        if not _CRYPT.fullmatch(value):
            raise Unusable(f"unknown kind of hash {value[:12]}...; make one with pymta-passwd")
    elif scheme == "ARGON2":
        if not _ARGON2.fullmatch(value):
            raise Unusable("damaged argon2 hash; set the password again with pymta-passwd")
    elif scheme != "PLAIN":
        raise Unusable(f"unknown scheme {{{scheme}}}; make a hash with pymta-passwd")


def matches(hash: str, password: bytes) -> bool:
    """Whether password belongs to hash.  Raises Unusable."""
    check_form(hash)
    scheme, value = _split(hash)
    if value[:1] in ("!", "*"):
        return False
    if scheme == "ARGON2":
        return _argon2(value, password)
    if scheme == "CRYPT":
        return hmac.compare_digest(crypt(password, value.encode("ascii")), value.encode("ascii"))
    if scheme == "PLAIN":
        return hmac.compare_digest(value.encode("utf-8"), password)
    digest, salt = _digest_and_salt(scheme, value)
    return hmac.compare_digest(hashlib.new(_DIGESTS[scheme], password + salt).digest(), digest)


def _split(hash: str) -> tuple[str, str]:
    """(family, value): ARGON2, CRYPT, PLAIN, one of _DIGESTS, or an unknown scheme as it is."""
    scheme, value = "", hash
    if hash.startswith("{") and "}" in hash:
        scheme, _, value = hash[1:].partition("}")
        scheme = scheme.upper().partition(".")[0]
    if value.startswith("$argon2") and scheme in ("", "CRYPT", "ARGON2ID", "ARGON2I"):
        return "ARGON2", value
    if scheme in _CRYPT_SCHEMES or not scheme:
        return "CRYPT", value
    if scheme in ("PLAIN", "CLEARTEXT"):
        return "PLAIN", value
    return scheme, value


@functools.cache
def _hasher() -> Any:
    from argon2 import PasswordHasher, Type
    return PasswordHasher(time_cost=_PASSES, memory_cost=_MEMORY_KIB, parallelism=_LANES, type=Type.ID)


def _argon2(value: str, password: bytes) -> bool:
    from argon2.exceptions import InvalidHash, VerificationError, VerifyMismatchError
    try:
        return bool(_hasher().verify(value, password))
    except VerifyMismatchError:
        return False
    except (InvalidHash, VerificationError) as error:
        raise Unusable(f"damaged argon2 hash ({error}); set the password again with pymta-passwd") from None


def _digest_and_salt(scheme: str, value: str) -> tuple[bytes, bytes]:
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Unusable(f"damaged {{{scheme}}} hash: not base64") from None
    size = hashlib.new(_DIGESTS[scheme]).digest_size
    if len(raw) < size or (len(raw) > size and not scheme.startswith("SSHA")):
        raise Unusable(f"damaged {{{scheme}}} hash: {len(raw)} octets")
    return raw[:size], raw[size:]


_DATA_OCTETS = 32768                                    # sizeof(struct crypt_data), libxcrypt and glibc


@functools.cache
def _libcrypt() -> Any:
    for name in ("libcrypt.so.1", "libcrypt.so.2", ctypes.util.find_library("crypt")):
        try:
            function = ctypes.CDLL(name or "libcrypt.so").crypt_rn
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
        return function
    raise Unusable("no libcrypt on this host; install it, or set the password again with pymta-passwd")


def crypt(password: bytes, setting: bytes) -> bytes:
    """crypt(3): the hash of password in the manner of setting (a prefix with salt, or a whole hash).  Raises Unusable."""
    data = ctypes.create_string_buffer(_DATA_OCTETS)
    found: bytes | None = _libcrypt()(password, setting, data, _DATA_OCTETS)
    if not found or found.startswith(b"*"):
        raise Unusable("crypt(3) of this host does not know this kind of hash; set the password again with pymta-passwd")
    return found


def give_back_memory() -> None:
    """Let the system have what finished hashes left with the allocator (19 MiB for each thread; glibc keeps it otherwise)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except AttributeError:
        pass                                            # another libc
