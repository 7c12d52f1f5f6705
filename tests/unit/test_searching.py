"""The text kept for SEARCH: what is found in it is what the messages say; it may be damaged, removed or another's at any moment."""
from __future__ import annotations

import base64
import datetime
import os
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pymta import mailbox
from pymta.formats import searchtext
from pymta.formats.searchtext import HEADERS_NAME, TEXTS_NAME, Said, decode, encode
from pymta.index import children, searching, textfile, textwork
from pymta.mailbox.folder import Folder
from pymta.message import decode as decoding
from pymta.message import searchable
from tests import searched
from tests.oddmail import ODD


def text(number: int) -> bytes:
    return b"From: a@b.test\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?= %d.\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\npart %d.\n--x--\n" % (number, number)


@pytest.fixture
def store(tmp_path):
    store = mailbox.MailStore(str(tmp_path / "Maildir"))
    folder = store.open("INBOX")
    folder.append_all([(text(number), (), 1e9 + number) for number in range(120)])
    yield store
    store.close(folder)


@pytest.fixture
def folder(store):
    folder = store.open("INBOX")
    yield folder
    store.close(folder)


def find(folder: Folder, key: tuple, messages=None) -> list[int]:
    looking = folder.searching(folder.messages if messages is None else messages, key)
    try:
        while looking.step():
            pass
        return sorted(looking.found)
    finally:
        looking.close()


SUBJECT = ("HEADER", b"subject", "GRÜSSE".replace("SS", "ß") + " 7")
KEYS = [SUBJECT, ("TEXT", "part 1"), ("TEXT", "GRÜ"), ("BODY", "part 11."), ("BODY", "subject"), ("TEXT", "subject: gr"), ("HEADER", b"from", ""),
        ("HEADER", b"to", ""), ("BODY", ""), ("TEXT", "nowhere"), ("BODY", "."), ("TEXT", "a"), ("FUZZY", ("TEXT", "grusse 12"))]
EXPECTED = {SUBJECT: [8, *range(71, 81)], ("BODY", "part 11."): [12], ("BODY", "subject"): [], ("HEADER", b"to", ""): []}


def by_reading(folder: Folder, key: tuple) -> list[int]:
    return sorted(searched.by_reading([(message.uid, folder.read(message.uid)) for message in folder.messages], key))


def right(folder: Folder) -> bool:
    return all(find(folder, key) == EXPECTED.get(key, by_reading(folder, key)) for key in KEYS)


def paths(folder: Folder) -> list[str]:
    return [os.path.join(folder.directory, name) for name in (HEADERS_NAME, TEXTS_NAME)]


def another(folder: Folder) -> Folder:
    """The same folder as another process has it."""
    other = Folder(folder.root, "INBOX", watched=False)
    other.open()
    return other


SAID = st.builds(Said, st.integers(1, 2**32 - 1), st.binary(max_size=20), *[st.text(max_size=20).map(searchable.needle)] * 2)


@given(st.lists(SAID, min_size=1, max_size=5))
def test_a_block_is_what_it_was(messages):
    octets = encode(messages)
    block, end = decode(octets)
    assert end == len(octets) and list(block.uids) == [one.uid for one in messages]
    starts = block.starts()
    for row, one in enumerate(messages):
        said = octets[block.offset + starts[row]:block.offset + starts[row + 1]]
        assert said == one.first + b"\xff" + one.second + b"\xff" and block.bases[row] == searchtext.base_crc(one.base)
    assert decode(octets[:block.offset - 1]) is None
    assert not block.is_right(octets[block.offset:-1] + b"x")


def test_second_time_no_message_is_read(folder, monkeypatch):
    assert right(folder)
    monkeypatch.setattr(children, "read", lambda *_: pytest.fail("a message was read"))
    expected = [by_reading(folder, key) for key in KEYS]
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    assert [find(folder, key) for key in KEYS] == expected
    other = another(folder)
    assert [find(other, key) for key in KEYS] == expected
    assert find(folder, ("TEXT", "part"), folder.messages[3:9:2]) == [4, 6, 8]
    assert find(folder, ("TEXT", "part"), []) == []
    other.close()
    other.forget()


def test_only_headers_are_read_for_a_header(folder, monkeypatch):
    reads = []
    read = Folder.read
    monkeypatch.setattr(Folder, "read", lambda folder, uid, octets=None: reads.append(octets) or read(folder, uid, octets))
    assert find(folder, SUBJECT) == EXPECTED[SUBJECT]
    assert None not in reads
    assert [os.path.exists(path) for path in paths(folder)] == [True, False]
    folder.append(b"X: " + b"y" * 20_000 + b"\nSubject: far\n\nbody")
    assert find(folder, ("HEADER", b"subject", "far")) == [121]


