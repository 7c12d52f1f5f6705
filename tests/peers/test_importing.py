"""Our reading of Postfix's and Exim's configuration, against what their own programs answer.  Nothing is sent, and no daemon is started."""
from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pymta.importing import exim, postfix
from pymta.importing.postfix import grammar, maps, tables
from pymta.importing.source import Source
from tests.importing import who, write
from tests.peers.conftest import WHERE
from tests.unit.test_importing_exim import MONOLITH
from tests.unit.test_importing_postfix import FILES


@dataclass(frozen=True)
class Room:
    """A directory below a peer's root: there by path, for the peer by inside."""

    root: str
    path: str

    @property
    def inside(self) -> str:
        return self.path[len(self.root):]

    def write(self, name: str, text: str) -> str:
        os.makedirs(os.path.dirname(f"{self.path}/{name}"), exist_ok=True)
        with open(f"{self.path}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        return f"{self.inside}/{name}"

    def ask(self, *words: str) -> str:
        return subprocess.run(["chroot", self.root, *words], capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def room(request) -> Iterator[Room]:
    """request.param: postfix or exim."""
    root = os.path.join(WHERE, request.param)
    if os.geteuid() != 0 or not WHERE or not os.path.isdir(f"{root}/etc"):
        pytest.skip(f"wants root, and PYMTA_PEERS with a Debian root {request.param}")
    path = tempfile.mkdtemp(prefix="pymta-test-", dir=f"{root}/tmp")
    os.chmod(path, 0o755)
    yield Room(root, path)
    shutil.rmtree(path)


@pytest.mark.parametrize("room", ["postfix"], indirect=True)
def test_postconf_gives_each_setting_the_same_value(room):
    main = FILES["/etc/postfix/main.cf"] + "a = ${recipient_delimiter?{yes}:{no}}\nb = $a/${nothing:none}/${domain}\nc = ${{$compatibility_level} <level {3} ? {old} : {new}}\nd = $$x\n"
    room.write("main.cf", main)
    room.write("master.cf", FILES["/etc/postfix/master.cf"])
    given, _ = grammar.main_cf(main, "main.cf")
    values = grammar.Values(given, tables.DEFAULTS | {"config_directory": room.inside})
    theirs = dict(line.partition(" =")[::2] for line in room.ask("postconf", "-c", room.inside, "-x", "-n").splitlines())
    assert {"mydestination", "mynetworks", "relayhost", "myhostname"} <= set(theirs)
    for name, value in theirs.items():
        assert grammar.items(values.get(name)) == grammar.items(value.strip()), name
    asked = [name for name in ("a", "b", "c", "d") if name in theirs or room.ask("postconf", "-c", room.inside, "-x", "-h", name).strip()]
    for name in asked:
        assert values.get(name) == room.ask("postconf", "-c", room.inside, "-x", "-h", name).strip(), name


@pytest.mark.parametrize("room", ["postfix"], indirect=True)
def test_our_defaults_are_those_of_postfix(room):
    room.write("main.cf", "compatibility_level = 3.6\n")
    room.write("master.cf", "")
    values = grammar.Values({}, tables.DEFAULTS | {"compatibility_level": "3.6", "myhostname": "h.example", "mydomain": "example"})
    theirs = dict(line.partition(" =")[::2] for line in room.ask("postconf", "-c", room.inside, "-d").splitlines())
    ours = tables.DEFAULTS
    different = {name for name in ours if name in theirs and ours[name].split() != theirs[name].split() and "${" not in theirs[name] and name != "compatibility_level"}
    assert different <= {"alias_maps", "alias_database", "mydomain", "config_directory", "smtputf8_enable", "swap_bangpath", "allow_percent_hack"}, {name: (ours[name], theirs[name]) for name in different}
    assert values.get("mydestination") == "h.example, localhost.example, localhost"


@pytest.mark.parametrize("room", ["postfix"], indirect=True)
def test_postmap_finds_the_same_in_a_table(room):
    room.write("main.cf", "compatibility_level = 3.6\n")
    table = "# comment\nann@v.example  one two\n   three\nUPPER@v.example x\n@v.example\tcatch, all\nann@v.example twice\nlast y"
    path = room.write("table", table)
    ours = maps.read(Source(room.root), [f"texthash:{path}"], "/", "main.cf:1")
    for key in ("ann@v.example", "upper@v.example", "@v.example", "last", "none"):
        theirs = room.ask("postmap", "-c", room.inside, "-q", key, f"texthash:{path}").rstrip("\n")
        assert (ours.get(key) or "").split() == theirs.split(), key
    room.ask("postmap", "-c", room.inside, f"hash:{path}")
    assert (ours.get("ann@v.example") or "").split() == room.ask("postmap", "-c", room.inside, "-q", "ann@v.example", f"hash:{path}").split()


@pytest.mark.parametrize("room", ["postfix"], indirect=True)
def test_postalias_reads_the_same_aliases(room):
    room.write("main.cf", "compatibility_level = 3.6\n")
    path = room.write("aliases", FILES["/etc/aliases"] + 'Mixed: x, "y z"@far.example\n"odd name": ann\nann: bob\n')
    room.ask("postalias", "-c", room.inside, f"hash:{path}")
    ours = maps.read(Source(room.root), [f"hash:{path}"], "/", "main.cf:1", aliases=True)
    theirs = dict(line.partition(":")[::2] for line in room.ask("postalias", "-c", room.inside, "-s", f"hash:{path}").splitlines())
    assert {key.strip('"'): value.replace(" ", "").strip() for key, value in theirs.items() if key.strip('"') not in ("@", "YP_LAST_MODIFIED", "YP_MASTER_NAME")} == {
        key.strip('"'): entry.value.replace(" ", "") for key, entry in ours.entries.items()}


@pytest.mark.parametrize("room", ["postfix"], indirect=True)
def test_what_postconf_prints_makes_the_same_import_as_the_file(room):
    for path, text in FILES.items():
        if path.startswith("/etc/postfix/"):
            room.write(path.removeprefix("/etc/postfix/"), text.replace("/etc/postfix", room.inside).replace("/etc/aliases", f"{room.inside}/aliases"))
    room.write("aliases", FILES["/etc/aliases"])
    source = Source(room.root)
    one = postfix.read(source, room.inside)
    two = postfix.read(source, room.inside, output=room.ask("postconf", "-c", room.inside, "-n").encode())
    assert (one.settings, one.aliases, one.users, one.transports) == (two.settings, two.aliases, two.users, two.transports) and one.users


@pytest.mark.parametrize("room", ["exim"], indirect=True)
def test_mail_reaches_whom_exim_says(room, tmp_path):
    """exim -bt against our routing, over one configuration."""
    body = MONOLITH["/etc/exim/exim.conf"].replace("/etc/exim/virtual", f"{room.inside}/virtual").replace("/etc/aliases", f"{room.inside}/aliases").replace("tls_certificate", "#")
    body = body[:body.index("begin authenticators")].replace("check_local_user\n  local_part_suffix", "local_parts = ann : bob\n  local_part_suffix")
    body = body.replace("directory = $home/Maildir", "directory = /tmp/$local_part\n  user = mail")
    body = body[:body.index("userforward:")] + body[body.index("localuser:"):]
    main = room.write("exim.conf", body)
    room.write("virtual/v.example", "info: ann, bob@far.example\n*: bob\n")
    room.write("aliases", "root: ann\nstaff: ann, bob\ndeep: staff, x@far.example\n")
    made = exim.read(Source(room.root), room.inside)
    made.settings |= {"local.system_users": "no"}
    made.users |= {"ann": "ann:65534:65534:/home/ann", "bob": "bob:65534:65534:/home/bob"}       # whom the router localuser knows
    write(made, str(tmp_path))
    asked = ["info@v.example", "any@v.example", "root@a.example", "staff@mail.a.example", "deep@a.example", "ann@a.example", "ann+x@a.example", "nobody@a.example"]
    for address, ours in who(str(tmp_path), *asked).items():
        found = []
        for line in room.ask("exim", "-C", main, "-bt", address).splitlines():
            if "@" in line and not line.startswith((" ", "\t", "R:")):
                found.append("550" if "undeliverable" in line else line.split()[0])
        theirs = {one.replace("@mail.a.example", "@a.example") for one in found}
        assert found and theirs == ({ours} if isinstance(ours, str) else {one.replace("@mail.a.example", "@a.example") for one in ours}), (address, found, ours)
