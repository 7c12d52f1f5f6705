"""accounts: who has a mailbox, as whom and where."""
import grp
import os
import pwd
from types import SimpleNamespace

import pytest

from pymta import accounts as module
from pymta import clock, settings
from pymta.accounts import Accounts, Mailbox, Trouble

SYSTEM = {                                                      # name: (uid, gid, home)
    "root": (0, 0, "/root"), "daemon": (1, 1, "/usr/sbin"), "nobody": (65534, 65534, "/nonexistent"), "dyn": (61184, 61184, "/"),
    "ann": (1000, 1000, "/home/ann"), "ann-lee": (1001, 100, "/home/lee"), "toor": (0, 0, "/home/toor"), "srv": (2000, 2000, "/srv/x/../y"),
    "cont": (3000, 0, "/home/cont"), "vmail": (500, 501, "/var/mail"),
}


@pytest.fixture(autouse=True)
def system(monkeypatch):
    """A system with the users of SYSTEM."""
    table = dict(SYSTEM)

    def entry(name):
        uid, gid, home = table[name]
        return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid, pw_dir=home)

    def by_uid(uid):
        return next(entry(name) for name in table if table[name][0] == uid) if any(row[0] == uid for row in table.values()) else _none(uid)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: entry(name))
    monkeypatch.setattr(pwd, "getpwuid", by_uid)
    monkeypatch.setattr(pwd, "getpwall", lambda: [entry(name) for name in table])
    monkeypatch.setattr(grp, "getgrnam", lambda name: {"staff": SimpleNamespace(gr_gid=50)}[name])
    monkeypatch.setattr(os, "geteuid", lambda: 900)
    monkeypatch.setattr(os, "getegid", lambda: 901)
    return table


def _none(uid):
    raise KeyError(uid)


@pytest.fixture
def make(tmp_path):
    def make(users="", **values):
        (tmp_path / "users").write_text(users)
        values = {"host.name": "mail.example.test", "local.virtual_home": "/var/v", **{k.replace("__", "."): v for k, v in values.items()}}
        (tmp_path / "pymta.conf").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        return Accounts(settings.read(str(tmp_path)))
    return make


def box(address, uid, gid, home):
    return Mailbox(address, uid, gid, home, home + "/Maildir")


ANN = box("ann@mail.example.test", 1000, 1000, "/home/ann")
LEE = box("ann-lee@mail.example.test", 1001, 100, "/home/lee")


@pytest.mark.parametrize("address, mailbox", [
    ("ann@mail.example.test", ANN), ("ANN@Mail.Example.Test", ANN), ("ann@localhost", ANN), ("ann+x@localhost", ANN), ("ann-x@localhost", ANN),
    ("ann-lee@localhost", LEE), ("ann-lee-x@localhost", LEE), ("ann-lee+x-y@localhost", LEE), ("ann-le@localhost", ANN),
    ("ann@other.test", None), ("bob@localhost", None), ("root@localhost", None), ("toor@localhost", None), ("daemon@localhost", None),
    ("nobody@localhost", None), ("dyn@localhost", None), ("srv@localhost", None), ("@localhost", None), ("-ann@localhost", None),
    ("+@localhost", None), ("../ann@localhost", None), ("a/b@localhost", None), ("a\0b@localhost", None), ("x" * 70 + "@localhost", None),
    (".@localhost", None), ("ann@", None), ("", None), ("ann", ANN), ('"ann"@localhost', None),
    ("cont@localhost", box("cont@mail.example.test", 3000, 0, "/home/cont")),
])
def test_system_users(make, address, mailbox):
    assert make().find(address) == mailbox


def test_no_system_users_if_not_wanted(make):
    assert make(local__system_users="no").find("ann@localhost") is None


def test_first_uid(make):
    assert make(local__first_uid="1001").find("ann@localhost") is None
    assert make(local__first_uid="1001").find("ann-lee@localhost") == LEE
    assert make(local__first_uid="0").find("root@localhost") is None


def test_virtual_users(make):
    accounts = make("Alice@Shop.test\nbob@shop.test:1005:1006:/srv/bob/\ncarol@shop.test:ann\ndave@shop.test:ann:staff\n", local__virtual_uid="vmail")
    assert accounts.find("alice+x@SHOP.test") == box("alice@shop.test", 500, 501, "/var/v/shop.test/alice")
    assert accounts.find("bob@shop.test") == box("bob@shop.test", 1005, 1006, "/srv/bob")
    assert accounts.find("carol@shop.test") == box("carol@shop.test", 1000, 1000, "/var/v/shop.test/carol")
    assert accounts.find("dave@shop.test") == box("dave@shop.test", 1000, 50, "/var/v/shop.test/dave")
    assert accounts.find("ann@shop.test") is None
    assert accounts.find("alice@other.test") is None
    assert accounts.is_local_domain("shop.test")