def test_children_find_what_one_process_finds(folder, monkeypatch):
    expected = [by_reading(folder, key) for key in KEYS]
    monkeypatch.setattr(searching, "CHILDREN_FROM", 3)
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("the children have left something out"))
    assert [find(folder, key) for key in KEYS] == expected
    for path in paths(folder):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_without_children_all_is_found_too(folder, monkeypatch, python):
    monkeypatch.setattr(searching, "CHILDREN_FROM", 3)
    monkeypatch.setattr("pymta.index.children.sys.executable", python)
    assert right(folder)


def test_a_search_that_is_given_up_leaves_no_child(folder, monkeypatch):
    monkeypatch.setattr(searching, "CHILDREN_FROM", 3)
    looking = folder.searching(folder.messages, ("TEXT", "part"))
    assert looking.step()
    pids = [child._process.pid for child in looking._children._children]
    looking.close()
    assert pids and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert looking.step() is None


def test_many_searches_at_once_start_so_many_processes(folder, monkeypatch):
    monkeypatch.setattr(searching, "CHILDREN_FROM", 3)
    expected = by_reading(folder, ("TEXT", "part 1"))
    many = [folder.searching(folder.messages, ("TEXT", "part 1")) for _ in range(20)]
    most = 0
    while any([looking.step() for looking in many]):
        most = max(most, sum(len(looking._children._children) for looking in many if looking._children))
    assert 1 <= most <= children.PROCESSES_MAX
    assert all(sorted(looking.found) == expected for looking in many)
    assert all([children._free.acquire(blocking=False) for _ in range(children.PROCESSES_MAX)])
    for _ in range(children.PROCESSES_MAX):
        children._free.release()


def test_any_damage_is_noticed(folder):
    assert right(folder)
    whole = [open(path, "rb").read() for path in paths(folder)]
    dice = random.Random(3)
    for _ in range(40):
        damaged = [bytearray(data) for data in whole]
        for data in damaged:
            if dice.random() < 0.3:
                del data[dice.randrange(len(data)):]
            elif dice.random() < 0.5:
                at = dice.randrange(len(data))
                data[at:at + 100] = bytes(len(data[at:at + 100]))
            elif dice.random() < 0.5:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        for file in folder.search_files.values():
            file.close()
        for path, data in zip(paths(folder), damaged):
            with open(path, "wb") as file:
                file.write(data)
        assert right(folder)
        assert right(folder)


def test_removed_at_any_moment(folder):
    right(folder)
    other = another(folder)
    for path in paths(folder) * 2:
        if os.path.exists(path):
            os.unlink(path)
        assert right(other)
        assert right(folder)
    other.close()
    other.forget()


def test_removed_in_the_middle_of_a_search(folder, monkeypatch):
    monkeypatch.setattr(textwork, "BLOCK_OCTETS", 200)
    monkeypatch.setattr(searching, "_OCTETS_A_STEP", 1)
    right(folder)
    looking = folder.searching(folder.messages, ("TEXT", "part"))
    looking.step()
    for file in folder.search_files.values():
        file.drop()
    while looking.step():
        pass
    assert len(looking.found) == 120


def test_what_came_since_is_found_and_kept_once_it_is_much(folder):
    right(folder)
    size = os.stat(paths(folder)[0]).st_size
    folder.append_all([(text(number), (), 2e9) for number in range(120, 130)])
    assert right(folder)
    assert find(folder, ("BODY", "part 129.")) == [130]
    assert os.stat(paths(folder)[0]).st_size == size
    folder.append_all([(text(number), (), 2e9) for number in range(130, 180)])
    assert right(folder)
    assert os.stat(paths(folder)[0]).st_size > size


def test_two_processes_keep_in_one_file(folder, monkeypatch):
    find(folder, ("TEXT", "x"), folder.messages[:60])
    other = another(folder)
    find(other, ("TEXT", "x"), other.messages[60:])
    monkeypatch.setattr(Folder, "read", lambda *_: pytest.fail("a message was read"))
    assert find(folder, ("BODY", "part 11")) == find(other, ("BODY", "part 11")) == [12, *range(111, 121)]
    other.close()
    other.forget()


def test_relevancy_is_the_best_of_a_message_kept_or_not(folder):
    folder.append_all([(b"Subject: breaks of imap\n\nthe imap break\n", (), None), (b"Subject: imap break\n\nimap, breaking\n", (), None),
                       (b"Subject: x\n\nbreaks, imapd\n", (), None)] * 20)
    key = ("FUZZY", ("TEXT", "imap break"))
    expected = searched.by_reading([(message.uid, folder.read(message.uid)) for message in folder.messages], key)
    assert sorted(expected.values()) == [10] * 20 + [100] * 40
    for _ in range(3):
        looking = folder.searching(folder.messages, key)
        while looking.step():
            pass
        assert looking.found == expected


