"""passwords and hashes: the file's grammar, edits that keep the rest, and every kind of hash that is promised."""
import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta.login import hashes
from pymta.formats import passwords

ARGON = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
SHA512 = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"


@pytest.mark.parametrize("line, meaning", [
    (f"alice@example.test:{ARGON}", ("alice@example.test", ARGON)),
    (f"  Alice@Example.TEST : {ARGON}", ("alice@example.test", ARGON)),
    (f"bob:{SHA512}\r", ("bob", SHA512)),
    (f"bob:{{SHA512-CRYPT}}{SHA512}:1000:1000::/home/bob::", ("bob", "{SHA512-CRYPT}" + SHA512)),
    ("bob:!", ("bob", "!")),
    ("bob:*locked*", ("bob", "*locked*")),
    ("# comment", None), ("", None), ("  # comment: x", None),
])
def test_lines_that_are_read(line, meaning):
    entries, complaints = passwords.decode(line.encode() + b"\n")
    assert complaints == []
    assert [(e.name, e.hash) for e in entries.values()] == ([meaning] if meaning else [])


@pytest.mark.parametrize("line, complaint", [
    (b"alice", "no colon"), (b"alice:", "no hash"), (b":x", "login name"), (b"a b:!", "login name"), (b"\xff:!", "UTF-8"),
    (b"alice:secret", "unknown kind"), (b"alice:$argon2id$x", "damaged argon2"), (b"alice:{FOO}x", "unknown scheme"),
    (b"alice:{SSHA}!!", None), (b"alice:{SSHA}==x", "base64"), (b"alice:{SHA256}aGk=", "2 octets"), (b"bob:!", "stands already in line 1"),
])
def test_bad_lines_are_named_and_the_rest_holds(line, complaint):
    entries, complaints = passwords.decode(b"bob:!\n" + line + b"\ncarol:!\n")
    assert {"bob", "carol"} <= set(entries)
    assert [number for number, _ in complaints] == ([2] if complaint else [])
    if complaint:
        assert complaint in complaints[0][1]


@given(st.binary())
def test_any_octets_can_be_read_and_edited(data):
    passwords.decode(data)
    changed = passwords.with_entry(data, "zoe@example.test", ARGON)
    assert passwords.decode(changed)[0]["zoe@example.test"].hash == ARGON
    assert passwords._name_of(passwords.without(changed, "zoe@example.test").split(b"\n")[-1]) != "zoe@example.test"
    assert "zoe@example.test" not in passwords.decode(passwords.without(changed, "zoe@example.test"))[0]


def test_an_edit_keeps_comments_order_and_further_fields():
    before = b"# ours\nann:!\nBob:!:1000:1000\n\ncarol:!"
    after = passwords.with_entry(passwords.with_entry(before, "bob", "*x"), "dora", "*y")
    assert after == b"# ours\nann:!\nbob:*x:1000:1000\n\ncarol:!\ndora:*y\n"
    assert passwords.without(after, "ANN") == b"# ours\nbob:*x:1000:1000\n\ncarol:!\ndora:*y\n"


@pytest.mark.parametrize("name", ["", "a:b", "a b", "#a", "a\nb", "{x}", "@example.test", "x" * 400])
def test_names_that_cannot_stand_in_the_file(name):
    with pytest.raises(ValueError):
        passwords.with_entry(b"", name, "!")


# ---- hashes -----------------------------------------------------------------------------------------------------------
def salted(scheme: str, algorithm: str) -> str:
    return "{%s}%s" % (scheme, base64.b64encode(hashlib.new(algorithm, b"correct horsesalt").digest() + b"salt").decode())


HASHES = [
    hashes.make(b"correct horse"),
    "{ARGON2ID}" + hashes.make(b"correct horse"),
    hashes.crypt(b"correct horse", b"$6$saltsalt$").decode(),
    hashes.crypt(b"correct horse", b"$5$saltsalt$").decode(),
    hashes.crypt(b"correct horse", b"$2b$04$abcdefghijklmnopqrstuu").decode(),
    hashes.crypt(b"correct horse", b"$y$j75$saltsaltsaltsalt").decode(),
    "{CRYPT}" + hashes.crypt(b"correct horse", b"$1$saltsalt$").decode(),
    "{BLF-CRYPT}" + hashes.crypt(b"correct horse", b"$2y$04$abcdefghijklmnopqrstuu").decode(),
    salted("SSHA", "sha1"), salted("SSHA256", "sha256"), salted("ssha512", "sha512"),
    "{SHA256}" + base64.b64encode(hashlib.sha256(b"correct horse").digest()).decode(),
    "{PLAIN}correct horse",
]


@pytest.mark.parametrize("hash", HASHES, ids=lambda hash: hash[:12])
def test_each_kind_of_hash_tells_right_from_wrong(hash):
    assert hashes.matches(hash, b"correct horse") is True
    assert hashes.matches(hash, b"correct horsf") is False


def test_crypt_agrees_with_openssl():
    hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    assert hashes.matches(hash, b"Hello world!") is True          # openssl passwd -6 -salt saltstring
    assert hashes.matches(hash[:-1] + "2", b"Hello world!") is False


@pytest.mark.parametrize("hash", ["!", "*", "!" + ARGON])
def test_a_locked_login_fits_no_password(hash):
    assert hashes.matches(hash, b"") is False
    assert hashes.matches(hash, b"!") is False


def test_new_hashes_cost_what_is_agreed():
    assert hashes.make(b"x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("given_, octets", [
    ("abc", b"abc"), ("a\u0301", "\u00e1".encode()), ("a\u3000b", b"a b"), ("caf\udce9", b"caf\xe9")])
def test_a_password_is_made_uniform(given_, octets):
    assert hashes.prepare(given_) == octets


@pytest.mark.parametrize("wrong", ["", "a\0b", "x" * 512])
def test_a_password_that_no_hash_could_hold(wrong):
    with pytest.raises(ValueError):
        hashes.prepare(wrong)
