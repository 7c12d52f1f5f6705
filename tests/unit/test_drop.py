"""drop: unique ids, and what else needs no daemon."""
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import drop

BASE = b"1795451102.M44310P20022.mail,S=8,W=10"


@pytest.mark.parametrize("base, saved, form, id", [
    (BASE, b"", "", BASE),
    (BASE, b"UID7-123", "", b"UID7-123"),
    (BASE, b"UID7-123", "%08Xu%08Xv", b"UID7-123"),
    (BASE, b"", "%08Xu%08Xv", b"0000000d6b046ec0"),     # Dovecot's default, as its 2.3 writes it
    (BASE, b"", "UID%u-%v", b"UID13-1795452608"),       # Courier's
    (BASE, b"", "%v.%u", b"1795452608.13"),             # Cyrus's
    (BASE, b"", "%f", BASE),
    (BASE, b"x" * 71, "", BASE),                        # no id at all
    (BASE, b"", "%u %v", BASE),                         # nor would this be one
])
def test_the_id_of_a_message(base, saved, form, id):
    assert drop.unique_id(base, 13, 1795452608, saved, form) == id


@pytest.mark.parametrize("base", [b"x" * 71, b"a b", b"caf\xc3\xa9", b"", b"a\x7f"])
def test_names_that_are_no_ids_get_a_digest(base):
    assert drop.unique_id(base, 1, 1) == drop.unique_id(base, 2, 2) == drop.digest(base)


@given(st.binary(max_size=100), st.integers(1, 2**32 - 1), st.integers(1, 2**32 - 1), st.binary(max_size=80), st.text(max_size=20))
def test_an_id_is_always_one(base, uid, uidvalidity, saved, form):
    assert re.fullmatch(rb"[!-~]{1,70}", drop.unique_id(base, uid, uidvalidity, saved, form))


def test_the_lock_is_exclusive_and_ends_with_the_descriptor(tmp_path):
    path = str(tmp_path / "lock")
    first = drop._lock(path)
    with pytest.raises(drop.InUse):
        drop._lock(path)
    os.close(first)
    os.close(drop._lock(path))


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        drop._lock(str(tmp_path / "lock"))
    assert not (tmp_path / "elsewhere").exists()


def test_a_drop_that_cannot_be_had_leaves_nothing_open(tmp_path):
    maildir = str(tmp_path / "home" / "Maildir")
    first = drop.open_drop(maildir)
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(drop.InUse):
            drop.open_drop(maildir)
    assert set(os.listdir("/proc/self/fd")) == before
    first.close()
    drop.open_drop(maildir).close()
