"""searchkey: what SEARCH, SORT and THREAD are asked.                                           RFC 3501 §6.4.4, RFC 4731, RFC 5032, RFC 5256, RFC 6203"""
from __future__ import annotations

from pymta.proto.imap import mailboxfilter, results
from pymta.proto.imap.args import Args, Bad

_KEYS_OF_FLAGS = {b"ANSWERED": ("\\Answered", True), b"DELETED": ("\\Deleted", True), b"DRAFT": ("\\Draft", True),
                  b"FLAGGED": ("\\Flagged", True), b"SEEN": ("\\Seen", True), b"UNANSWERED": ("\\Answered", False),
                  b"UNDELETED": ("\\Deleted", False), b"UNDRAFT": ("\\Draft", False), b"UNFLAGGED": ("\\Flagged", False),
                  b"UNSEEN": ("\\Seen", False)}
_KEYS_OF_TEXT = frozenset((b"BCC", b"BODY", b"CC", b"FROM", b"SUBJECT", b"TEXT", b"TO"))
_KEYS_OF_DATES = frozenset((b"BEFORE", b"ON", b"SINCE", b"SENTBEFORE", b"SENTON", b"SENTSINCE", b"SAVEDBEFORE", b"SAVEDON", b"SAVEDSINCE"))
_CHARSETS = {b"US-ASCII": "ascii", b"ASCII": "ascii", b"UTF-8": "utf-8", b"UTF8": "utf-8", b"ISO-8859-1": "latin-1"}
_CRITERIA = frozenset((b"ARRIVAL", b"CC", b"DATE", b"FROM", b"SIZE", b"SUBJECT", b"TO", b"DISPLAYFROM", b"DISPLAYTO", b"RELEVANCY"))
_GROUPS = ("AND", "OR", "NOT")
_ALGORITHMS = frozenset((b"ORDEREDSUBJECT", b"REFERENCES", b"REFS"))


def search(args: Args) -> tuple:
    """[SP "RETURN" SP "(" options ")"] [SP "CHARSET" SP astring] 1*(SP search-key)
    ->  (options or None, charset known, key); a charset that is not known leaves the keys unread"""
    args.space()
    options = results.options(args)
    if bytes(args.raw[args.at:args.at + 8]).upper() == b"CHARSET ":
        if args.utf8_only:                              # RFC 9755 §3
            raise Bad("no character set is said after ENABLE UTF8=ACCEPT")
        args.at += 7
        args.space()
        known, key = _keys_in_charset(args)
    else:
        known, key = True, _keys(args, "utf-8")
    _check_relevancy(bool(options and b"RELEVANCY" in options.names), known, key)
    return options, known, key


def esearch(args: Args) -> tuple:
    """[SP "IN" SP "(" filters ")"] and then as SEARCH  ->  (filters or None, options or None, charset known, key)      RFC 7377 §4"""
    sources = None
    if bytes(args.raw[args.at:args.at + 5]).upper() == b" IN (":
        args.at += 4
        sources = mailboxfilter.of_esearch(args)
    return (sources, *search(args))


def sort(args: Args) -> tuple:
    """[SP "RETURN" SP "(" options ")"] SP "(" ["REVERSE" SP] key ... ")" SP charset 1*(SP search-key)      RFC 5256 §5, RFC 5267
    ->  (options or None, ((criterion, reverse), ...), charset known, key)"""
    args.space()
    options = results.options(args)

    def one() -> tuple[bytes, bool]:
        word = args.atom().upper()
        reverse = word == b"REVERSE"
        if reverse:
            args.space()
            word = args.atom().upper()
        if word not in _CRITERIA:
            raise Bad("no such sort key")
        return word, reverse
    criteria: dict[bytes, bool] = {}
    for word, reverse in args.list(one):
        criteria.setdefault(word, reverse)              # said twice: the first decides
    if not criteria:
        raise Bad("a sort key expected")
    args.space()
    known, key = _keys_in_charset(args)
    _check_relevancy(b"RELEVANCY" in criteria or bool(options and b"RELEVANCY" in options.names), known, key)
    return options, tuple(criteria.items()), known, key


def thread(args: Args) -> tuple:
    """SP algorithm SP charset 1*(SP search-key)  ->  (algorithm, charset known, key)      RFC 5256 §5"""
    args.space()
    algorithm = args.atom().upper()
    if algorithm not in _ALGORITHMS:
        raise Bad("no such threading")
    args.space()
    return (algorithm, *_keys_in_charset(args))


