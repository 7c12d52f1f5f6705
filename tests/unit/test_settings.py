"""settings: every setting once, and what may be written for it."""
import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import hostname, settings
from pymta.settings import BY_NAME, SETTINGS


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "pymta.conf").write_text(text)
        return settings.read(str(tmp_path))
    return read


def network(text):
    return ipaddress.ip_network(text)


GOOD = [
    (settings.duration, "90s", 90), (settings.duration, "1.5h", 5400), (settings.duration, "5d", 432000), (settings.duration, "250ms", 0.25),
    (settings.duration, "0s", 0), (settings.duration, "2w", 1209600), (settings.size, "65536", 65536), (settings.size, "512K", 524288),
    (settings.size, "50M", 52428800), (settings.size, "1GiB", 1 << 30), (settings.size, "7B", 7), (settings.durations, "0s, 5m 15m", (0, 300, 900)),
    (settings.boolean, "Yes", True), (settings.boolean, "off", False), (settings.count, "0", 0), (settings.count, "0010", 10), (settings.positive, "1", 1),
    (settings.port, "25", 25), (settings.words, "a, b  c,", ("a", "b", "c")), (settings.domains, "A.Test., b.test", ("a.test", "b.test")),
    (settings.networks, "192.0.2.7/24 2001:db8::/32", (network("192.0.2.0/24"), network("2001:db8::/32"))),
    (settings.host_port, "mail.example:587", ("mail.example", 587)), (settings.host_port, "[2001:db8::1]:25", ("2001:db8::1", 25)),
    (settings.host_port, "", None), (settings.listen, "[::]:25, 127.0.0.1:26", (("::", 25), ("127.0.0.1", 26))), (settings.listen, "", ()),
    (settings.delimiters, "-+", "-+"), (settings.delimiters, "", ""), (settings.choice("may", "never"), "may", "may"),
]
BAD = [
    (settings.duration, "5x"), (settings.duration, "5"), (settings.duration, "-5s"), (settings.duration, ""), (settings.duration, "1e3s"),
    (settings.duration, "²s"), (settings.duration, "1.2.3s"), (settings.duration, ".s"), (settings.duration, "inf"), (settings.duration, "nan"),
    (settings.size, "9" * 400), (settings.size, "1KB"), (settings.size, "-1"), (settings.boolean, "maybe"), (settings.count, "-1"), (settings.count, "1.0"),
    (settings.count, "²"), (settings.count, "9" * 5000), (settings.count, ""), (settings.positive, "0"), (settings.port, "0"), (settings.port, "65536"),
    (settings.networks, "192.0.2.300"), (settings.networks, "hosts"), (settings.host_port, "mail.example"), (settings.host_port, ":25"),
    (settings.host_port, "x:0"), (settings.host_port, "x:65536"), (settings.host_port, "x:²"), (settings.listen, "25"), (settings.delimiters, "-a"),
    (settings.delimiters, "@"), (settings.delimiters, "- +"), (settings.choice("may", "never"), "must"), (settings.durations, "5m, soon"),
]


@pytest.mark.parametrize("kind, text, value", GOOD)
def test_value(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize("kind, text", BAD)
def test_no_value(kind, text):
    with pytest.raises(ValueError) as refusal:
        kind(text)
    assert "write" in str(refusal.value)


@given(st.text(max_size=60))
def test_a_kind_gives_a_value_or_a_remedy(text):
    for kind in {row.kind for row in SETTINGS}:
        try:
            value = kind(text)
        except ValueError:
            continue
        assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("row", SETTINGS, ids=[row.name for row in SETTINGS])
def test_row(row):
    row.kind(row.default)                                       # the default may be written
    section, dot, name = row.name.partition(".")
    assert dot and section.isalnum() and name.replace("_", "").isalnum() and row.name.islower()
    assert row.used_by and row.doc.strip() == row.doc and row.doc.endswith((".", ")")) and row.doc.isprintable()


def test_names_are_told_apart():
    assert len(BY_NAME) == len(SETTINGS)


def test_without_a_file(tmp_path):
    current = settings.read(str(tmp_path / "none"))
    assert not current.complaints and current["queue.lifetime"] == 432000
    assert current.host == hostname.find().lower().rstrip(".") and current.sources["host.name"] == "the system"
    assert all(current.texts[row.name] == row.default and current.sources[row.name] == "default" for row in SETTINGS if row.name != "host.name")


def test_a_value_says_where_it_came_from(read, tmp_path):
    current = read("\nhost.name = Mail.Example.\nqueue.retry = 0s, 1m\n")
    assert current.host == "mail.example" and current["queue.retry"] == (0, 60)
    assert current.sources["queue.retry"] == f"{tmp_path}/pymta.conf:3" and current.texts["queue.retry"] == "0s, 1m"


def test_a_wrong_line_is_named_and_the_rest_holds(read, tmp_path):
    current = read("queue.lifetime = 5x\nqueue.liftime = 5d\nnonsense\nsmtp.workers = 3\nsmtp.workers = 4\n\xff = 1\n")
    at = f"{tmp_path}/pymta.conf"
    assert current["queue.lifetime"] == 432000 and current["smtp.workers"] == 4
    assert f"{at}:1: queue.lifetime = 5x: not a duration; write 90s, 30m, 5d" in current.complaints
    assert f"{at}:2: queue.liftime: no such setting; did you mean queue.lifetime?" in current.complaints
    assert sorted(int(line[len(at) + 1:].partition(":")[0]) for line in current.complaints) == [1, 2, 3, 4, 6]


def test_settings_cannot_be_changed(read):
    current = read("")
    with pytest.raises(TypeError):
        current["queue.lifetime"] = 1                           # type: ignore[index]
    with pytest.raises(KeyError):
        current["no.such"]
