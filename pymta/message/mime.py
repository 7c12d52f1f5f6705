"""mime: where the parts of a message lie, found in its bytes without taking it apart.              RFC 2045-2049, RFC 5322

    scan(data) -> Part       a tree of offsets: header start, body start, end; types and content fields as they stand
    find(root, (1, 2))       the part an IMAP section number names                              RFC 3501 §6.4.5
    section(data, root, ...) the octets of BODY[...]

Lines end with LF; a CR before it belongs to the line end, so the same code reads a file of a Maildir (LF) and the same
message as clients see it (`wire`, CR LF), and offsets always count octets of the data given.  Nothing is decoded: what a
field says is handed on as it stands, unfolded.

Total: any bytes at all have a structure, in time linear in their length times DEPTH_MAX.  A header ends at the first empty
line; lines in it that are no field are passed over.  A multipart is split at the delimiter lines of its own boundary from the
outside in, so a part never reaches beyond the multipart it stands in, whatever it claims.  Beyond DEPTH_MAX a part is
application/octet-stream, beyond PARTS_MAX the rest of the message belongs to the last part.
"""
from __future__ import annotations

import re

DEPTH_MAX = 50
PARTS_MAX = 10_000
PARAMETERS_MAX = 100

_HEADER_END = re.compile(rb"\n\r?\n").search
_FIELDS = re.compile(rb"^([!-9;-~]+)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)\n?", re.MULTILINE).finditer
_FOLDED = re.compile(rb"\r?\n(?=[ \t])").sub
_CRS = re.compile(rb"\r+").sub
_TYPE = re.compile(rb"\s*([^\s()<>@,;:\\\"/\[\]?=]+)\s*/\s*([^\s()<>@,;:\\\"/\[\]?=]+)").match
_PARAMETER = re.compile(rb";\s*([^\s()<>@,;:\\\"/\[\]?=]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"?|([^;\s]*))", re.DOTALL).match
_PIECE = re.compile(rb"(.+)\*(0|[1-9]\d?)(\*?)", re.DOTALL).fullmatch
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9!#$&+.^_`{|}~-]").sub        # RFC 2231 §7: attribute-char
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL).sub
_COMMENT_MARK = re.compile(rb"[()\"\\]")
_WORD = re.compile(rb"\s*([^\s;()]+)").match

