"""Domains with letters beyond ASCII: U-labels and A-labels are one name, wherever they are written (RFC 5890 §2.3.2.1, RFC 6531 §3.2)."""
from __future__ import annotations

import pytest

from pymta import settings
from pymta.accounts import Accounts
from pymta.formats.queuefile import LOCAL, REMOTE, Recipient
from pymta.outcome import Outcome
from pymta.routing import Router

A = "xn--bcher-kva.example"


@pytest.fixture(params=["bücher.example", "BÜCHER.example", A])
def router(request, tmp_path) -> Router:
    """The configuration is written in each of the spellings."""
    domain = request.param
    (tmp_path / "pymta.conf").write_text(f"host.name = mx.example.test\nlocal.system_users = no\nlocal.virtual_uid = 1000\nlocal.virtual_domains = {domain}\n")
    (tmp_path / "users").write_text(f"alice@{domain}\n")
    (tmp_path / "aliases").write_text(f"buch@{domain}: alice@{domain}\nJürgen@{domain}: alice@{domain}\nfern: ann@straße.example\n")
    given = settings.read(str(tmp_path))
    assert not given.complaints
    return Router(given)


@pytest.mark.parametrize("address", ["alice@bücher.example", f"alice@{A}", "Alice@BÜCHER.EXAMPLE", "buch@bücher.example", f"buch@{A.upper()}",
                                     "jürgen@bücher.example", f"JÜRGEN@{A}", "ju\u0308rgen@bücher.example", "alice@bu\u0308cher.example"])
def test_one_mailbox(router: Router, address: str) -> None:
    answer = router.resolve(address.encode())
    assert not isinstance(answer, Outcome)
    assert [(one.kind, one.address) for one in answer] == [(LOCAL, f"alice@{A}".encode())]


@pytest.mark.parametrize("name", ["alice@bücher.example", f"alice@{A}", "ALICE@Bücher.Example"])
def test_one_login(router: Router, name: str) -> None:
    accounts: Accounts = router.accounts
    for box in (accounts.login(name), accounts.find(name)):
        assert box is not None and box.address == f"alice@{A}"


def test_elsewhere(router: Router) -> None:
    """Other hosts' domains leave as A-labels, for the DNS and for peers without SMTPUTF8; a sharp s is a letter of its own (IDNA 2008)."""
    for address in ("fern@bücher.example", "ann@straße.example"):
        assert router.resolve(address.encode()) == [Recipient(REMOTE, b"ann@xn--strae-oqa.example", ((b"Original-Recipient", b"rfc822;" + address.encode()),))]


@pytest.mark.parametrize("address", ["a@xn--\udc80.example", "a@" + "ü" * 60 + ".example", "a@\u3002.example", "a@-ü.example\u3002"])
def test_no_domain(router: Router, address: str) -> None:
    answer = router.resolve(address.encode("utf-8", "surrogateescape"))
    assert isinstance(answer, Outcome) and answer.reply in (550, 553)