def _check_relevancy(asked: bool, known: bool, key: tuple) -> None:
    """RFC 6203 §4, §6: there is none without FUZZY."""
    if asked and known and not is_fuzzy(key):
        raise Bad("RELEVANCY needs FUZZY")


def is_fuzzy(key: tuple) -> bool:
    return key[0] == "FUZZY" or key[0] in _GROUPS and any(is_fuzzy(one) for one in key[1:])


def _fuzzy(key: tuple) -> tuple:
    """FUZZY of a group is of each key in it."""
    return (key[0], *map(_fuzzy, key[1:])) if key[0] in _GROUPS else key if key[0] == "FUZZY" else ("FUZZY", key)


def _keys_in_charset(args: Args) -> tuple[bool, tuple]:
    """charset 1*(SP search-key)  ->  (charset known, key)"""
    named = _CHARSETS.get(args.astring().upper())
    if named is None:
        args.at = len(args.raw)
        return False, ("ALL",)
    args.space()
    return True, _keys(args, named)


def _keys(args: Args, charset: str) -> tuple:
    keys = [_key(args, charset)]
    while args.more():
        args.space()
        keys.append(_key(args, charset))
    return keys[0] if len(keys) == 1 else ("AND", *keys)


def _key(args: Args, charset: str) -> tuple:
    """One search-key as a tuple that begins with what kind it is:

    ("ALL",) ("AND", key...) ("OR", key, key) ("NOT", key) ("FLAG", flag, wanted) ("RECENT", wanted) ("NEW",) ("SEQ", pairs) ("UID", pairs)
    ("HEADER", name, text) ("BODY", text) ("TEXT", text) ("BEFORE"..."SAVEDSINCE", date) ("EMAILID", id) ("THREADID", id) ("LARGER", n) ("SMALLER", n) ("MODSEQ", n)
    ("YOUNGER", seconds) ("OLDER", seconds) ("FUZZY", one of these that is no group); texts are str
    """
    args.another_key()
    next = args.peek()
    if next == 40:
        keys = args.list(lambda: _key(args, charset))
        if not keys:
            raise Bad("a search key expected")
        return ("AND", *keys)
    if 48 <= next <= 57 or next in (36, 42):
        return "SEQ", args.set()
    word = args.atom().upper()
    if word in _KEYS_OF_FLAGS:
        return ("FLAG", *_KEYS_OF_FLAGS[word])
    if word in _KEYS_OF_TEXT:
        args.space()
        text = _text(args, charset)
        return (word.decode(), text) if word in (b"BODY", b"TEXT") else ("HEADER", word.lower(), text)
    if word in _KEYS_OF_DATES:
        args.space()
        return word.decode(), args.date()
    args.deeper()
    try:
        match word:
            case b"ALL":
                return ("ALL",)
            case b"RECENT" | b"OLD":
                return "RECENT", word == b"RECENT"
            case b"NEW":
                return "AND", ("RECENT", True), ("FLAG", "\\Seen", False)
            case b"KEYWORD" | b"UNKEYWORD":
                args.space()
                return "FLAG", args.flag(), word == b"KEYWORD"
            case b"MODSEQ":
                args.space()
                if args.peek() == 34:                   # of one flag alone: we know only of all together, which is allowed
                    args.string()
                    args.space()
                    if args.atom().upper() not in (b"PRIV", b"SHARED", b"ALL"):
                        raise Bad("no such type of a flag")
                    args.space()
                return "MODSEQ", args.number64()
            case b"SAVEDATESUPPORTED":                  # RFC 8514 §4.3: in all mailboxes
                return ("ALL",)
            case b"EMAILID" | b"THREADID":              # RFC 8474 §6
                args.space()
                return word.decode(), args.atom()
            case b"UID":
                args.space()
                return "UID", args.set()
            case b"HEADER":
                args.space()
                name = args.astring().lower()
                args.space()
                return "HEADER", name, _text(args, charset)
            case b"LARGER" | b"SMALLER" | b"YOUNGER" | b"OLDER":
                args.space()
                return word.decode(), args.number64()
            case b"FUZZY":
                args.space()
                return _fuzzy(_key(args, charset))
            case b"NOT":
                args.space()
                return "NOT", _key(args, charset)
            case b"OR":
                args.space()
                one = _key(args, charset)
                args.space()
                return "OR", one, _key(args, charset)
    finally:
        args.depth -= 1
    raise Bad(f"no such search key as {word.decode()[:40]}")


def _text(args: Args, charset: str) -> str:
    octets = args.astring()
    try:
        return octets.decode(charset)
    except UnicodeDecodeError:
        return octets.decode("latin-1")