_ADDRESSES = frozenset((b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc"))
_WANTED = _ADDRESSES | {b"date", b"subject", b"in-reply-to", b"message-id", b"references", b"content-type", b"content-transfer-encoding", b"content-id",
                        b"content-description", b"content-disposition", b"content-md5", b"content-language", b"content-location"}

Fields = dict[bytes, bytes]
Parameters = tuple[tuple[bytes, bytes], ...]


class Part:
    """One part, or the whole message.

    start: offset of its header; body: of its body; end: behind its body.  lines: of the body, where its type is text or
    message.  type, subtype: lower case.  parameters: of Content-Type, names in lower case.  fields: see that function.
    parts: of a multipart its parts, of a message/rfc822 the one message in it, else empty.
    """

    __slots__ = ("start", "body", "end", "lines", "type", "subtype", "parameters", "fields", "parts")

    def __init__(self, start: int, body: int, end: int, fields: Fields) -> None:
        self.start = start
        self.body = body
        self.end = end
        self.lines = 0
        self.type = b"text"
        self.subtype = b"plain"
        self.parameters: Parameters = ()
        self.fields = fields
        self.parts: list[Part] = []

    @property
    def is_multipart(self) -> bool:
        return self.type == b"multipart"

    @property
    def is_message(self) -> bool:
        return bool(self.parts) and self.type == b"message"

    def __repr__(self) -> str:
        return f"Part({self.start}, {self.body}, {self.end}, {self.type!r}/{self.subtype!r}, {self.parts!r})"


def wire(data: bytes, *, keep_nul: bool = False) -> bytes:
    """A message as clients see it: every line ends with CR LF; NUL, which IMAP cannot carry, is 0x80 (as in Dovecot)."""
    if b"\r\n" in data:
        data = data.replace(b"\r\n", b"\n")
    if b"\0" in data and not keep_nul:
        data = data.replace(b"\0", b"\x80")
    return data.replace(b"\n", b"\r\n")


def header_end(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Offset behind the empty line that ends a header, or end where there is none."""
    if end is None:
        end = len(data)
    if data.startswith((b"\n", b"\r\n"), start, end):
        return data.index(b"\n", start) + 1
    found = _HEADER_END(data, start, end)
    return found.end() if found else end


def fields(data: bytes, start: int, body: int) -> Fields:
    """What a structure or an envelope needs of the header at data[start:body], as {name in lower case: value of its first
    occurrence, unfolded and stripped}; fields of addresses are put together."""
    out: Fields = {}
    for found in _FIELDS(data, start, body):
        name = found[1].lower()
        if name not in _WANTED:
            continue
        value = found[2]
        if b"\n" in value:                              # a fold and the blanks behind it are one blank, as in Dovecot
            value = b" ".join([line for line in [line.lstrip(b" \t").rstrip(b"\r") for line in value.split(b"\n")] if line])
        value = value.strip(b" \t\r")
        if b"\r" in value:
            value = _CRS(b" ", value)
        if name not in out:
            out[name] = value
        elif name in _ADDRESSES and value:              # RFC 5322 allows one; who says more wants all of them seen
            out[name] += b", " + value
    return out


def scan(data: bytes, lines: int = -1) -> Part:
    """The structure of a whole message.  lines: how many it has, where that is known: counting them takes long."""
    return _scan(data, 0, len(data), DEPTH_MAX, [PARTS_MAX], False, lines)


def _scan(data: bytes, start: int, end: int, depth: int, left: list[int], digest: bool, lines: int = -1) -> Part:
    """left[0]: how many more parts may be made."""
    body = header_end(data, start, end)
    part = Part(start, body, end, fields(data, start, body))
    _set_type(part, digest)
    if part.type in (b"text", b"message"):
        part.lines = data.count(b"\n", body, end) if lines < 0 else lines - data.count(b"\n", start, body)
    if part.type == b"multipart":
        boundary = parameter(part.parameters, b"boundary").rstrip()
        if depth <= 0:
            part.type, part.subtype = b"application", b"octet-stream"
        elif boundary:
            inner_digest = part.subtype == b"digest"
            for one_start, one_end in _split(data, body, end, boundary, left):
                part.parts.append(_scan(data, one_start, one_end, depth - 1, left, inner_digest))
    elif part.type == b"message" and part.subtype == b"rfc822":
        if depth <= 0 or left[0] <= 0:
            part.type, part.subtype = b"application", b"octet-stream"
        else:
            left[0] -= 1
            part.parts.append(_scan(data, body, end, depth - 1, left, False))
    return part


def _set_type(part: Part, digest: bool) -> None:
    value = part.fields.get(b"content-type")
    found = _TYPE(without_comments(value)) if value is not None else None
    if found is None or value is None:
        if digest:                                      # RFC 2046 §5.1.5
            part.type, part.subtype = b"message", b"rfc822"
        else:
            part.parameters = ((b"charset", b"us-ascii"),)
        return
    part.type, part.subtype = found[1].lower(), found[2].lower()
    part.parameters = parameters(value)
    if part.type == b"text" and not any(name == b"charset" for name, _ in part.parameters):
        part.parameters += ((b"charset", b"us-ascii"),)              # RFC 2045 §5.2


def _split(data: bytes, body: int, end: int, boundary: bytes, left: list[int]) -> list[tuple[int, int]]:
    """(start, end) of each part between the delimiter lines of a multipart's body.  RFC 2046 §5.1.1"""
    out: list[tuple[int, int]] = []
    needle = b"\n--" + boundary
    begun = -1
    at = data.find(needle, body - 1, end)               # the line before may be the header's end
    while at >= 0:
        behind = at + len(needle)
        line_end = data.find(b"\n", behind, end)
        if line_end < 0:
            line_end = end
        rest = data[behind:line_end].rstrip(b" \t\r")
        if rest in (b"", b"--"):
            if begun >= 0:
                out.append((begun, max(begun, at - 1 if data[at - 1] == 13 else at)))
                left[0] -= 1
            if rest or left[0] <= 0:
                if not rest:                            # too many parts: the last one takes the rest
                    out[-1:] = [(out[-1][0] if out else min(line_end + 1, end), end)]
                return out
            begun = min(line_end + 1, end)
        at = data.find(needle, line_end, end)
    if begun >= 0:
        out.append((begun, end))
        left[0] -= 1
    return out


# ---- structured fields ------------------------------------------------------------------------------------------------
def parameters(value: bytes) -> Parameters:
    """The parameters of a Content-Type or Content-Disposition value, PARAMETERS_MAX at most.  What RFC 2231 §3 cuts in pieces is put
    together (its §6 asks servers for that); what it encodes stays encoded, under a name that ends in "*"."""
    value = without_comments(value)
    out: list[tuple[bytes, bytes]] = []
    at = value.find(b";")
    while at >= 0 and len(out) < PARAMETERS_MAX:
        found = _PARAMETER(value, at)
        if found:
            name, quoted, plain = found.groups()
            out.append((name.lower(), plain if quoted is None else _QUOTED_PAIR(rb"\1", quoted)))
            at = value.find(b";", found.end())
        else:
            at = value.find(b";", at + 1)
    return _joined(out) if b"*" in value else tuple(out)


def _joined(pairs: list[tuple[bytes, bytes]]) -> Parameters:
    """name*0, name*1, ... as one, in the place of the first; pieces that are not all there stand as they are."""
    pieces: dict[bytes, dict[int, tuple[bool, bytes]]] = {}
    for one, value in pairs:
        if found := _PIECE(one):
            pieces.setdefault(found[1], {}).setdefault(int(found[2]), (bool(found[3]), value))
    whole = {name: [some[number] for number in range(len(some))] for name, some in pieces.items() if max(some) == len(some) - 1}
    out: list[tuple[bytes, bytes]] = []
    for one, value in pairs:
        found = _PIECE(one)
        if found is None or found[1] not in whole:
            out.append((one, value))
        elif some := whole[found[1]]:
            if any(encoded for encoded, _ in some):
                out.append((found[1] + b"*", b"".join([text if encoded else _encoded(text) for encoded, text in some])))
            else:
                out.append((found[1], b"".join([text for _, text in some])))
            whole[found[1]] = []
    return tuple(out)


def _encoded(text: bytes) -> bytes:
    """A piece that is not encoded, among pieces that are."""
    return _NOT_PLAIN(lambda found: b"%%%02X" % found[0][0], text)


def parameter(all_of: Parameters, name: bytes) -> bytes:
    """The first parameter of this name, or b""."""
    for one, value in all_of:
        if one == name:
            return value
    return b""


def first_word(value: bytes) -> bytes:
    """The leading token of a field such as Content-Disposition or Content-Transfer-Encoding, lower case, or b""."""
    found = _WORD(without_comments(value))
    return found[1].lower().strip(b'"') if found else b""


def without_comments(value: bytes) -> bytes:
    """value with each (comment) made a blank; quoted strings are left alone."""
    if b"(" not in value:
        return value
    out = []
    depth = kept = at = 0
    quoted = False
    while found := _COMMENT_MARK.search(value, at):
        mark, at = found[0], found.end()
        if mark == b"\\":
            at += 1
        elif mark == b'"' and not depth:
            quoted = not quoted
        elif mark == b"(" and not quoted:
            if depth == 0:
                out += [value[kept:found.start()], b" "]
            depth += 1
        elif mark == b")" and depth:
            depth -= 1
            kept = at
    if depth == 0:
        out.append(value[kept:])
    return b"".join(out)


# ---- sections ---------------------------------------------------------------------------------------------------------
def find(root: Part, path: tuple[int, ...]) -> Part | None:
    """The part that a section number names; None where there is none.  A message that is no multipart has one part, itself."""
    inside: Part | None = root
    part: Part | None = root
    for number in path:
        if inside is None:
            return None
        if inside.is_multipart:
            part = inside.parts[number - 1] if 0 < number <= len(inside.parts) else None
        else:
            part = inside if number == 1 else None
        if part is None:
            return None
        inside = part.parts[0] if part.is_message else part if part.is_multipart else None
    return part


def section(data: bytes, root: Part, path: tuple[int, ...], what: bytes, names: frozenset[bytes] = frozenset()) -> bytes | None:
    """The octets of a section: what is b"", HEADER, TEXT, MIME, HEADER.FIELDS or HEADER.FIELDS.NOT (names in lower case).
    None where the message has no such section."""
    part = find(root, path)
    if part is None:
        return None
    if what == b"":
        return data[part.body:part.end] if path else data
    if what == b"MIME":
        return data[part.start:part.body]
    if path:
        if not part.is_message:
            return None
        part = part.parts[0]
    if what == b"HEADER":
        return data[part.start:part.body]
    if what == b"TEXT":
        return data[part.body:part.end]
    return header_fields(data, part.start, part.body, names, without=what == b"HEADER.FIELDS.NOT")


def header_fields(data: bytes, start: int, body: int, names: frozenset[bytes], *, without: bool = False) -> bytes:
    """The fields whose names (lower case) are in names, as they stand, and an empty line; or all of the header but these."""
    out = []
    at = start
    for found in _FIELDS(data, start, body):
        if found[1].lower() in names:
            out.append(data[at:found.start()] if without else found[0])
            at = found.end()
    if without:
        return b"".join(out) + data[at:body]
    if out and not out[-1].endswith(b"\n"):
        out.append(b"\r\n")
    return b"".join(out) + b"\r\n"


def values(data: bytes, start: int, body: int, name: bytes) -> list[bytes]:
    """Every value of a field (name in lower case), unfolded and stripped."""
    return [unfold(found[2]).strip(b" \t\r") for found in _FIELDS(data, start, body) if found[1].lower() == name]


def unfold(value: bytes) -> bytes:
    """A header or a value with the line ends inside its fields taken out."""
    return _FOLDED(b"", value)
