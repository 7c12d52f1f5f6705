"""check_lists: what a mailbox's own files say of its messages: UIDs, keywords, index, change log."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from pymta import clock, durable
from pymta.formats import changes, index, keywords, maildir, searchtext, uidlist
from pymta.mailbox import MailStore
from pymta.mailbox.changelog import boot_id
from pymta.mailbox.tidying import rewrite_uidlist
from pymta.upkeep.finding import FAULT, NOTE, WARNING, Finding, printable
from pymta.upkeep.looked import Looked

_SHOWN = 20                                             # of complaints of one kind


def everything(looked: Looked) -> Iterator[Finding]:
    yield from _uidlist(looked)
    yield from _keywords(looked)
    yield from _index(looked)
    yield from _searched(looked)
    yield from _changes(looked)


# ---- UIDs -------------------------------------------------------------------------------------------------------------
def _uidlist(looked: Looked) -> Iterator[Finding]:
    path, data = looked.path(uidlist.NAME), looked.read(uidlist.NAME)
    if data is None:
        if looked.files:
            courier = os.path.lexists(looked.path(uidlist.COURIER_NAME))
            yield Finding(path, "missing", "Courier's UIDs are taken over at the next use" if courier
                          else "it is made at the next use, with a new UIDVALIDITY: clients fetch again", NOTE)
        return
    try:
        listed = uidlist.decode(data)
    except uidlist.Damaged as error:
        yield Finding(path, str(error), "the mailbox gets a new UIDVALIDITY and clients fetch again; where a backup has this file, put it "
                      "back first", FAULT, 1, mend=lambda: rewrite(looked))
        return
    mend = once(lambda: rewrite(looked))
    for number, why in listed.complaints[:_SHOWN]:
        yield Finding(path, why, "its message gets a new UID; the old file is kept beside", FAULT, number, mend=mend)
    if len(listed.complaints) > _SHOWN:
        yield Finding(path, f"{len(listed.complaints) - _SHOWN} further lines are damaged", "", FAULT, mend=mend)
    if listed.version != 3 or not listed.guid:
        yield Finding(path, "version 1" if listed.version != 3 else "names no GUID of the mailbox", "amended at the next change", NOTE,
                      mend=mend)
    without = [base for base in looked.files if base not in listed.uids]
    if without:
        yield Finding(path, f"{len(without)} messages have no UID yet", "they get one when the mailbox is opened", NOTE)
    dead = sum(base not in looked.files for base in listed.uids)
    if dead * 4 > len(listed.uids) + 256:
        yield Finding(path, f"{dead} of {len(listed.uids)} lines name files that are gone", "it is rewritten after an expunge", NOTE,
                      mend=mend)


def once(act: Callable[[], None]) -> Callable[[], None]:
    """For findings that one repair puts right together."""
    done: list[bool] = []

    def mend() -> None:
        if not done:
            act()
            done.append(True)
    return mend


def rewrite(looked: Looked) -> None:
    """Write the uidlist anew, with everything in it that has a meaning.  The old one stays beside it, lines nobody understands included."""
    path = looked.path(uidlist.NAME)
    data = looked.read(uidlist.NAME)
    if data is None:
        return
    kept = b"%s.damaged-%d" % (path, int(clock.now()))
    store = MailStore(looked.root)
    if not os.path.lexists(kept) and _not_understood(data):
        durable.link(path, kept)
        durable.sync_dir(looked.directory)
    folder = store.open(looked.mailbox)                 # with a header that cannot be read, this makes a new list
    try:
        with folder.mutex, folder.lock:
            folder.sync_locked()
            rewrite_uidlist(folder)
    finally:
        store.close(folder)


def _not_understood(data: bytes) -> bool:
    try:
        return bool(uidlist.decode(data).complaints)
    except uidlist.Damaged:
        return True


# ---- keywords ---------------------------------------------------------------------------------------------------------
def _keywords(looked: Looked) -> Iterator[Finding]:
    path, data = looked.path(keywords.NAME), looked.read(keywords.NAME) or b""
    known = keywords.decode(data)
    seen: set[int] = set()
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        word, _, name = line.rstrip(b"\r").partition(b" ")
        index = int(word) if word.isdigit() and len(word) < 4 else -1
        if not 0 <= index < maildir.KEYWORDS_MAX or not name or b" " in name:
            yield Finding(path, "not a number from 0 to 25 and a keyword", "correct the line", WARNING, number)
        elif index in seen:
            yield Finding(path, f"the letter {chr(97 + index)} stands there twice; the first line holds", "remove one of them", WARNING, number)
        seen.add(index)
    if data and not data.endswith(b"\n"):
        yield Finding(path, "its last line has no end", "see whether the keyword is whole", WARNING)
    used = {letter for files in looked.files.values() for file in files for letter in maildir.letters_of(file.name) if 97 <= letter <= 122}
    unknown = sorted(letter for letter in used if letter - 97 >= len(known) or known[letter - 97] is None)
    for letter in unknown:
        count = sum(letter in maildir.letters_of(file.name) for files in looked.files.values() for file in files)
        yield Finding(path, f"{count} messages have the letter {chr(letter)}, and nobody knows what it means", f"add a line `{letter - 97} KEYWORD`",
                      WARNING)


# ---- index ------------------------------------------------------------------------------------------------------------
def _index(looked: Looked) -> Iterator[Finding]:
    rows, text = looked.read(index.ROWS_NAME), looked.read(index.TEXT_NAME)
    if rows is None and text is None:
        return
    path, listed = looked.path(index.ROWS_NAME), _listed(looked)
    if listed is None:
        return                                          # told already
    if not index.fits((rows or b"")[:index.HEAD_OCTETS], listed.uidvalidity):
        yield Finding(path, "made for another UIDVALIDITY, or by another version", "it is begun anew", NOTE, mend=lambda: _drop_index(looked))
    elif why := _index_damage(listed, rows or b"", text or b""):
        yield Finding(path, why, "it is made anew", WARNING, mend=lambda: _drop_index(looked))


def _listed(looked: Looked) -> uidlist.Uidlist | None:
    try:
        return uidlist.decode(looked.read(uidlist.NAME) or b"")
    except uidlist.Damaged:
        return None


def _index_damage(listed: uidlist.Uidlist, rows: bytes, text: bytes) -> str:
    if text[:index.HEAD_OCTETS] != rows[:index.HEAD_OCTETS]:
        return f"does not belong to {printable(index.TEXT_NAME.decode())}"
    if len(rows) % index.ROW_OCTETS:
        return "torn"
    base_of = {uid: base for base, uid in listed.uids.items()}
    for at in range(index.HEAD_OCTETS, len(rows), index.ROW_OCTETS):
        uid, offset, octets = index.span(rows, at)
        base = base_of.get(uid)
        if base is not None and index.decode(rows, at, text[offset:offset + octets], base) is None:
            return f"the entry of UID {uid} is damaged"
    return ""


def _drop_index(looked: Looked) -> None:
    for name in (index.ROWS_NAME, index.TEXT_NAME):
        durable.unlink_if_there(looked.path(name))


def _searched(looked: Looked) -> Iterator[Finding]:
    listed = _listed(looked)
    for name in (searchtext.HEADERS_NAME, searchtext.TEXTS_NAME):
        data = looked.read(name)
        if data is None or listed is None:
            continue
        if not searchtext.fits(data[:searchtext.HEAD_OCTETS], listed.uidvalidity):
            yield Finding(looked.path(name), "made for another UIDVALIDITY, or by another version", "it is begun anew", NOTE, mend=_drop(looked, name))
        elif not _blocks_are_right(data):
            yield Finding(looked.path(name), "is damaged", "it is made anew", WARNING, mend=_drop(looked, name))


def _blocks_are_right(data: bytes) -> bool:
    at = searchtext.HEAD_OCTETS
    while at < len(data):
        found = searchtext.decode(data[at:], at)
        if found is None:
            return False
        block, after = found
        if after <= len(data) and not block.is_right(data[block.offset:block.offset + block.octets]):
            return False
        at = after                                      # beyond the end: the last block is being written
    return True


def _drop(looked: Looked, name: bytes) -> Callable[[], None]:
    def drop() -> None:
        durable.unlink_if_there(looked.path(name))
    return drop


# ---- change log -------------------------------------------------------------------------------------------------------
def _changes(looked: Looked) -> Iterator[Finding]:
    path, data = looked.path(changes.NAME), looked.read(changes.NAME)
    if data is None:
        return
    head, newline, rest = data.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 5 or not newline:
        why = "its first line cannot be read"
    elif words[3] != boot_id():
        why = "of an earlier boot"
    else:
        try:
            changes.decode(rest)
            why = "its last line has no end" if rest and not rest.endswith(b"\n") else ""
        except ValueError as error:
            why = f"a line cannot be read: {printable(str(error))}"
    if why:
        yield Finding(path, why, "it is begun anew; clients ask once for all flags again", NOTE)
