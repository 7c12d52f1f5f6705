"""What is said twice is said alike: pages, units, settings, options, events and console scripts."""
from __future__ import annotations

import keyword
import os
import re
import subprocess
import sys
import tomllib

import pytest

from pymta import layout, log, settings, tables

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = sorted(name for name in os.listdir(os.path.join(ROOT, "bin")) if name.startswith("pymta-"))
PAGES = sorted(os.listdir(os.path.join(ROOT, "man")))
DAEMONS = {"pymta-smtpd", "pymta-qrun", "pymta-local", "pymta-remote", "pymta-imapd", "pymta-pop3d"}


def read(*path: str) -> str:
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


def page_of(program: str) -> str:
    return next((name for name in PAGES if name in (f"{program}.1", f"{program}.8")), "")


# ---- what is made from tables -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", sorted(os.path.relpath(path, ROOT) for path in tables.made(ROOT)))
def test_what_is_made_from_tables_is_current(path):
    assert read(path) == tables.made(ROOT)[os.path.join(ROOT, path)], "run make man"


def test_every_setting_and_every_event_has_its_place_in_a_page():
    for row in settings.SETTINGS:
        assert f".It Sy {row.name}\n" in read("man", "pymta.conf.5")
    for word in log.EVENTS:
        assert f".It Sy {word} Pq" in read("man", "pymta-log.5")


def test_every_event_that_is_logged_is_in_the_table():
    for top, _, names in os.walk(os.path.join(ROOT, "pymta")):
        for name in names:
            if name.endswith(".py"):
                for word in re.findall(r'\blog\.(?:event|line)\(\s*"([^"]+)"', read(top, name)):
                    assert word in log.EVENTS, f"{top}/{name}: {word}"


def test_every_setting_that_is_read_exists():
    for top, _, names in os.walk(os.path.join(ROOT, "pymta")):
        for name in names:
            if name.endswith(".py"):
                for word in re.findall(r'\[\s*f?"((?:host|local|queue|smtp|tls|login|imap|pop3|remote|dns)\.[a-z_0-9]+)"\s*\]', read(top, name)):
                    assert word in settings.BY_NAME, f"{top}/{name}: {word}"


def test_a_page_may_hold_a_backslash_and_a_leading_dot():
    assert tables.mdoc(".x a\\b.  'y") == "\\&.x a\\eb.\n\\&'y"


def test_a_table_nobody_knows_is_an_error():
    with pytest.raises(KeyError):
        tables.fill('a\n.\\" table: nonsense\n.\\" table end\n')


# ---- programs ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_page_a_script_and_one_sentence(program):
    scripts = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]
    module = program.removeprefix("pymta-").replace("-", "_")
    module += "_" if keyword.iskeyword(module) else ""
    assert scripts[program] == f"pymta.programs.{module}:main"
    page = page_of(program)
    assert page, f"no man page for {program}"
    sentence = re.search(r'^"""(\S+): (.*?)\.(?:  .*)?$', read("pymta", "programs", module + ".py"), re.M)
    assert sentence and sentence[1] == program
    assert re.search(rf"\n\.Nm {program}(?: ,\n\.Nm \S+)*\n\.Nd {re.escape(sentence[2])}\n", read("man", page)), sentence[2]
    assert len(read("bin", program).splitlines()) <= 6 and os.access(os.path.join(ROOT, "bin", program), os.X_OK)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_map_names_every_program(program):
    assert re.search(rf"^\.(It )?Xr .*\b{program} \d", read("man", "pymta.7").partition(".Sh PROGRAMS")[2].partition("\n.Sh ")[0], re.M)


def test_every_script_has_its_program():
    assert sorted(tomllib.loads(read("pyproject.toml"))["project"]["scripts"]) == PROGRAMS


