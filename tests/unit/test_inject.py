"""inject: the command line of sendmail, reading a message, and who it is for."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import durable, hostname, layout, settings
from pymta.formats import queuefile
from pymta.message import dsn
from pymta.programs import inject
from pymta.programs.inject import Refused

ROOT = Path(__file__).resolve().parents[2]
VALUES = {**inject.DEFAULTS, "host.name": "h.example"}


def parsed(line: str) -> inject.Options:
    return inject.parse([word.encode() for word in line.split()])


# ---- the command line -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("line, what", [
    ("-t", dict(from_header=True)), ("-ti", dict(from_header=True, ignore_dots=True)), ("-i", dict(ignore_dots=True)),
    ("-oi", dict(ignore_dots=True)), ("-toi", dict(from_header=True, ignore_dots=True)), ("-o i", dict(ignore_dots=True)),
    ("-O IgnoreDots=True", dict(ignore_dots=True)), ("-OIgnoreDots", dict(ignore_dots=True)), ("-oIgnoreDots", dict(ignore_dots=False)),
    ("-f ann@x", dict(sender=b"ann@x")), ("-fann@x", dict(sender=b"ann@x")), ("-r ann", dict(sender=b"ann")), ("-tif ann", dict(sender=b"ann")),
    ("-f <>", dict(sender=b"<>")), ('-f""', dict(sender=b"")), ("-F Ann", dict(full_name=b"Ann")), ("-FAnn", dict(full_name=b"Ann")),
    ("-bm", dict(mode=b"m")), ("-bp", dict(mode=b"p")), ("-b s", dict(mode=b"s")), ("-bi", dict(mode=b"i")), ("-I", dict(mode=b"i")),
    ("-q", dict(mode=b"q")), ("-q30m", dict(mode=b"q")), ("-qIabc", dict(mode=b"q")), ("-qf", dict(mode=b"q", sender=None)),
    ("-N never", dict(notify=b"NEVER")), ("-N success,Failure", dict(notify=b"SUCCESS,FAILURE")), ("-R hdrs", dict(ret="HDRS")),
    ("-V QQ+314=", dict(envid="QQ+2B314+3D")), ("--etc /x", dict(etc="/x")), ("--etc=/y -t", dict(etc="/y", from_header=True)),
])
def test_options(line, what):
    options = parsed(line)
    assert {name: getattr(options, name) for name in what} == what and options.recipients == []


@pytest.mark.parametrize("line, recipients", [
    ("ann", [b"ann"]), ("-i ann bob", [b"ann", b"bob"]), ("ann -i bob", [b"ann", b"bob"]), ("-- -x ann", [b"-x", b"ann"]), ("ann -- -f bob", [b"ann", b"-f", b"bob"]),
    ("-oem -oee -odi -odb -om -om ann", [b"ann"]), ("-B8BITMIME -B 8BITMIME ann", [b"ann"]), ("-v -G -U -n -m -x -c -s -a -E ann", [b"ann"]),
    ("-L tag -C /etc/sendmail.cf -X log -h 5 -p esmtp ann", [b"ann"]), ("-d0.1 -d -M123 ann", [b"ann"]), ("-Am -Ac ann", [b"ann"]),
    ("-O DeliveryMode=b ann", [b"ann"]), ("-", [b"-"]), ("-em -e m ann", [b"ann"]),
])
def test_what_is_harmless_is_ignored(line, recipients):
    options = parsed(line)
    assert options.recipients == recipients and options.mode == b"m" and options.sender is None


@pytest.mark.parametrize("line", ["-f", "-t -F", "-N maybe", "-N never,success", "-R some", "--nonsense", "--etc", "-V " + "x" * 101])
def test_what_makes_no_sense_is_refused(line):
    with pytest.raises(Refused) as refused:
        parsed(line)
    assert refused.value.status == 64


@given(st.lists(st.binary(max_size=12), max_size=6))
def test_parsing_is_total(words):
    try:
        inject.parse(words)
    except Refused as refused:
        assert refused.status == 64 and refused.text.isprintable()


@given(st.text(max_size=50))
def test_xtext_comes_back(text):
    made = inject.xtext(text.encode("utf-8", "replace"))
    assert made.isascii() and made.isprintable() and " " not in made and "=" not in made
    assert dsn.xtext_decode(made).encode("utf-8", "replace") == text.encode("utf-8", "replace")


# ---- settings ---------------------------------------------------------------------------------------------------------
def test_defaults_are_those_of_settings():
    assert {name: settings.BY_NAME[name].default for name in inject.DEFAULTS} == inject.DEFAULTS
    assert set(inject.DEFAULTS) >= {row.name for row in settings.SETTINGS if "pymta-inject" in row.used_by}


@pytest.mark.parametrize("value", ["50M", "0", "12", "1.5K", "1KiB", "7B", "", "M", "5x", "-1", "1e3", "٣", "1..2", "5 M", "10KB", "."])
def test_sizes_are_read_as_settings_reads_them(value):
    try:
        assert inject.octets(value) == settings.size(value)
    except ValueError:
        assert inject.octets(value) is None


def test_settings_are_read_as_settings_reads_them(tmp_path):
    (tmp_path / "pymta.conf").write_text("host.name = Mail.Example.  # ours\nqueue.size_max = 5x\nqueue.free_min = 1K\nnonsense\nsmtp.workers = 1\n")
    ours, theirs = inject.read_settings(str(tmp_path)), settings.read(str(tmp_path))
    assert ours["host.name"] == theirs.host == "mail.example"
    assert inject.octets(ours["queue.size_max"]) == theirs["queue.size_max"] and inject.octets(ours["queue.free_min"]) == 1024
    assert inject.read_settings(str(tmp_path / "nowhere"))["host.spool"] == settings.read(str(tmp_path / "nowhere"))["host.spool"]


@pytest.mark.parametrize("hosts, name, found", [
    ("127.0.0.1 localhost\n127.0.1.1 box.a.example box\n", "box", "box.a.example"),
    ("127.0.1.1 box box.a.example # comment\n", "box", "box.a.example"),
    ("127.0.0.1 localhost.localdomain box\n", "box", ""), ("# 1.2.3.4 box.b.example box\n", "box", ""), ("", "box", ""), ("1.2.3.4", "box", ""),
])
def test_the_name_in_etc_hosts(hosts, name, found):
    assert hostname.in_hosts(hosts, name) == found


# ---- the message ------------------------------------------------------------------------------------------------------
def read(data: bytes, size_max: int = 1 << 20, *, ignore_dots: bool = False, chunk: int = 0) -> bytes:
    """read_message from a pipe into which data is written, in pieces of that size."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            for at in range(0, len(data), chunk or len(data) or 1):
                os.write(writer, data[at:at + (chunk or len(data))])
        finally:
            os._exit(0)
    os.close(writer)
    try:
        return inject.read_message(reader, size_max, ignore_dots=ignore_dots)
    finally:
        os.close(reader)
        os.waitpid(child, 0)


