"""doctor: the judgements that need no host: disks and mounts, SPF, what systemctl says; and that nothing stops it."""
from __future__ import annotations

import asyncio
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pymta import outcome, settings
from pymta.doctor import disk, examine, host, spf, systemd
from pymta.doctor.finding import FAULT, NOTE, WARNING, Case, Finding

# ---- disk -------------------------------------------------------------------------------------------------------------
GIB, BLOCK = 1 << 30, 4096


def room(free=50 * GIB, total=100 * GIB, inodes=1_000_000, inodes_free=900_000, flag=0):
    return SimpleNamespace(f_bavail=free // BLOCK, f_frsize=BLOCK, f_blocks=total // BLOCK, f_files=inodes, f_favail=inodes_free, f_flag=flag)


@pytest.mark.parametrize("facts, grades, text", [
    ({}, [], ""),
    ({"free": 1 << 20}, [FAULT], "less than queue.free_min"),
    ({"free": 3 * GIB}, [WARNING], "only 3.0 GiB of 100.0 GiB"),
    ({"free": 200 << 20, "total": GIB}, [WARNING], "only 200.0 MiB"),
    ({"inodes_free": 10}, [FAULT], "10 inodes are free"),
    ({"inodes_free": 40_000}, [WARNING], "40000 of 1000000"),
    ({"inodes": 0, "inodes_free": 0}, [], ""),                          # btrfs counts none
    ({"flag": os.ST_RDONLY}, [FAULT], "read-only"),
])
def test_room(facts, grades, text):
    found = list(disk.judge_room("/spool", "the queue", room(**facts), 64 << 20))
    assert [one.grade for one in found] == grades and all(text in one.why and one.remedy for one in found)


MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /run rw,nosuid shared:2 - tmpfs tmpfs rw,size=1024k
24 22 8:2 / /srv/my\040mail rw,relatime shared:3 - ext4 /dev/sda2 rw,nobarrier
25 22 0:30 / /home rw - nfs4 server:/home rw,vers=4.2
26 22 8:3 / /mnt/usb rw - vfat /dev/sdb1 rw
27 22 0:31 / /var/lib/c rw - overlay overlay rw
28 23 8:4 / /run/disk rw - xfs /dev/sdc rw
nonsense
- - -
"""


@pytest.mark.parametrize("path, kind, grades", [
    ("/var/spool/pymta", "ext4", []), ("/run/x", "tmpfs", [FAULT]), ("/runaway", "ext4", []), ("/run/disk/x", "xfs", []),
    ("/srv/my mail/a", "ext4", [FAULT]), ("/home/ann", "nfs4", [WARNING]), ("/mnt/usb", "vfat", [FAULT]), ("/var/lib/c/d", "overlay", [WARNING]),
])
def test_mounts(path, kind, grades):
    mount = disk.mount_of(path, disk.parse(MOUNTS))
    assert mount is not None and mount.kind == kind
    assert [one.grade for one in disk.judge_mount(path, "mail", mount)] == grades


@given(some.text())
def test_any_mountinfo(text):
    for mount in disk.parse(text):
        list(disk.judge_mount("/x", "mail", mount))


# ---- SPF --------------------------------------------------------------------------------------------------------------
ZONE = {
    ("a.example", "TXT"): ['"v=spf1 mx -all"', '"something else"'], ("a.example", "MX"): ["10 mail.a.example."], ("mail.a.example", "A"): ["192.0.2.7"],
    ("mail.a.example", "AAAA"): ["2001:db8::7"],
    ("net.example", "TXT"): ['"v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"'],
    ("self.example", "TXT"): ['"v=spf1 a/24 a:mail.a.example//64 ?all"'], ("self.example", "A"): ["192.0.2.200"],
    ("split.example", "TXT"): ['"v=spf1 ip4:192.0." "2.7 -all"'],
    ("more.example", "TXT"): ['"v=spf1 include:net.example -all"'], ("other.example", "TXT"): ['"v=spf1 redirect=a.example"'],
    ("two.example", "TXT"): ['"v=spf1 -all"', '"v=spf1 mx -all"'], ("wrong.example", "TXT"): ['"v=spf1 ip4:nonsense -all"'],
    ("round.example", "TXT"): ['"v=spf1 include:round.example -all"'], ("macro.example", "TXT"): ['"v=spf1 exists:%{i}.x.example -all"'],
    ("hollow.example", "TXT"): ['"v=spf1 include:none.example -all"'], ("open.example", "TXT"): ['"v=spf1 +all"'], ("bare.example", "TXT"): ['"v=spf1"'],
    ("word.example", "TXT"): ['"v=spf1 nonsense -all"'], ("v=.example", "TXT"): ['"v=spf10 -all"'],
}
SILENT = ("silent.example", "TXT")


async def ask(name, kind):
    return outcome.DNS_TROUBLE if (name, kind) == SILENT else ZONE.get((name.rstrip("."), kind), [])


@pytest.mark.parametrize("address, domain, result", [
    ("192.0.2.7", "a.example", "pass"), ("192.0.2.8", "a.example", "fail"), ("2001:db8::7", "a.example", "pass"), ("2001:db8::8", "a.example", "fail"),
    ("192.0.2.99", "net.example", "pass"), ("198.51.100.1", "net.example", "softfail"), ("2001:db8:1::1", "net.example", "pass"),
    ("192.0.2.1", "self.example", "pass"), ("2001:db8::1", "self.example", "pass"), ("198.51.100.1", "self.example", "neutral"),
    ("192.0.2.7", "split.example", "pass"), ("192.0.2.99", "more.example", "pass"), ("198.51.100.1", "more.example", "fail"),
    ("192.0.2.7", "other.example", "pass"), ("192.0.2.7", "two.example", "permerror"), ("192.0.2.7", "wrong.example", "permerror"),
    ("192.0.2.7", "round.example", "permerror"), ("192.0.2.7", "macro.example", "unknown"), ("192.0.2.7", "hollow.example", "permerror"),
    ("192.0.2.7", "open.example", "pass"), ("192.0.2.7", "bare.example", "neutral"), ("192.0.2.7", "none.example", "none"),
    ("192.0.2.7", "silent.example", "temperror"), ("192.0.2.7", "word.example", "permerror"), ("192.0.2.7", "v=.example", "none"),
])
def test_spf(address, domain, result):
    assert asyncio.run(spf.check(address, domain, ask))[0] == result


@given(some.text("v=spf1 +-~?amxipncludeistr:/%.%{}=0123456789\"\\", max_size=60))
def test_spf_takes_any_record(record):
    async def any_record(name, kind):
        return [f'"v=spf1 {record}"'] if kind == "TXT" else ["192.0.2.1"] if kind == "A" else []
    assert asyncio.run(spf.check("192.0.2.7", "x.example", any_record))[0] in (
        "pass", "fail", "softfail", "neutral", "none", "permerror", "temperror", "unknown")


# ---- systemd ----------------------------------------------------------------------------------------------------------
SHOWN = """\
Id=pymta-smtp.socket
LoadState=loaded
ActiveState=active
Listen=[::]:25 (Stream)
Listen=[::]:2525 (Stream)

Id=pymta-imap.socket
LoadState=loaded
ActiveState=inactive
"""


def test_what_systemctl_shows():
    found = systemd.parse(SHOWN)
    assert found["pymta-smtp.socket"]["Listen"] == "[::]:25 (Stream)\n[::]:2525 (Stream)"
    assert found["pymta-imap.socket"]["ActiveState"] == "inactive" and systemd.parse("") == {}


def test_how_systemd_sees_daemons(monkeypatch):
    """What `systemctl show` prints in states that a test host does not get into."""
    states = {"a.service": {"LoadState": "loaded", "ActiveState": "active", "NRestarts": "0"},
              "b.service": {"LoadState": "not-found", "ActiveState": "inactive"},
              "c.service": {"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"},
              "d.service": {"LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart"},
              "e.service": {"LoadState": "loaded", "ActiveState": "active", "NRestarts": "[not set]"},
              "f.service": {"LoadState": "masked", "ActiveState": "inactive"},
              "pymta.target": {"LoadState": "loaded", "UnitFileState": "enabled"}}
    monkeypatch.setattr(systemd, "show", lambda units, properties: states)
    found = {one.what: (one.why, one.grade) for one in systemd.daemons("daemons", "abcdef")}
    assert found == {"b.service": ("there is no such unit", FAULT), "c.service": ("it does not run (failed, exit-code)", FAULT),
                     "d.service": ("it is activating (auto-restart)", WARNING), "f.service": ("it is masked, so it is never started", NOTE)}
    monkeypatch.setattr(systemd, "show", lambda units, properties: {})
    assert [one.why for one in systemd.daemons("daemons", "a")] == ["it does not answer"]


@pytest.mark.parametrize("homes, shut", [
    (["/home/ann", "/home/"], {}), (["/homes/ann"], {"/homes": "x y"}), (["/srv/a", "/srv/b"], {"/srv": "y"}), (["/data"], {"/data": "x y"}), ([], {})])
def test_where_units_may_not_write(monkeypatch, homes, shut):
    states = {"x.service": {"ProtectSystem": "strict", "ReadWritePaths": "-/home /srv"}, "y.service": {"ProtectSystem": "strict", "ReadWritePaths": "/home/"},
              "z.service": {"ProtectSystem": "no"}}
    monkeypatch.setattr(systemd, "show", lambda units, properties: states)
    found = list(systemd.read_only("places", states, homes))
    assert {one.what: one.why.rpartition(": ")[2] for one in found} == shut
    assert all(f"ReadWritePaths={one.what}" in one.remedy for one in found)


# ---- the host ---------------------------------------------------------------------------------------------------------
def host_says(etc, text, now=1_900_000_000.0, source=""):
    (etc / "pymta.conf").write_text(text)
    read = settings.read(str(etc))
    sources = {**read.sources, **({"host.name": source} if source else {})}
    values = {row.name: read[row.name] for row in settings.SETTINGS}
    return [(one.what, one.why, one.grade) for one in host.look(Case(settings.Settings(str(etc), values, sources, ()), now))]


@pytest.mark.parametrize("name", ["mail.local", "mail.office.lan", "x.internal", "h.home.arpa", "localhost.localdomain"])
def test_a_name_that_nobody_outside_knows(tmp_path, name):
    assert ("host.name", f"{name} is a name that nobody outside knows, so other hosts distrust it", WARNING) in host_says(tmp_path, f"host.name = {name}\n")


def test_a_name_of_the_system(tmp_path):
    found = host_says(tmp_path, "host.name = mail.example.org\n", source="the system")
    assert any(what == "host.name" and "is what the system says of itself" in why and grade == NOTE for what, why, grade in found)


def test_a_clock_that_stands_before_this_program(tmp_path):
    found = host_says(tmp_path, "host.name = mail.example.org\n", now=86400.0)
    assert any(what == "clock" and "it says 1970-01-02 00:00, before this program was installed" in why and grade == FAULT for what, why, grade in found)
    assert not any("before this program" in why for _, why, _ in host_says(tmp_path, "host.name = mail.example.org\n"))


# ---- total ------------------------------------------------------------------------------------------------------------
def case(etc):
    return Case(settings.read(str(etc)), 1_800_000_000.0)


def test_what_goes_wrong_in_one_subject_hides_no_other(tmp_path, monkeypatch):
    def odd(case):
        yield Finding("odd", "first", "it is found before")
        raise ZeroDivisionError("who would have thought")
    monkeypatch.setattr(examine, "SUBJECTS", {"odd": odd, "good": lambda case: iter([Finding("good", "it", "works", grade=NOTE)])})
    found = list(examine.examine(case(tmp_path), ["odd", "good"]))
    assert [one.subject for one in found] == ["odd", "odd", "good"] and "ZeroDivisionError" in found[1].why


def _nothing(etc):
    pass


def _directories(etc):
    for name in ("users", "aliases", "passwords", "tls/cert.pem", "tls/key.pem", "spool/later/x", "spool/in/inject/new/d", "spool/state/qrun/lock",
                 "run/pymta-smtpd.pid"):
        (etc / name).mkdir(parents=True)


def _garbage(etc):
    for name in ("users", "aliases", "passwords", "senders", "transports", "tls/cert.pem", "tls/key.pem", "spool/later", "spool/hold/x", "spool/corrupt/y.why",
                 "spool/in/inject/new/\udcff", "spool/state/qrun/lock", "run/pymta-smtpd.pid", "spool/parked/d/zz", "spool/todo/local/\x1b[2J"):
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_bytes(bytes(range(256)) * 3)


def _links(etc):
    (etc / "spool").mkdir()
    for name in ("users", "spool/in", "spool/later", "spool/hold", "tls", "run"):
        (etc / name).symlink_to(etc / name)             # round and round


def _a_file(etc):
    (etc / "spool").write_text("")
    (etc / "run").write_text("")


@pytest.mark.parametrize("make", [_nothing, _directories, _garbage, _links, _a_file])
def test_odd_states_are_findings(tmp_path, make):
    """Every subject looks, none goes wrong by itself, and what is shown is printable."""
    (tmp_path / "pymta.conf").write_text(f"host.name = mail.example.test\nhost.spool = {tmp_path}/spool\nhost.run = {tmp_path}/run\ntls.certificates =\n"
                                         "dns.server = 127.0.0.1:9\ndns.timeout = 200ms\nlocal.virtual_home = /nonexistent/mail\n"
                                         + "".join(f"{name} = 127.0.0.1:9\n" for name in ("smtp.listen", "smtp.submission", "smtp.submissions", "imap.listen",
                                                                                          "imap.listen_tls", "pop3.listen", "pop3.listen_tls")))
    make(tmp_path)
    found = list(examine.examine(case(tmp_path), examine.SUBJECTS))
    assert found and not [one for one in found if "could not go on" in one.why], [str(one) for one in found]
    assert all(str(one).isprintable() for one in found)
    assert {"places", "daemons", "listeners", "dns"} <= {one.subject for one in found if one.grade == FAULT}
