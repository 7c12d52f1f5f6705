"""tls and tls_files: which certificate a name gets, what changes, what is broken."""
import datetime
import os
import ssl

import pytest
import trustme

from pymta import clock, settings
from pymta.tls import certificates as tls, der, files as tls_files
from tests.certificates import certbot, put

HOST = "mail.example.test"
CA = trustme.CA()
NOW = datetime.datetime.now(datetime.timezone.utc)


def issue(*names, ends=None):
    return CA.issue_cert(*names, not_after=ends)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


class Place:
    """A configuration, the parent's half and a worker's half."""

    def __init__(self, path):
        self.path = path
        self.tls = str(path / "tls")
        self.given = {"host.name": HOST, "host.spool": str(path / "spool"), "tls.certificates": str(path / "live")}
        (path / "tls").mkdir()
        (path / "live").mkdir()

    def settings(self):
        (self.path / "pymta.conf").write_text("".join(f"{key} = {value}\n" for key, value in self.given.items()))
        return settings.read(str(self.path))

    def worker(self):
        self.files = tls_files.Files(self.settings())
        self.asked = 0
        worker = tls.Certificates(self.settings(), self._ask)
        worker.take(self.files.bundle())
        return worker

    def _ask(self):
        self.asked += 1


def shown(worker, name):
    """The certificate a client sees that asks for name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    client = context.wrap_bio(pipes[0], pipes[1], server_hostname=name)
    server = worker.context().wrap_bio(pipes[1], pipes[0], server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            pass
    return client.getpeercert(True)


def leaf(issued):
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


def test_without_files_there_is_no_tls(place):
    assert place.worker().context() is None


@pytest.mark.parametrize("asked, got", [(None, "host"), ("unknown.test", "host"), (HOST, "host"), ("SHOP.test", "shop"), ("shop.test.", "shop"),
                                        ("x.wild.test", "wild"), ("x.y.wild.test", "host"), ("wild.test", "host"), ("b.shop.test", "shop"), ("deep.shop.test", "shop")])
def test_the_certificate_for_a_name(place, asked, got):
    pairs = {"host": issue(HOST), "shop": issue("shop.test", "b.shop.test", "deep.shop.test"), "wild": issue("*.wild.test"), "usual": issue("else.test")}
    put(place.tls, pairs["usual"])
    put(os.path.join(place.tls, "zzz"), pairs["host"])
    put(os.path.join(place.tls, "aaa"), pairs["wild"])
    certbot(str(place.path), "shop.test", pairs["shop"])
    assert shown(place.worker(), asked) == leaf(pairs[got])


@pytest.mark.parametrize("chain, key", [("fullchain.pem", "privkey.pem"), ("cert.pem", "key.pem"), ("tls.crt", "tls.key"),
                                        ("fullchain.cer", "one.test.key"), ("one.test.crt", "one.test.key")])
def test_layouts_that_others_leave(place, chain, key):
    issued = issue("one.test")
    put(str(place.path / "live" / "one.test"), issued, chain, key)
    assert shown(place.worker(), None) == leaf(issued)


def test_the_named_file_is_the_usual_one_and_may_hold_the_key(place):
    named, host = issue("named.test"), issue(HOST)
    put(os.path.join(place.tls, "host"), host)
    both = place.path / "both.pem"
    both.write_bytes(named.private_key_and_cert_chain_pem.bytes())
    place.given["tls.certificate"] = str(both)
    worker = place.worker()
    assert shown(worker, None) == leaf(named) and shown(worker, HOST) == leaf(host)


def test_better_ones_come_first(place):
    """One that has ended gives way, and so does the self-signed one of the first start."""
    from pymta.tls import make as tls_make
    tls_make.self_signed(place.tls, [HOST])
    old, good = issue(HOST, ends=NOW - datetime.timedelta(days=1)), issue(HOST)
    put(os.path.join(place.tls, "a-old"), old)
    assert der.read(shown(place.worker(), HOST)).self_signed
    put(os.path.join(place.tls, "good"), good)
    worker = place.worker()
    assert shown(worker, HOST) == shown(worker, None) == leaf(good)


def test_a_change_is_seen_at_the_next_look_and_no_look_is_made_twice(place, monkeypatch):
    tick = [1000.0]
    monkeypatch.setattr(clock, "tick", lambda: tick[0])
    certbot(str(place.path), HOST, issue(HOST))
    worker = place.worker()
    assert place.files.changed(now=True)
    for path in (place.path / "archive" / HOST).iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    tick[0] += 5
    assert place.files.changed()                        # it had just been written, so it is looked at once more; and now it has other times
    tick[0] += 5
    assert not place.files.changed()
    renewed = issue(HOST)
    certbot(str(place.path), HOST, renewed, 2)
    assert not place.files.changed()                    # not within a second
    tick[0] += 5
    assert place.files.changed()
    worker.take(place.files.bundle())
    assert shown(worker, HOST) == leaf(renewed)
    asked = place.asked
    worker.context(), worker.context()
    assert place.asked == asked
    tick[0] += 5
    worker.context(), worker.context()
    assert place.asked == asked + 1


def test_what_is_broken_is_named_and_the_old_one_stays(place, capfd):
    good, other = issue(HOST), issue("other.test")
    put(os.path.join(place.tls, "a"), good)
    put(os.path.join(place.tls, "b"), other)
    worker = place.worker()
    for name, data in (("cert.pem", b""), ("cert.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), ("key.pem", b"junk"),
                       ("key.pem", issue("x").private_key_pem.bytes()), ("cert.pem", b"x" * 2_000_000)):
        put(os.path.join(place.tls, "a"), good)
        (place.path / "tls" / "a" / name).write_bytes(data)
        worker.take(place.files.bundle())
        said = capfd.readouterr().err
        assert "cannot use a certificate" in said and "tls/a/cert.pem" in said and "the old one stays in force" in said, said
        assert shown(worker, HOST) == leaf(good) and shown(worker, "other.test") == leaf(other)
        worker.take(place.files.bundle())
        capfd.readouterr()
    fresh = tls.Certificates(place.settings())
    fresh.take(place.files.bundle())
    assert shown(fresh, HOST) == leaf(other)            # what never was good is left out
    for folder in ("a", "b"):
        for name in ("cert.pem", "key.pem"):
            (place.path / "tls" / folder / name).unlink()
    worker.take(place.files.bundle())
    assert "no certificate is left" in capfd.readouterr().err and shown(worker, HOST) == leaf(good)


def test_a_key_with_a_password_does_not_ask_for_it(place, capfd):
    from cryptography.hazmat.primitives import serialization
    issued = issue(HOST)
    put(place.tls, issued)
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    (place.path / "tls" / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")))
    assert place.worker().context() is None
    assert "the key has a password" in capfd.readouterr().err


def test_the_end_is_told_once_a_day(place, capfd, monkeypatch):
    tick = [1000.0]
    monkeypatch.setattr(clock, "tick", lambda: tick[0])
    put(place.tls, issue(HOST, ends=NOW + datetime.timedelta(days=5)))
    put(os.path.join(place.tls, "a"), issue("a.test", ends=NOW - datetime.timedelta(days=3)))
    put(os.path.join(place.tls, "b"), issue("b.test", ends=NOW + datetime.timedelta(days=60)))
    worker = place.worker()
    said = capfd.readouterr().err
    assert said.count("get a new one") == 2 and "ends in 5 days" in said and "ended 3 days ago" in said
    tick[0] += 80_000
    worker.context()
    assert capfd.readouterr().err == ""
    tick[0] += 10_000
    worker.context()
    assert capfd.readouterr().err.count("get a new one") == 2


@pytest.mark.parametrize("minimum, version, works", [("1.2", "TLSv1_2", True), ("1.3", "TLSv1_2", False), ("1.3", "TLSv1_3", True)])
def test_the_oldest_version(place, minimum, version, works):
    put(place.tls, issue(HOST))
    place.given["tls.minimum"] = minimum
    worker = place.worker()
    assert worker.context().minimum_version == getattr(ssl.TLSVersion, "TLSv" + minimum.replace(".", "_"))
    assert (worker.context().minimum_version <= getattr(ssl.TLSVersion, version)) == works


def test_a_directory_asked_for_that_cannot_be_read_is_named(place, capfd):
    place.given["tls.certificates"] = str(place.path / "nowhere")
    place.worker()
    assert "nowhere" in capfd.readouterr().err
    del place.given["tls.certificates"]                 # the usual place need not exist
    place.worker()
    assert capfd.readouterr().err == ""


def test_keys_never_enter_the_parents_memory(place, monkeypatch):
    """They are copied by the kernel: neither read() nor a Python object of the parent holds them."""
    put(place.tls, issue(HOST))
    files = tls_files.Files(place.settings())
    monkeypatch.setattr(os, "read", None)
    monkeypatch.setattr(os, "pread", None)
    os.close(files.bundle())


# ---- the first start --------------------------------------------------------------------------------------------------
def test_the_first_start_makes_one_for_the_host_and_its_domains(place, capfd):
    place.given["local.domains"] = "example.test second.test"
    made = place.settings()
    for _ in range(2):
        tls_files.make_first(made)
    assert capfd.readouterr().err.count("self-signed certificate made") == 1
    with open(os.path.join(place.tls, "cert.pem")) as file:
        facts = der.read(ssl.PEM_cert_to_DER_cert(file.read()))
    assert facts.names == {HOST, "example.test", "second.test"} and facts.self_signed and facts.ends > clock.now() + 3000 * 86400
    assert os.stat(os.path.join(place.tls, "key.pem")).st_mode & 0o777 == 0o600
    assert sorted(os.listdir(place.tls)) == ["cert.pem", "key.pem"]
    assert shown(place.worker(), None)


def test_where_any_certificate_is_none_is_made(place):
    put(str(place.path / "live" / "one.test"), issue("one.test"), "fullchain.pem", "privkey.pem")
    tls_files.make_first(place.settings())
    assert os.listdir(place.tls) == []


def test_where_etc_cannot_be_written_it_is_made_in_the_spool(place, capfd):
    os.rmdir(place.tls)
    with open(place.tls, "w"):                          # no directory can be made there, by root neither
        pass
    tls_files.make_first(place.settings())
    assert sorted(os.listdir(place.path / "spool" / "state" / "tls")) == ["cert.pem", "key.pem"]
    assert shown(place.worker(), None)
    assert " bug " not in capfd.readouterr().err


def test_it_may_be_switched_off(place):
    place.given["tls.self_signed"] = "no"
    tls_files.make_first(place.settings())
    assert os.listdir(place.tls) == []