def test_a_message_that_goes_while_it_is_read(folder, monkeypatch):
    read = Folder.read

    def reading(folder, uid, octets=None):
        data = read(folder, uid, octets)
        if octets is None:
            raise mailbox.Gone(uid)
        return data
    folder.append(b"X: " + b"y" * 20_000 + b"\nSubject: far\n\nbody")
    monkeypatch.setattr(Folder, "read", reading)
    looking = folder.searching(folder.messages, ("HEADER", b"subject", ""))
    while looking.step():
        pass
    assert looking.gone == {121} and len(looking.found) == 120


def test_two_searches_at_once_keep_no_text_twice(folder, monkeypatch):
    monkeypatch.setattr(searching, "CHILDREN_FROM", 3)
    two = [folder.searching(folder.messages, ("TEXT", "part")) for _ in range(2)]
    while any([looking.step() for looking in two]):
        pass
    assert two[0].found.keys() == two[1].found.keys() == {message.uid for message in folder.messages}
    for file in folder.search_files.values():
        assert sum(len(block.uids) for block in file.blocks(folder.uidvalidity)) == len(folder.messages)


def test_another_message_under_the_same_uid(folder):
    """The uidlist was lost and UIDs begin again, or the files were copied from elsewhere."""
    right(folder)
    blocks = folder.search_files["t"].blocks(folder.uidvalidity)
    looking = folder.searching(folder.messages, ("TEXT", "part"))
    assert looking._ours(blocks[0])
    others = [SimpleNamespace(uid=message.uid, base=message.base + b"x") for message in folder.messages]
    assert folder.searching(others, ("TEXT", "part"))._ours(blocks[0]) == set()
    assert folder.search_files["t"].blocks(folder.uidvalidity + 1) == []


def test_a_message_that_has_gone(folder):
    messages = list(folder.messages)
    os.unlink(folder.path(messages[3].uid))
    looking = folder.searching(messages, ("TEXT", ""))
    while looking.step():
        pass
    assert looking.gone == {4} and sorted(looking.found) == [uid for uid in range(1, 121) if uid != 4]


def test_files_of_the_dead_are_begun_anew(folder, monkeypatch):
    right(folder)
    monkeypatch.setattr(textfile, "_DEAD_ROWS", 5)
    folder.expunge([message.uid for message in folder.messages[:20]])
    for file in folder.search_files.values():
        file.tidy(len(folder.messages))
    assert all(os.path.exists(path) for path in paths(folder))
    folder.expunge([message.uid for message in folder.messages[:60]])
    for file in folder.search_files.values():
        file.tidy(len(folder.messages))
    assert not any(os.path.exists(path) for path in paths(folder))


def test_a_file_does_not_grow_beyond_its_limit(folder, monkeypatch):
    monkeypatch.setattr(textfile, "OCTETS_MAX", 3000)
    assert right(folder)
    assert all(not os.path.exists(path) or os.stat(path).st_size <= 3000 for path in paths(folder))


def test_a_message_with_very_much_text_is_read_each_time(folder, monkeypatch):
    monkeypatch.setattr(searching, "KEEP_OCTETS_MAX", 1 << 12)
    monkeypatch.setattr(textwork, "BLOCK_OCTETS", 1 << 9)
    folder.append(b"Subject: big\n\n" + b"word " * 5000 + b"end")
    right(folder)
    assert find(folder, ("BODY", "word end")) == [121]
    assert os.stat(paths(folder)[1]).st_size < 15_000