@pytest.mark.parametrize("program", [program for program in PROGRAMS if program != "pymta-inject"])
def test_every_option_stands_in_the_page(program):
    done = subprocess.run([sys.executable, os.path.join(ROOT, "bin", program), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    page = re.sub(r"[ \n]+", " ", read("man", page_of(program)).replace("\\", ""))
    for option in set(re.findall(r"(?<![\w-])--([a-z][a-z-]+)", done.stdout)) - {"help"}:
        assert re.search(rf"(Fl -|--|Cm -*){option}\b", page), f"--{option} is not in {page_of(program)}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_page_of_a_program_has_every_section_in_the_usual_order(program):
    found = re.findall(r"^\.Sh (.*)$", read("man", page_of(program)), re.M)
    wanted = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "FILES", "EXIT STATUS", "EXAMPLES", "SECURITY"]
    assert [section for section in found if section in wanted] == wanted


@pytest.mark.parametrize("page", PAGES)
def test_a_page_refers_to_pages_that_exist(page):
    assert os.path.basename(page).rsplit(".", 1)[1] in ("1", "5", "7", "8")
    for name, section in re.findall(r"\bXr (pymta\S*) (\d)", read("man", page)):
        assert f"{name}.{section}" in PAGES, f"{page}: {name}({section})"


def test_the_pages_the_places_name_exist():
    for place in layout.PLACES:
        name, _, section = place.page.rstrip(")").partition("(")
        assert f"{name}.{section}" in PAGES, place.page


# ---- units ------------------------------------------------------------------------------------------------------------
def unit(name: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for line in read("systemd", name).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            out.setdefault(key, []).append(value)
    return out


@pytest.mark.parametrize("program", sorted(DAEMONS))
def test_a_unit_says_what_the_table_of_places_says(program):
    facts = unit(f"{program}.service")
    assert facts["ExecStart"] == [f"/usr/sbin/{program}"] and facts["Type"] == ["notify"]
    writes = {place for place in layout.SPOOL if place.writer == program}
    spool = "/var/spool/pymta" in facts.get("ReadWritePaths", [""])[0].split()
    assert spool == bool(writes), "the spool is one entry: a rename between two of them fails"
    assert not [path for path in facts["ReadWritePaths"][0].split() if path.startswith("/var/spool/pymta/")]
    if "User" in facts:
        assert facts["User"][0] in layout.ACCOUNTS and facts["CapabilityBoundingSet"] == [""]
        assert {place.owner for place in writes} <= {facts["User"][0], "root", "any user"}
    else:
        assert "CAP_SETUID" in facts["CapabilityBoundingSet"][0]
        assert "CAP_SYS_ADMIN" not in facts["CapabilityBoundingSet"][0]
    for name in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectKernelTunables", "ProtectControlGroups"):
        assert facts[name] == ["yes"]
    assert facts["ProtectSystem"] == ["strict"] and "SystemCallFilter" in facts
    assert f".Nd {facts['Description'][0]}\n" in read("man", page_of(program)), "run make man"


def test_a_socket_for_each_port_that_is_listened_on_by_default():
    by_name = {"smtp": "smtp.listen", "submission": "smtp.submission", "submissions": "smtp.submissions", "imap": "imap.listen",
               "imaps": "imap.listen_tls", "pop3": "pop3.listen", "pop3s": "pop3.listen_tls"}
    found = {name.removeprefix("pymta-").removesuffix(".socket") for name in os.listdir(os.path.join(ROOT, "systemd")) if name.endswith(".socket")}
    assert found == {*by_name, "lmtp"}
    assert unit("pymta-lmtp.socket")["FileDescriptorName"] == ["lmtp"] and unit("pymta-lmtp.socket")["SocketMode"] == ["0660"]
    assert unit("pymta-lmtp.socket")["WantedBy"] == ["sockets.target"]
    for name, setting in by_name.items():
        facts = unit(f"pymta-{name}.socket")
        assert facts["FileDescriptorName"] == [name]
        assert facts["ListenStream"] == [settings.BY_NAME[setting].default.rpartition(":")[2]]
        assert facts["Service"][0].removesuffix(".service") in settings.BY_NAME[setting].used_by


def test_the_target_wants_every_daemon():
    assert {name.removesuffix(".service") for name in unit("pymta.target")["Wants"][0].split()} == DAEMONS


def test_every_account_of_a_place_is_made():
    for place in layout.PLACES:
        assert {place.owner, place.group} <= {"root", *layout.ACCOUNTS}
    for name in layout.ACCOUNTS:
        assert f"u {name} " in read("systemd", "pymta.sysusers")


# ---- words ------------------------------------------------------------------------------------------------------------
def test_readme_says_how_the_tests_are_run():
    assert "make check" in read("README.md") and "make check" in read(".ci", "run")
    assert "the pymta authors" in read("LICENSE")
    assert "__version__" in read("pymta", "__init__.py")
