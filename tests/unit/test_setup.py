"""setup: pymta.conf is changed where it was asked for and nowhere else; answers are taken or refused for a reason; plans are what is missing."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pymta import settings
from pymta.formats import conf
from pymta.programs import config
from pymta.setup import asking, edit, plan
from pymta.setup.asking import Wanted, Wrong

# ---- the edit ---------------------------------------------------------------------------------------------------------
ROWS = [
    ("", {"host.name": "a.b"}, "# Settings of pymta: see pymta.conf(5); `pymta-config check` after a change.\n\nhost.name = a.b\n"),
    ("x.y = 1\n", {"host.name": "a.b"}, "x.y = 1\nhost.name = a.b\n"),
    ("x.y = 1", {"host.name": "a.b"}, "x.y = 1\nhost.name = a.b\n"),
    ("host.name = a.b\n", {"host.name": "a.b"}, "host.name = a.b\n"),
    ("host.name=old\n", {"host.name": "a.b"}, "host.name= a.b\n"),
    ("  host.name  =  old   # why\n", {"host.name": "a.b"}, "  host.name  =  a.b   # why\n"),
    ("host.name = 1\nhost.name = 2\nx.y = 3\n", {"host.name": "a.b"}, "host.name = 1\nhost.name = a.b\nx.y = 3\n"),
    ("# about\n#host.name =\n\n# more\n", {"host.name": "a.b"}, "# about\n#host.name =\nhost.name = a.b\n\n# more\n"),
    ("local.admin = ann\n", {"local.admin": ""}, "local.admin = \n"),
    ("nonsense\n", {"host.name": "a.b"}, "nonsense\nhost.name = a.b\n"),
    ("host.name = old\r\nx.y = 1\r\n", {"host.name": "a.b"}, "host.name = a.b\r\nx.y = 1\r\n"),
    ("\ufeffhost.name = old\n", {"host.name": "a.b"}, "\ufeffhost.name = a.b\n"),
    ("host.name =\n", {"host.name": "a.b"}, "host.name = a.b\n"),
]


@pytest.mark.parametrize("before, values, after", ROWS)
def test_edit(before, values, after):
    assert edit.changed(before, values) == after
    assert edit.changed(after, values) == after


@pytest.mark.parametrize("value", ["a\nb = c", "a # b", "# a", " a", "a "])
def test_what_cannot_stand_in_a_line(value):
    with pytest.raises(ValueError, match="cannot stand in a line"):
        edit.changed("", {"host.name": value})


_LINES = some.lists(some.sampled_from(["host.name = a", "host.name=b # c", "#host.name = ", "# text", "", "x.y = 1", "x.y = 2", "bad", "\t", "é = ü", "x.z = #1"]), max_size=8)


@given(_LINES, some.sampled_from(["host.name", "x.y", "new.one"]), some.sampled_from(["v", "v w", "1, 2", ""]), some.booleans())
def test_any_edit_changes_that_alone(lines, name, value, ends):
    before = "\n".join(lines) + ("\n" if ends else "")
    after = edit.changed(before, {name: value})

    def facts(text):
        rows, bad = conf.parse(text)
        return [(key, held) for _, key, held in rows if key != name], [why for _, why in bad], [line.partition("#")[2] for line in text.split("\n") if "#" in line]
    assert [held for _, key, held in conf.parse(after)[0] if key == name][-1] == value
    if before.strip():
        assert facts(after) == facts(before)
    assert edit.changed(after, {name: value}) == after


def test_the_example_is_filled_in():
    after = edit.changed(config.example(), {"host.name": "mail.example.org", "local.domains": "example.org"})
    assert "#host.name =\nhost.name = mail.example.org\n" in after and "#local.domains =\nlocal.domains = example.org\n" in after


# ---- answers ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("read, value, result", [
    (asking.host, "Mail.Example.ORG.", "mail.example.org"), (asking.domains, "a.example, b.example a.example", ("a.example", "b.example")),
    (asking.domains, "bücher.example", ("xn--bcher-kva.example",)), (asking.user, "Ann@Example.org", "ann@example.org"), (asking.user, "ann", "ann"),
    (asking.admin, "ann, bob@x.example", "ann, bob@x.example"), (asking.yes, "Y", True), (asking.yes, "no", False), (asking.domains, "", ()),
])
def test_answers(read, value, result):
    assert read(value) == result


@pytest.mark.parametrize("read, value", [
    (asking.host, "mail"), (asking.host, "a b.example"), (asking.host, "192.0.2.7"), (asking.host, ""), (asking.host, "-a.example"), (asking.domains, "a..b"),
    (asking.domains, "a@b.example"), (asking.user, "a b"), (asking.user, "ann@"), (asking.user, "ann:0"), (asking.user, "ann\nbob"), (asking.admin, "a b"),
    (asking.yes, "perhaps"), (asking.host, "\udcff.example"),
])
def test_answers_that_will_not_do(read, value):
    with pytest.raises(Wrong):
        read(value)


def talk(now, given, answers):
    """(what is wanted, the questions with their defaults, what was said)"""
    asked, said, lines = [], [], iter(answers)

    def question(text, default):
        asked.append((text, default))
        return next(lines) or default
    return asking.ask(now, frozenset(given), question, said.append), asked, said


NOW = Wanted("vm", (), True)


def test_questions_follow_from_answers():
    wanted, asked, said = talk(NOW, (), ["vm", "mail.example.org", "", "", "ann@example.org", ""])
    assert wanted == Wanted("mail.example.org", ("example.org",), True, "ann@example.org", "ann@example.org")
    assert [default for _, default in asked] == ["vm", "vm", "example.org", "yes", "-", "ann@example.org"]
    assert said == ["  vm: other hosts want a name with a domain; write mail.example.org"]


def test_what_was_given_is_not_asked():
    wanted, asked, _ = talk(Wanted("mail.a.example", ("a.example",), False, "ann", ""), ("host", "domains", "system_users", "user", "admin"), [])
    assert asked == [] and wanted.admin == ""
    wanted, asked, _ = talk(Wanted("mail.a.example", ("x.example",), False), ("host", "user", "admin"), ["", "no"])
    assert wanted.domains == ("x.example",) and [default for _, default in asked] == ["x.example", "no"]


def test_nobody_and_nothing_are_answers():
    wanted, _, _ = talk(Wanted("mail.a.example", ("a.example",), True), (), ["", "", "", "-", "-"])
    assert wanted.user == "" and wanted.admin == ""


# ---- plans ------------------------------------------------------------------------------------------------------------
def planned(etc, text, wanted, **files):
    (etc / "pymta.conf").write_text(text)
    for name, data in files.items():
        (etc / name).write_text(data)
    return plan.make(wanted, settings.read(str(etc)))


BASE = "host.name = mail.a.example\nlocal.domains = a.example\nlocal.system_users = no\nlocal.virtual_uid = 1234\n"


def test_nothing_is_planned_where_all_is_there(tmp_path):
    made = planned(tmp_path, BASE + "local.admin = ann\n", Wanted("mail.a.example", ("a.example",), False, "ann", "ann"), users="ann\n", passwords="ann@a.example:!\n")
    assert made.changes == () and made.user == "ann@a.example" and made.has_password


@pytest.mark.parametrize("name", ["ann", "ann@a.example"])
@pytest.mark.parametrize("under", ["ann", "ann@a.example", "ANN"])
def test_a_password_is_found_under_any_of_the_names(tmp_path, name, under):
    assert planned(tmp_path, BASE, Wanted("mail.a.example", ("a.example",), False, name), users="ann\n", passwords=f"{under}:!\n").has_password


def test_a_plan_says_every_line(tmp_path):
    made = planned(tmp_path, BASE, Wanted("mx.b.example", ("a.example", "b.example"), True, "eve@c.example", "eve@c.example", ("192.0.2.7",)))
    lines = {change.path.rpartition("/")[2]: change.lines for change in made.changes}
    assert lines["users"] == ("+ eve@c.example",) and sorted(lines["pymta.conf"]) == sorted((
        "- host.name = mail.a.example", "+ host.name = mx.b.example", "- local.domains = a.example", "+ local.domains = a.example, b.example",
        "- local.system_users = no", "+ local.system_users = yes", "+ local.admin = eve@c.example", "+ host.addresses = 192.0.2.7"))
    assert not made.has_password and made.future.host == "mx.b.example" and made.remarks == ()
    assert settings.read(str(tmp_path)).host == "mail.a.example"                    # planned, not written


def test_a_domain_cannot_be_local_and_virtual(tmp_path):
    with pytest.raises(Wrong, match="local.virtual_domains already"):
        planned(tmp_path, BASE + "local.virtual_domains = v.example\n", Wanted("mail.a.example", ("a.example", "v.example"), False))


def test_domains_of_users_are_not_added_to(tmp_path):
    (tmp_path / "pymta.conf").write_text("host.name = mail.a.example\n")
    (tmp_path / "users").write_text("ann@x.example\n")
    assert asking.held(settings.read(str(tmp_path))).domains == ()
    (tmp_path / "users").write_text("")
    assert asking.held(settings.read(str(tmp_path))).domains == ("a.example",)