def test_a_disk_that_cannot_be_written(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(28, "no space")
    monkeypatch.setattr("pymta.durable.create", refuse)
    monkeypatch.setattr("pymta.durable.append", refuse)
    assert right(folder)


# ---- what is looked through -------------------------------------------------------------------------------------------
ENCODED = base64.encodebytes("Größe in base64\r\nzweite Zeile".encode())
MESSAGES = [
    b"Subject: =?utf-8?q?fold?=\n =?utf-8?q?ed?=\nX-Y: one\n  two\n\tthree\nx-y: other\nContent-Type: text/plain; charset=iso-8859-1\n\nK\xe4se",
    b"Content-Type: multipart/mixed; boundary=q\n\nbefore\n--q\nContent-Type: text/plain; charset=utf-8; name=attached.txt\n"
    b"Content-Transfer-Encoding: base64\n\n%b\n--q\nContent-Type: application/pdf; name=paper.pdf\n\nnotext\n--q\nContent-Type: message/rfc822\n\n"
    b"Subject: inner\n\ninnermost\n--q--\nafter\n" % ENCODED,
    b"Subject: =?x-unknown?q?s=FCss?= =?punycode?q?bcher-kva?=\nContent-Type: text/html; charset=punycode\nContent-Transfer-Encoding: quoted-printable\n\n"
    b"<b>soft=\nbreak</b> =C3=BC",
    b"Subject: =?utf-8?q?a=0AX-Forged=3A_yes?=\nDate: Tue, 2 Jan 99 00:30:00 -0800\n\n\0nul",
]


@pytest.mark.parametrize("key, found", [
    (("HEADER", b"subject", "folded"), [1]), (("HEADER", b"x-y", "one two three"), [1]), (("HEADER", b"x-y", "three"), [1]),
    (("HEADER", b"X-Y", "other"), [1]), (("HEADER", b"x", ""), []), (("HEADER", b"x-y", " one"), []), (("BODY", "KA"), [1]), (("BODY", "käse"), [1]),
    (("BODY", "größe IN BASE64\r\nzweite"), [2]), (("BODY", "attached"), []), (("TEXT", "attached.TXT"), [2]), (("BODY", "innermost"), [2]),
    (("BODY", "inner\n"), []), (("TEXT", "subject: inner"), [2]), (("HEADER", b"subject", "inner"), []), (("TEXT", "paper.pdf"), [2]),
    (("TEXT", "notext"), []), (("TEXT", "before"), []), (("TEXT", "after"), []), (("HEADER", b"subject", "süss"), [3]),
    (("HEADER", b"subject", "bcher-kva"), [3]), (("BODY", "softbreak"), [3]), (("BODY", "<B>"), [3]), (("BODY", "Ü"), [3]),
    (("HEADER", b"x-forged", ""), []), (("HEADER", b"subject", "x-forged: yes"), [4]), (("BODY", "nul"), [4]),
    (("SENTON", datetime.date(1999, 1, 2)), [4]), (("SENTSINCE", datetime.date(1999, 1, 3)), []), (("SENTBEFORE", datetime.date(1999, 1, 3)), [4]),
])
def test_decoded_text_is_found(key, found):
    assert sorted(searched.by_reading(list(enumerate(MESSAGES, 1)), key)) == found


def test_nothing_is_found_across_messages_and_sections():
    for one, other in zip(ODD, ODD[1:]):
        octets = encode([Said(1, b"", searchable.header(one), b"x"), Said(2, b"", b"y", searchable.header(other))])
        block, _ = decode(octets)
        said = octets[block.offset:]
        for number, piece in enumerate(said.split(b"\xff")[:-1]):
            assert piece == [searchable.header(one), b"x", b"y", searchable.header(other)][number]


@given(st.binary(max_size=300) | st.sampled_from(ODD))
def test_any_octets_can_be_looked_through(data):
    found = dict(textwork.blocks([(1, b"b", lambda octets: data[:octets])], "ht"))
    for octets in found.values():
        block, _ = decode(octets)
        octets[block.offset:].replace(b"\xff", b"").decode()
        assert octets.count(b"\xff", block.offset) == 2


# ---- what a hostile message costs -------------------------------------------------------------------------------------
def test_a_message_of_many_parts_is_looked_into_so_far(monkeypatch):
    looked = []
    body = decoding.body
    monkeypatch.setattr(decoding, "body", lambda data, part: looked.append(part) or body(data, part))
    data = b"Content-Type: multipart/mixed; boundary=q\n\n" + b"--q\n\nx\n" * 50_000 + b"--q--\n"
    textwork.look(lambda octets: data[:octets], "ht")
    assert 0 < len(looked) <= searchable.PARTS_MAX


def test_a_message_in_a_message_is_looked_into_so_far(monkeypatch):
    looked = []
    header = searchable.header
    monkeypatch.setattr(searchable, "header", lambda octets: looked.append(len(octets)) or header(octets))
    data = b"Content-Type: message/rfc822\n\n" * 20_000 + b"end"
    textwork.look(lambda octets: data[:octets], "ht")
    assert len(looked) < 100 and sum(looked) < 2 * len(data)


@pytest.mark.parametrize("data", [b"=?a?q?" * 50_000, b"=?a?q?" * 50_000 + b"\x80?=", b"=?" * 100_000, b"=?a*" * 50_000, b"=?a?b?==" * 50_000])
def test_words_without_end_are_read_once(data, monkeypatch):
    """What was quadratic took minutes here, and so would run into the timeout of the tests."""
    assert len(decoding.header(data)) <= len(data)


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "raw-unicode-escape", "zip", "undefined"])
def test_codecs_that_are_no_character_sets_are_not_used(charset):
    assert decoding.charset(b"abc-\\u0041", charset.encode()) == "abc-\\u0041"