@pytest.mark.parametrize("sent, taken", [
    (b"", b""), (b"a", b"a\n"), (b"a\r\nb\r\n", b"a\nb\n"), (b"a\rb\r", b"a\nb\n"), (b"a\0b\n", b"ab\n"),
    (b"a\n.\nb\n", b"a\n"), (b"a\r\n.\r\nb", b"a\n"), (b".\nb\n", b""), (b".\r\nb", b""), (b"a\n.", b"a\n"), (b".", b""),
    (b"a\n..\nb\n", b"a\n..\nb\n"), (b"a\n.b\n", b"a\n.b\n"), (b"a.\nb", b"a.\nb\n"),
])
def test_reading(sent, taken):
    assert read(sent) == taken
    assert read(sent, chunk=1) == taken


def test_a_dot_is_a_line_like_any_other_with_i():
    assert read(b"a\n.\nb\n", ignore_dots=True) == b"a\n.\nb\n" and read(b"a\n.", ignore_dots=True) == b"a\n.\n"


def test_a_dot_ends_the_message_while_the_pipe_stays_open():
    reader, writer = os.pipe()
    os.write(writer, b"hello\n.\n")
    assert inject.read_message(reader, 1000, ignore_dots=False) == b"hello\n"
    os.close(reader), os.close(writer)


