"""check: what is wrong in the configuration, before mail finds out."""
import os

import pytest

from pymta import check, settings
from pymta.tls import make as tls_make

GOOD = {
    "pymta.conf": "host.name = mail.example.test\nlocal.domains = example.test\nlocal.admin = alice\nlocal.virtual_uid = 1234\nlocal.system_users = no\n"
                  "local.relay_domains = branch.test\n",
    "aliases": "info: alice, bob@x.example\nboss@branch.test: alice\nstaff: :include:ETC/staff\n@shop.test: alice\n",
    "staff": "alice\ncarol@shop.test\n",
    "users": "alice\ncarol@shop.test\n",
    "passwords": "alice:!\ncarol@shop.test:!\n",
    "transports": "x.example 127.0.0.1:26\n",
    "relay_recipients": "ann@branch.test\n",
    "senders": "alice: press@brand.test\n",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """What makes a good tls/: {file: text}."""
    folder = tmp_path_factory.mktemp("tls")
    tls_make.self_signed(str(folder), ["mail.example.test"])
    return {f"tls/{name}": (folder / name).read_text() for name in ("cert.pem", "key.pem")}


@pytest.fixture
def findings(tmp_path, pair):
    """findings(file=text to append) -> the lines of the check, ETC taken out."""
    def findings(**changes):
        for name, text in {**GOOD, **pair}.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            more = changes.pop(name.replace("pymta.conf", "conf").replace("/", "_").replace(".", "_"), "")
            path.write_text((text + more).replace("ETC", str(tmp_path)))
            path.chmod(0o640)
        assert not changes
        return [str(one).replace(str(tmp_path) + "/", "") for one in check.everything(settings.read(str(tmp_path)))]
    return findings


def test_nothing_to_find(findings):
    assert findings() == []


ROWS = [                                                        # what is added where, where it is found, part of the text
    (("conf", "queue.lifetime = 5x\n"), "pymta.conf:7", "not a duration; write"),
    (("conf", "queue.lifetme = 5d\n"), "pymta.conf:7", "did you mean queue.lifetime?"),
    (("conf", "host.name = mailhost\n"), "pymta.conf:7", "warning: host.name: mailhost has no domain"),
    (("conf", "smtp.relay_from = 0.0.0.0/0\n"), "pymta.conf:7", "open relay"),
    (("conf", "smtp.relay_from = ::/0\n"), "pymta.conf:7", "open relay"),
    (("conf", "smtp.relay_from = 8.0.0.0/8\n"), "pymta.conf:7", "open relay"),
    (("conf", "login.plain_from = 0.0.0.0/0\n"), "pymta.conf:7", "warning: login.plain_from"),
    (("conf", "imap.listen = [::]:25\n"), "pymta.conf:7", "[::]:25 is smtp.listen's already"),
    (("conf", "remote.smarthost = localhost:25\n"), "pymta.conf:7", "this host itself"),
    (("conf", "local.virtual_domains = branch.test\n"), "pymta.conf:6", "branch.test is a domain of ours too"),
    (("relay_recipients", "nonsense\n"), "relay_recipients:2", "not an address; write"),
    (("relay_recipients", "ann@elsewhere.test\n"), "relay_recipients:2", "warning: ann@elsewhere.test: its domain does not stand"),
    (("relay_recipients", "@branch.test\n"), "relay_recipients:2", "warning: @branch.test: mail for people who are not there"),
    (("users", "dave:quota=much\n"), "users:3", "quota much: not a size; write quota=500M"),
    (("users", "dave:without=MOVE,FROBNICATE\n"), "users:3", "dave: FROBNICATE cannot be switched off; choose from IMAP4rev2 LITERAL+"),
    (("conf", "imap.without = MOVE, IMAP4rev1\n"), "pymta.conf:7", "imap.without: IMAP4REV1 cannot be switched off; choose from"),
    (("conf", "imap.client_without = *Outlook*: NOSUCH\n"), "pymta.conf:7", "imap.client_without: NOSUCH cannot be switched off"),
    (("conf", "imap.client_without = Outlook\n"), "pymta.conf:7", "imap.client_without: Outlook is not PATTERN: CAPABILITIES; write"),
    (("conf", "host.addresses = example.test\n"), "pymta.conf:7", "not an IP address; write"),
    (("conf", "smtp.network_ipv4 = 33\n"), "pymta.conf:7", "write 32 or less"),
    (("conf", "local.virtual_domains = example.test\n"), "pymta.conf:7", "stands in local.domains too"),
    (("conf", "local.system_users = yes\nlocal.first_uid = 1\n"), "pymta.conf:8", "warning: local.first_uid"),
    (("conf", "queue.lifetime = 1d\n"), "pymta.conf:7", "warning: queue.lifetime: shorter"),
    (("conf", "queue.bounce_lifetime = 6d\n"), "pymta.conf:7", "warning: queue.bounce_lifetime"),
    (("conf", "queue.warn_after = 6d\n"), "pymta.conf:7", "warning: queue.warn_after"),
    (("conf", "queue.retry =\n"), "pymta.conf:7", "queue.retry: empty"),
    (("conf", "queue.retry_max = 1m\n"), "pymta.conf:7", "warning: queue.retry_max"),
    (("conf", "smtp.recipients_max = 10\n"), "pymta.conf:7", "warning: smtp.recipients_max"),
    (("conf", "queue.size_max = 1K\n"), "pymta.conf:7", "warning: queue.size_max"),
    (("conf", "tls.certificate = /nonexistent/x.pem\ntls.key = ETC/tls/key.pem\n"), "pymta.conf:7", "there is no /nonexistent/x.pem"),
    (("conf", "tls.certificate = ETC/tls/cert.pem\n"), "pymta.conf:7", "belong together"),
    (("conf", "tls.key = ETC/tls/key.pem\n"), "tls.certificate", "belong together"),
    (("tls_cert_pem", "\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "tls/cert.pem", "cannot be used"),
    (("senders", "nonsense\n"), "senders:2", "write login: address"),
    (("senders", "dan: x@y.test\n"), "senders", "warning: dan is no user"),
    (("conf", "local.virtual_uid = root\n"), "local.virtual_uid", "nobody owns"),
    (("conf", "local.virtual_uid = no-such-account\n"), "local.virtual_uid", "no account"),
    (("conf", "local.admin = nosuch\n"), "pymta.conf:7", "reaches nobody"),
    (("conf", "local.admin = a b\n"), "pymta.conf:7", "write user or user@domain"),
    (("conf", "local.admin =\n"), "pymta.conf:7", "warning: nobody is named"),
    (("aliases", "no colon\n"), "aliases:5", "no colon"),
    (("aliases", "cmd: |cat\n"), "aliases:5", "commands are not supported yet"),
    (("aliases", "info: alice\n"), "aliases:1", "stands again in line 5"),
    (("aliases", "a: b\nb: a\n"), "aliases:6", "alias leads back to itself: a -> b -> a"),
    (("aliases", "a: nosuch, alice\n"), "aliases:5", "nosuch: reaches nobody"),
    (("aliases", "a: nosuch@shop.test\n@example.test: nosuch\n"), "aliases:6", "nosuch: reaches nobody"),
    (("aliases", "a: :include:ETC/none\n"), "aliases:5", "none: No such file"),
    (("aliases", "a@away.test: alice\n"), "aliases:5", "warning: a@away.test: away.test is not a domain of ours"),
    (("aliases", "@away.test: alice\n"), "aliases:5", "nothing reaches it"),
    (("staff", "bad one\n"), "staff:3", "needs quotes"),
    (("users", "bad one\n"), "users:3", "not a user's name"),
    (("users", "dave@shop.test:no-such-account\n"), "users:3", "no account no-such-account"),
    (("users", "Carol@shop.test\n"), "users:3", "stands in line 2 already"),
    (("passwords", "dave@shop.test:!\n"), "passwords:3", "warning: dave@shop.test is no user"),
    (("passwords", "nonsense\n"), "passwords:3", "no colon"),
    (("transports", "a.example nowhere:x\n"), "transports:2", "not a host"),
    (("transports", "shop.test 127.0.0.1:26\n"), "transports:2", "warning: shop.test is a domain of ours"),
]


@pytest.mark.parametrize("change, where, text", ROWS)
def test_finding(findings, change, where, text):
    found = [line for line in findings(**{change[0]: change[1]}) if "stands again" not in line or text.startswith("stands again")]
    assert any(line.startswith(where + ": ") and text in line for line in found), found
    assert all(line.isprintable() for line in found)
    faults = [line for line in found if ": warning: " not in line]
    assert bool(faults) == ("warning" not in text) or "nothing reaches it" in text, found


def test_each_thing_is_said_once(findings):
    found = findings(aliases="x: nosuch\ny: x\nz: x, y\n")
    assert len(found) == len(set(found)) and sum("nosuch" in line for line in found) == 1


@pytest.mark.parametrize("name, mode, text", [("aliases", 0o666, "chmod o-w"), ("passwords", 0o644, "chmod 640")])
def test_rights(findings, tmp_path, name, mode, text):
    findings()
    (tmp_path / name).chmod(mode)
    (line,) = [str(one) for one in check.everything(settings.read(str(tmp_path)))]
    assert line.startswith(f"{tmp_path}/{name}: ") and text in line


def test_an_empty_host(tmp_path):
    found = check.everything(settings.read(str(tmp_path / "none")))
    assert found and not [one for one in found if not one.warning and "pymta-vmail" not in one.text]


def test_looks_only(findings, tmp_path, capfd):
    findings(aliases="bad\n", users="bad one\n")
    before = sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(tmp_path))
    check.everything(settings.read(str(tmp_path)))
    assert sorted((entry.name, entry.stat().st_mtime_ns) for entry in os.scandir(tmp_path)) == before
    assert capfd.readouterr() == ("", "")