def test_owner_of_virtual_mailboxes(make, system):
    assert make("a@x.test").find("a@x.test").uid == 900          # who runs this
    system["pymta-vmail"] = (700, 701, "/var/v")
    assert (make("a@x.test").find("a@x.test").uid, make("a@x.test").find("a@x.test").gid) == (700, 701)
    assert make("a@x.test", local__virtual_uid="4242").find("a@x.test").uid == 4242


@pytest.mark.parametrize("line, values", [
    ("a@x.test", {"local__virtual_uid": "root"}), ("a@x.test", {"local__virtual_uid": "0"}), ("a@x.test", {"local__virtual_uid": "nosuch"}),
    ("a@x.test:nosuch", {}), ("a@x.test:ann:nosuch", {}), ("a@x.test:toor", {}),
])
def test_nobody_is_root_and_strangers_are_trouble(make, line, values):
    with pytest.raises(Trouble):
        make(line, **values).find("a@x.test")


def test_who_runs_as_root_needs_an_owner(make, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(Trouble, match="pymta-vmail"):
        make("a@x.test").find("a@x.test")


def test_bare_line_is_a_user_of_every_local_domain_with_one_mailbox(make):
    accounts = make("alice\n", local__domains="example.test, example.org")
    expected = box("alice@example.test", 900, 901, "/var/v/example.test/alice")
    for domain in ("example.test", "example.org", "localhost", "mail.example.test"):
        assert accounts.find(f"alice-x@{domain}") == expected
    assert accounts.login("alice") == accounts.login("ALICE@example.org") == expected
    assert accounts.find("alice@other.test") is None


def test_a_line_beats_the_system_and_an_address_a_bare_name(make):
    accounts = make("ann\nann@localhost:7:7:/srv/x\n")
    assert accounts.find("ann@localhost").home == "/srv/x"
    assert accounts.find("ann@mail.example.test").home == "/var/v/mail.example.test/ann"


def test_exact_beats_extension_longest_first(make):
    accounts = make("a@x.test\na-b@x.test\na-b+c@x.test\n")
    for address, name in [("a", "a"), ("a-b", "a-b"), ("a-c", "a"), ("a-b-c", "a-b"), ("a-b+c", "a-b+c"), ("a-b+c-d", "a-b+c"), ("a+b", "a")]:
        assert accounts.find(f"{address}@x.test").address == f"{name}@x.test"
    assert make("a@x.test\n", local__extension="+").find("a-b@x.test") is None
    assert make("a@x.test\n", local__extension="").find("a+b@x.test") is None


def test_login_takes_no_extension(make):
    assert make("a@x.test\n").login("a+b@x.test") is None


def test_a_host_of_virtual_users_only(make):
    """Mail for the host's own name, from cron say, means the users of the first domain."""
    accounts = make("alice@x.test\nalice@y.test\n", local__system_users="no")
    assert accounts.default_domain == "x.test"
    assert accounts.find("alice@localhost").address == accounts.login("alice").address == "alice@x.test"
    assert make("alice@x.test\n", local__virtual_domains="y.test x.test").default_domain == "y.test"


def test_users_and_domains(make):
    accounts = make("alice@x.test\nb@y.test:nosuch\nbob\nbob@mail.example.test\n", local__virtual_domains="v.test")
    assert [one.address for one in accounts.users()] == ["alice@x.test", "bob@mail.example.test", "ann@mail.example.test",
                                                         "ann-lee@mail.example.test", "cont@mail.example.test"]
    assert accounts.domains() == ["v.test", "x.test", "y.test", "mail.example.test", "localhost"]


def test_live(make, tmp_path, system, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(clock, "tick", lambda: now[0])
    accounts = make("a@x.test\n")
    assert accounts.find("b@x.test") is None and accounts.find("new@localhost") is None
    with open(tmp_path / "users", "a") as file:
        file.write("b@x.test\n")
    assert accounts.find("b@x.test")
    system["new"] = (1010, 1010, "/home/new")
    now[0] += 1
    assert accounts.find("new@localhost").uid == 1010


def test_bad_lines_are_logged_once(make, capfd):
    accounts = make("a@x.test\nb ad\n")
    for _ in range(3):
        accounts.find("a@x.test")
    err = capfd.readouterr().err
    assert err.count("config where=") == 1 and "users:2" in err


def test_accounts_by_name_and_number():
    assert module.account("ann", "x") == (1000, 1000)
    assert module.account("1001", "x") == (1001, 100)
    assert module.account("77777", "x") == (77777, 77777)