@pytest.mark.parametrize("data, fits", [(b"x" * 99 + b"\n", True), (b"x" * 100 + b"\n", False), (b"x\r\n" * 50, True), (b"x\n" * 200000, False)])
def test_the_limit_counts_lf_lines(data, fits):
    if fits:
        assert len(read(data, 100)) == 100
    else:
        with pytest.raises(Refused) as refused:
            read(data, 100)
        assert refused.value.status == 65 and "queue.size_max" in refused.value.text


def test_input_that_cannot_be_read(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(Refused) as refused:
        inject.read_message(directory, 1000, ignore_dots=False)
    os.close(directory)
    assert refused.value.status == 66


def test_lines_of_mail_folders_go():
    assert inject.without_mbox_line(b"From ann Mon\n>From bob Tue\nFrom: x\n") == b"From: x\n"


# ---- the envelope -----------------------------------------------------------------------------------------------------
def envelope(line: str, fields: bytes = b"", **values: str) -> queuefile.Envelope:
    return inject.envelope_for(parsed(line), fields, {**VALUES, **values}, "1j0ug8tcdr597dd")


def who(line: str, fields: bytes = b"") -> list[bytes]:
    return [recipient.address for recipient in envelope(line, fields).recipients]


def test_recipients_of_argv_and_header_add_up():
    fields = b"To: ann, Bob <bob@B.example>\nCc: dan@d.example\nBcc: eve\nReply-To: no\n"
    assert who("-t carl ann@h.example", fields) == [b"carl@h.example", b"ann@h.example", b"bob@b.example", b"dan@d.example", b"eve@h.example"]
    assert who("carl", fields) == [b"carl@h.example"]


def test_argv_may_hold_lists_and_names():
    assert who("Ann<ann@x.example>,bob") == [b"ann@x.example", b"bob@h.example"]


def test_resent_recipients_alone_count():
    assert who("-t", b"To: ann\nResent-To: bob\nResent-Bcc: eve\nResent-Date: x\n") == [b"bob@h.example", b"eve@h.example"]


@pytest.mark.parametrize("line, fields, status", [
    ("-t", b"Subject: x\n", 64), ("", b"To: ann\n", 64), ("-t", b"To: Ann Smith\n", 65), ("a@b@c", b"", 65), ("a..b@x", b"", 65),
    ("-t", b"To: undisclosed-recipients:;\n", 64), ("-f a@b@c ann", b"", 64), ("-f a,b ann", b"", 64), ("<>", b"", 64)])
def test_bad_envelopes(line, fields, status):
    with pytest.raises(Refused) as refused:
        envelope(line, fields)
    assert refused.value.status == status


def test_too_many_recipients():
    with pytest.raises(Refused) as refused:
        envelope("a b c", **{"queue.recipients_max": "2"})
    assert refused.value.status == 65 and "queue.recipients_max" in refused.value.text


def test_senders(monkeypatch):
    monkeypatch.setattr(inject, "login", lambda: (b"ann", b"Ann Nym"))
    assert envelope("x").sender == b"ann@h.example"
    assert envelope("-f bob x").sender == b"bob@h.example" and envelope("-f <Bob@B.EXAMPLE> x").sender == b"Bob@b.example"
    assert envelope("-f <> x").sender == b""
    monkeypatch.setattr(inject, "login", lambda: (b"CORP\\ann b", b""))
    assert envelope("x").sender == b'"CORP\\\\ann b"@h.example'


def test_a_host_name_that_is_none():
    with pytest.raises(Refused) as refused:
        envelope("ann", **{"host.name": "my host"})
    assert refused.value.status == 78 and "host.name" in refused.value.text


def test_a_uid_that_nobody_bears(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 54321987)
    assert inject.login() == (b"uid54321987", b"")


def test_what_the_sender_wants_to_hear_is_kept():
    made = envelope("-N success,delay -R full -V id+1 ann bob")
    assert all(r.notes == ((b"Pymta-Notify", b"SUCCESS,DELAY"),) and r.kind == queuefile.UNROUTED for r in made.recipients)
    assert made.facts == {"ret": "FULL", "envid": "id+2B1"}
    assert queuefile.decode(queuefile.encode(made, b"")).facts == made.facts


# ---- the drop ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def spool(tmp_path):
    layout.make_spool(str(tmp_path), single_uid=True)
    yield tmp_path
    durable.tap = None


def submit(spool, message: bytes = b"Subject: x\n\nhello\n", **more: str) -> str:
    return inject.submit(parsed("-f ann@h.example -F Ann bob"), message, {**VALUES, "host.spool": str(spool), "queue.free_min": "0", **more})


def test_a_drop_is_whole_and_is_synced_before_it_is_named(spool):
    calls = []
    durable.tap = lambda call, path, *rest: calls.append((call, Path(path).relative_to(spool).parts[2]))
    id = submit(spool)
    assert calls == [("create", "tmp"), ("write", "tmp"), ("sync_file", "tmp"), ("rename", "tmp"), ("sync_dir", "new")]
    path = spool / "in/inject/new" / f"{id}.drop"
    assert path.stat().st_mode & 0o7777 == 0o640
    fd = os.open(path, os.O_RDONLY)
    assert queuefile.is_whole(fd)
    os.close(fd)
    made = queuefile.decode(path.read_bytes())
    text = path.read_bytes()[made.head_octets:]
    assert made.sender == b"ann@h.example" and made.recipients == [queuefile.Recipient(queuefile.UNROUTED, b"bob@h.example")] and made.id == id
    assert text.startswith(b"Subject: x\nDate: ") and text.endswith(b"\n\nhello\n") and b"From: Ann <ann@h.example>\n" in text


@pytest.mark.parametrize("message, end", [
    (b"", b"\n\n"), (b"no header\n", b"\n\nno header\n"), (b"A: 1\n", b"\n\n"), (b"From me Mon\nA: 1\n\nx\n", b"\n\nx\n"), (b"\n\nx\n", b"\n\n\nx\n")])
def test_header_and_body_are_parted(spool, message, end):
    path = spool / "in/inject/new" / f"{submit(spool, message)}.drop"
    text = path.read_bytes()[queuefile.decode(path.read_bytes()).head_octets:]
    assert text.endswith(end) and b"From me" not in text and b"\nMessage-ID: <" in b"\n" + text


def test_a_big_message(spool):
    body = b"0123456789abcdef\n" * 20000
    path = spool / "in/inject/new" / (submit(spool, b"A: 1\n\n" + body) + ".drop")
    fd = os.open(path, os.O_RDONLY)
    assert queuefile.is_whole(fd) and path.read_bytes().endswith(b"\n\n" + body)
    os.close(fd)


@pytest.mark.parametrize("call", ["create", "write", "sync_file", "rename", "sync_dir"])
@pytest.mark.parametrize("number, status", [("ENOSPC", 75), ("EIO", 75), ("EDQUOT", 75), ("EACCES", 77), ("ENOENT", 78)])
def test_a_refusal_of_the_disk_leaves_nothing(spool, call, number, status):
    import errno

    def refuse(which, *_):
        if which == call:
            raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))
    durable.tap = refuse
    with pytest.raises(Refused) as refused:
        submit(spool)
    assert refused.value.status == status and "in/inject" in refused.value.text
    assert not list(spool.rglob("*.drop"))


def test_a_full_disk_is_seen_before(spool):
    with pytest.raises(Refused) as refused:
        submit(spool, **{"queue.free_min": "100000000G"})
    assert refused.value.status == 75 and not list(spool.rglob("*.drop"))


# ---- start-up ---------------------------------------------------------------------------------------------------------
def test_it_imports_next_to_nothing(tmp_path):
    """Each of these would cost more than the whole program."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pymta.programs import inject; import pwd; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-IS", "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    extra = {name.partition(".")[0] for name in done.stdout.split()} - {"pymta"}
    heavy = {"re", "enum", "typing", "dataclasses", "socket", "email", "collections", "contextlib", "functools", "argparse", "logging", "struct",
             "signal", "tempfile", "shutil", "inspect", "importlib", "warnings", "locale", "random", "ipaddress", "ctypes", "datetime"}
    assert not extra & heavy
    ours = {name for name in done.stdout.split() if name.startswith("pymta")}
    assert ours == {"pymta", "pymta.durable", "pymta.formats", "pymta.formats.conf", "pymta.formats.queuefile", "pymta.message",
                    "pymta.message.address", "pymta.message.header", "pymta.programs", "pymta.programs.inject"}
