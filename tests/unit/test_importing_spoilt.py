"""Whole configurations, a little spoilt: every reader and the merge come to an end with rows, whatever stands there."""
from __future__ import annotations

import random

import pytest

from pymta.importing import dovecot, exim, merge, postfix, qmail
from tests.importing import texts
from tests.unit import test_importing_dovecot, test_importing_exim, test_importing_postfix, test_importing_qmail

BITS = ["²", "\u0663", "\x00", "\udcff", "{", "}", "$", "%", ":", "@", "\n", " ", "\\", '"', "#", "=", "/", "|", "9" * 30]


def spoilt(text: str, chance: random.Random) -> str:
    for _ in range(chance.choice([0, 0, 1, 3, 10])):
        at, kind = chance.randrange(len(text) + 1), chance.randrange(4)
        if kind < 2:
            text = text[:at] + chance.choice(BITS) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + chance.randrange(1, 20):]
        else:
            text = text[:at] + text[(start := chance.randrange(len(text) + 1)):start + 30] + text[at:]
    return text


@pytest.mark.parametrize("reader, directory, files", [
    (postfix, "/etc/postfix", test_importing_postfix.FILES), (qmail, "/var/qmail", test_importing_qmail.FILES), (exim, "/etc/exim4", test_importing_exim.DEBIAN),
    (exim, "/etc/exim", test_importing_exim.MONOLITH), (dovecot, "/etc/dovecot", test_importing_dovecot.OLD), (dovecot, "/etc/dovecot", test_importing_dovecot.NEW)],
    ids=["postfix", "qmail", "exim-debian", "exim", "dovecot-2.3", "dovecot-2.4"])
def test_a_spoilt_configuration(reader, directory, files):
    chance = random.Random(directory)
    for _ in range(150):
        made = reader.read(texts({path: spoilt(text, chance) for path, text in files.items()}), directory)
        there = {name: chance.randbytes(40) for name in merge.NAMES if chance.random() < 0.3}
        assert [row for row in made.rows if not (row.where and row.text and f"{row.where}{row.what}{row.text}".isprintable())] == []
        for name, data in merge.merge(made, there, "test").files.items():
            assert data.startswith(there.get(name, b"")) or name == "users"
