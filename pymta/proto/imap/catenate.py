"""catenate: a message put together from what the client sends and from what lies in its mailboxes.      RFC 4469, RFC 5092, RFC 5550

    url = ["/" enc-mailbox [";UIDVALIDITY=" n]] ["/"] ";UID=" n ["/;SECTION=" enc-section] ["/;PARTIAL=" n ["." n]]

Without a mailbox it is the one that is selected.  URLs of other hosts or users, and those with URLAUTH, are refused like any that lead
nowhere.  Memory is that of the message that is made, and of the one that is read for it.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from pymta.proto.imap import fetch, fetchitem
from pymta.proto.imap.appendargs import Piece, Url
from pymta.proto.imap.args import Args, Bad, canonical
from pymta.proto.imap.wants import Refusal

if TYPE_CHECKING:
    from pymta.proto.imap.session import Session

_URL = re.compile(rb"(?:/(?P<mailbox>[^;]+?)(?:;UIDVALIDITY=(?P<uidvalidity>\d{1,10}))?/|/?);UID=(?P<uid>\d{1,10})"
                  rb"(?:/;SECTION=(?P<section>[^;]+?))?(?:/;PARTIAL=(?P<begin>\d{1,10})(?:\.(?P<octets>\d{1,10}))?)?", re.IGNORECASE).fullmatch
_UNSAID = re.compile(rb'[^!#-\[^-~]').sub               # what would end a quoted string, or the response code


class BadUrl(Exception):
    """It leads nowhere."""


def text(session: Session, pieces: tuple[Piece, ...], most: int) -> bytes:
    """The octets of a message (CR LF), at most so many.  Raises Refusal: BADURL, TOOBIG."""
    out = []
    octets = 0
    source: fetch.Source | None = None
    for piece in pieces:
        if isinstance(piece, Url):
            try:
                source, found = _follow(session, piece.text, source)
            except (BadUrl, LookupError, ValueError):
                raise Refusal(b'NO [BADURL "%b"] It leads to nothing that can be appended' % _UNSAID(b"?", piece.text[:1000])) from None
        else:
            found = piece
        octets += len(found)
        if octets > most:
            raise Refusal(b"NO [TOOBIG] The message would be too big")
        out.append(found)
    return b"".join(out)


def _follow(session: Session, url: bytes, source: fetch.Source | None) -> tuple[fetch.Source, bytes]:
    """(the message, to be asked again, and the octets that the URL names).  source: the message of the URL before."""
    found = _URL(url)
    if found is None:
        raise BadUrl
    item = _item(found["section"], found["begin"], found["octets"])
    name, uid = _mailbox(session, found["mailbox"]), int(found["uid"])
    folder = session.store.open(name)
    try:
        message = folder.get(uid)
        if message is None or found["uidvalidity"] and int(found["uidvalidity"]) != folder.uidvalidity:
            raise BadUrl
        if source is None or source.message is not message:
            source = fetch.Source(folder, message)
        octets = fetch.section_of(source, item)
    finally:
        session.store.close(folder)
    if octets is None:
        raise BadUrl
    return source, octets


def _mailbox(session: Session, encoded: bytes | None) -> str:
    if encoded is not None:
        return canonical(unquote_to_bytes(encoded).decode("utf-8"))
    if session.view is None:
        raise BadUrl
    return session.view.name


def _item(encoded: bytes | None, begin: bytes | None, octets: bytes | None) -> fetchitem.FetchItem:
    """A URL's section and range as what FETCH is asked."""
    partial = b"" if begin is None else b"<%b.%b>" % (begin, octets or b"4294967295")
    args = Args(b"BODY.PEEK[%b]%b" % (unquote_to_bytes(encoded or b""), partial), 0)
    try:
        item = fetchitem.item(args)
        args.end()
    except Bad:
        raise BadUrl from None
    return item
