"""pymta-config and pymta-whatif as programs."""
import json
import os
import subprocess
import sys

import pytest

from pymta import layout, settings
from pymta.formats import conf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "pymta.conf").write_text("host.name = mail.example.test\nlocal.domains = example.test\nlocal.system_users = no\n"
                                         "local.virtual_uid = 1234\nlocal.virtual_home = /var/v\nqueue.lifetime = 6d\n")
    (tmp_path / "aliases").write_text("info: alice, x@far.example, y@lmtp.example\nloop: pool\npool: loop\nbad: |cat")
    (tmp_path / "users").write_text("alice\n")
    (tmp_path / "transports").write_text("lmtp.example lmtp:[::1]:8024\n")
    return str(tmp_path)


def run(program, *arguments, status=0):
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", program), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done
    return done.stdout if status in (0, 67, 75, 78, 69) else done.stderr


def test_show(etc):
    out = run("pymta-config", "--etc", etc, "show")
    assert len(out.splitlines()) == len(settings.SETTINGS)
    assert "queue.lifetime = 6d" in out and f"# {etc}/pymta.conf:6" in out
    assert run("pymta-config", "--etc", etc, "show", "queue.lifetime", "smtp.workers").splitlines()[1].startswith("smtp.workers = 2")
    assert all(line.startswith("queue.") for line in run("pymta-config", "--etc", etc, "show", "queue").splitlines())
    rows, complaints = conf.parse(out)                          # what it prints could be a pymta.conf
    assert len(rows) == len(settings.SETTINGS) and not complaints


def test_show_json(etc):
    values = json.loads(run("pymta-config", "--etc", etc, "show", "--json"))
    assert values["queue.lifetime"] == {"value": "6d", "source": f"{etc}/pymta.conf:6"}
    assert values["smtp.workers"] == {"value": "2", "source": "default"}
    assert list(values) == [row.name for row in settings.SETTINGS]


def test_show_what_is_not_there(etc):
    assert "did you mean queue.lifetime?" in run("pymta-config", "--etc", etc, "show", "queue.lifetme", status=64)


def test_check(etc):
    out = run("pymta-config", "--etc", etc, "check", status=78)
    assert f"{etc}/aliases:4: bad: |cat: commands are not supported yet; name a user or an address\n" in out
    with open(os.path.join(etc, "aliases"), "w") as aliases:
        aliases.write("info: alice\nroot: alice\n")
    assert "no faults, no warnings" in run("pymta-config", "--etc", etc, "check").splitlines()[-1]


def test_example(tmp_path):
    text = run("pymta-config", "example")
    assert conf.parse(text) == ([], [])                         # as it stands it changes nothing
    lines = [line[1:] for line in text.splitlines() if line.startswith("#") and not line.startswith("# ")]
    assert [line.partition(" =")[0] for line in lines] == [row.name for row in settings.SETTINGS]
    (tmp_path / "pymta.conf").write_text("\n".join(lines))
    current, default = settings.read(str(tmp_path)), settings.read(str(tmp_path / "none"))
    assert not current.complaints and all(current[row.name] == default[row.name] for row in settings.SETTINGS)
    assert max(map(len, text.splitlines())) <= 125


def test_places(etc):
    rows = json.loads(run("pymta-config", "--etc", etc, "places", "--json"))
    assert len(rows) == len(layout.PLACES)
    assert {"/var/spool/pymta", "/var/spool/pymta/in/smtpd/new", f"{etc}/aliases", "/run/pymta"} <= {row["path"] for row in rows}
    assert [row["mode"] for row in rows if row["path"].endswith("in/inject/new")] == ["3777"]
    out = run("pymta-config", "--etc", etc, "places")
    assert len(out.splitlines()) == len(rows) + 1 and "3777" in out


@pytest.mark.parametrize("program", ["pymta-config", "pymta-whatif"])
def test_help_and_wrong_options(program):
    assert "usage" in run(program, "--help")
    assert "usage" in run(program, "--nonsense", status=2)
    assert "usage" in run(program, status=2)


def test_whatif(etc):
    assert run("pymta-whatif", "--etc", etc, "Info@example.test") == f"""\
Info@example.test
  {etc}/aliases:1    info -> alice
  {'mailbox':{len(etc) + 10}}    /var/v/example.test/alice/Maildir (uid 1234)
  {etc}/aliases:1    info -> x@far.example
  {'elsewhere':{len(etc) + 10}}    x@far.example: not a domain of ours; sent there
  {etc}/aliases:1    info -> y@lmtp.example
  {'elsewhere':{len(etc) + 10}}    y@lmtp.example: not a domain of ours; sent there
deliver  alice@example.test  /var/v/example.test/alice/Maildir  uid 1234
send     x@far.example  MX of far.example, port 25
send     y@lmtp.example  lmtp:[::1]:8024
"""


def test_whatif_is_refused(etc):
    assert "refuse   550 5.1.1 no such user here" in run("pymta-whatif", "--etc", etc, "nosuch@example.test", status=67)
    assert "loop -> pool -> loop" in run("pymta-whatif", "--etc", etc, "loop", status=69)
    assert "aliases:4: bad: |cat" in run("pymta-whatif", "--etc", etc, "bad@example.test", status=75)
    assert "hold     root@mail.example.test  nobody is named" in run("pymta-whatif", "--etc", etc, "postmaster")
    assert "only from those who may relay" in run("pymta-whatif", "--etc", etc, "x@far.example")


def test_whatif_json(etc):
    lines = run("pymta-whatif", "--etc", etc, "--json", "info", "nosuch@example.test", status=67).splitlines()
    first, second = map(json.loads, lines)
    assert [one["fate"] for one in first["recipients"]] == ["deliver", "send", "send"]
    assert first["recipients"][0] == {"address": "alice@example.test", "fate": "deliver", "maildir": "/var/v/example.test/alice/Maildir",
                                      "uid": 1234, "gid": 1234}
    assert first["recipients"][2]["destination"] == "lmtp:[::1]:8024" and first["exit"] == 0 and first["refused"] is None
    assert second["refused"] == {"reply": 550, "status": "5.1.1", "text": "no such user here"} and second["exit"] == 67
