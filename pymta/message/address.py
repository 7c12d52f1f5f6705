"""address: what stands between the angle brackets of MAIL and RCPT.

    Path          = "<" [ A-d-l ":" ] Mailbox ">"                        ; RFC 5321 §4.1.2
    Reverse-path  = Path / "<>"
    Forward-path  = Path / "<Postmaster>"                                ; RFC 5321 §4.1.1.3, any case
    A-d-l         = At-domain *( "," At-domain )                         ; source route: read and thrown away, RFC 5321 §C
    Mailbox       = Local-part "@" ( Domain / address-literal )
    Local-part    = Dot-string / Quoted-string
    Domain        = sub-domain *("." sub-domain)                         ; "_" is let pass: such hosts exist
    address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]"                    ; RFC 5321 §4.1.3

Pure, total (the only exception is BadAddress) and linear in the input.  Everything is bytes.  There is no percent hack, no
bang path and no second "@": what is not a mailbox of ours literally is somebody else's (RFC 2505 §2.1).
Imports nothing at load: pymta-inject uses it and has no time.
"""
from __future__ import annotations

LOCAL_MAX_OCTETS = 64               # RFC 5321 §4.5.3.1.1: the least everybody takes.  Not refused beyond: VERP and SRS senders are longer
DOMAIN_MAX_OCTETS = 255             # RFC 5321 §4.5.3.1.2
ADDRESS_MAX_OCTETS = 254            # RFC 5321 §4.5.3.1.3: a path of 256 with its brackets
LABEL_MAX_OCTETS = 63
PATH_MAX_OCTETS = 2048              # with a source route; longer ones are refused unread

ALNUM = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
ATEXT = ALNUM + b"!#$%&'*+-/=?^_`{|}~"                        # RFC 5322 §3.2.3
_LABEL = ALNUM + b"-_"
_HIGH = bytes(range(128, 256))


class BadAddress(ValueError):
    """Not an address; the text says what is wrong, in words for the peer."""


class Path:
    """One parsed path.  local: as sent, except that needless quotes are gone; domain: lower case (ASCII letters only), empty for
    <> and <postmaster>; rest: what follows the closing bracket (the parameters), as it stood."""

    __slots__ = ("local", "domain", "rest")

    def __init__(self, local: bytes, domain: bytes, rest: bytes = b"") -> None:
        self.local = local
        self.domain = domain
        self.rest = rest

    @property
    def null(self) -> bool:
        return not self.local

    @property
    def address(self) -> bytes:
        """local@domain; b"" for <>; b"postmaster" as sent for a postmaster without a domain."""
        return b"%s@%s" % (self.local, self.domain) if self.domain else self.local

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and (self.local, self.domain, self.rest) == (other.local, other.domain, other.rest)

    def __hash__(self) -> int:
        return hash((self.local, self.domain, self.rest))

    def __repr__(self) -> str:
        return f"Path({self.local!r}, {self.domain!r}, {self.rest!r})"


def parse_path(data: bytes, *, utf8: bool = False) -> Path:
    """The path at the start of data, which may go on with a blank and parameters.  Blanks before it are let pass.
    utf8: whether octets above 127 may stand in it (RFC 6531).  Raises BadAddress."""
    data = data.lstrip(b" ")
    if not data.startswith(b"<"):
        raise BadAddress("no < before the address")
    end = _end_of_path(data)
    inner, rest = data[1:end], data[end + 1:]
    if rest and rest[:1] != b" ":
        raise BadAddress("something stands behind the >")
    if not inner:
        return Path(b"", b"", rest)
    if inner.startswith(b"@"):
        inner = _without_route(inner)
    if inner.lower() == b"postmaster":
        return Path(inner, b"", rest)
    local, domain = parse(inner, utf8=utf8)
    return Path(local, domain, rest)


def parse(address: bytes, *, utf8: bool = False) -> tuple[bytes, bytes]:
    """(local, domain) of a mailbox, as in Path; a domain with letters beyond ASCII as A-labels: to us both are one.  Raises BadAddress."""
    if address.startswith(b'"'):
        end = _end_of_quotes(address, 0)
        local, after = _unquoted(address[1:end], utf8), address[end + 1:]
        if not after.startswith(b"@"):
            raise BadAddress("no @ behind the quoted local part")
        domain = after[1:]
    else:
        local, at, domain = address.partition(b"@")
        if not at:
            raise BadAddress("no @ in the address")
        if not is_dot_string(local, utf8=utf8):
            raise BadAddress("the local part is empty, misplaces a dot, or needs quotes")
    if domain.startswith(b"["):
        domain = _literal(domain)
    elif not is_domain(domain, utf8=utf8):
        raise BadAddress("not a domain behind the @")
    elif not domain.isascii():
        domain = _a_labels(domain)
    if len(local) + 1 + len(domain) > ADDRESS_MAX_OCTETS:
        raise BadAddress(f"the address is longer than {ADDRESS_MAX_OCTETS} octets")
    return local, domain.lower()


def split(address: bytes) -> tuple[bytes, bytes]:
    """(local, domain) at the last @, unchecked; (address, b"") without one.  For addresses that were parsed before."""
    local, at, domain = address.rpartition(b"@")
    return (local, domain) if at else (domain, b"")


def is_dot_string(local: bytes, *, utf8: bool = False) -> bool:
    """Dot-string = Atom *("." Atom)."""
    if not local or local[:1] == b"." or local[-1:] == b"." or b".." in local:
        return False
    return not local.translate(None, ATEXT + b"." + (_HIGH if utf8 else b""))


def is_domain(domain: bytes, *, utf8: bool = False) -> bool:
    """Whether this is a domain name in letters (not an address literal), without a last dot."""
    if not 0 < len(domain) <= DOMAIN_MAX_OCTETS or domain.translate(None, _LABEL + b"." + (_HIGH if utf8 else b"")):
        return False
    return all(0 < len(label) <= LABEL_MAX_OCTETS and label[:1] != b"-" and label[-1:] != b"-" for label in domain.split(b"."))


def ascii_domain(domain: str) -> str:
    """The A-label form of a domain with letters beyond ASCII (RFC 5890 §2.3.2.1, mapped as in UTS 46 without transitional rules, so that
    a sharp s stays itself); any other as it is.  Total: whether such a name exists is for the DNS to say."""
    if domain.isascii():
        return domain
    from unicodedata import normalize
    flat = normalize("NFKC", normalize("NFKC", domain).lower()).replace("\u3002", ".")
    labels = [label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in flat.split(".")]
    return ".".join(labels)


def _a_labels(domain: bytes) -> bytes:
    """Raises BadAddress."""
    try:
        mapped = ascii_domain(domain.decode("utf-8")).encode("ascii")
    except UnicodeError:
        mapped = b""
    if not is_domain(mapped):
        raise BadAddress("not a domain behind the @")
    return mapped


def folded(name: str) -> str:
    """What two local parts of ours have in common when they mean the same person: lower case, letters composed (RFC 6532 §3.1)."""
    if name.isascii():
        return name.lower()
    from unicodedata import normalize
    return normalize("NFC", normalize("NFC", name).lower())


def ascii_form(address: bytes) -> bytes:
    """The address with its domain in A-labels, where only its domain is not ASCII; any other as it is."""
    local, domain = split(address)
    if address.isascii() or not local.isascii():
        return address
    try:
        mapped = ascii_domain(domain.decode("utf-8")).encode("ascii")
    except UnicodeError:
        return address
    return b"%s@%s" % (local, mapped) if is_domain(mapped) else address


def literal_ip(domain: bytes) -> str:
    """The IP address in an address literal, as text; "" if domain is none."""
    if domain[:1] != b"[" or domain[-1:] != b"]":
        return ""
    inner = domain[1:-1].lower()
    return (inner[5:] if inner.startswith(b"ipv6:") else inner).decode("ascii", "replace")


# ---- parts ------------------------------------------------------------------------------------------------------------
def _end_of_path(data: bytes) -> int:
    """Where the closing > stands, which may be quoted before."""
    end = data.find(b">")
    quote = data.find(b'"', 0, max(end, 0))
    while quote >= 0:
        at = _end_of_quotes(data, quote) + 1
        if end < at:
            end = data.find(b">", at)
        quote = data.find(b'"', at, max(end, at))
    if end < 0:
        raise BadAddress("no > behind the address")
    if end > PATH_MAX_OCTETS:
        raise BadAddress(f"the path is longer than {PATH_MAX_OCTETS} octets")
    return end


def _end_of_quotes(data: bytes, start: int) -> int:
    """Where the quoted string that begins at start ends: the place of its closing quote."""
    at = start + 1
    while True:
        quote, slash = data.find(b'"', at), data.find(b"\\", at, at + 4 * PATH_MAX_OCTETS)
        if quote < 0 or quote - start > PATH_MAX_OCTETS:
            raise BadAddress("a quoted local part does not end")
        if slash < 0 or quote < slash:
            return quote
        at = slash + 2


def _unquoted(content: bytes, utf8: bool) -> bytes:
    """A quoted string's content as the shortest way to write it: a dot-string where it is one."""
    out = bytearray()
    quoted = False
    for octet in content:
        if octet < 32 or octet == 127 or (octet > 127 and not utf8):
            raise BadAddress("a control or 8-bit character in the local part")
        if octet == 0x5C and not quoted:
            quoted = True
            continue
        quoted = False
        out.append(octet)
    plain = bytes(out)
    if is_dot_string(plain, utf8=utf8):
        return plain
    return b'"%s"' % plain.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _without_route(inner: bytes) -> bytes:
    """RFC 5321 §C: a source route is accepted and not used."""
    route, colon, mailbox = inner.partition(b":")
    if not colon or not all(hop[:1] == b"@" and is_domain(hop[1:]) for hop in route.split(b",")):
        raise BadAddress("a source route that cannot be read")
    return mailbox


def _literal(domain: bytes) -> bytes:
    """[192.0.2.1] or [IPv6:2001:db8::1], in the one way it is written.  Raises BadAddress."""
    from ipaddress import IPv4Address, IPv6Address
    text = literal_ip(domain)
    try:
        if domain[1:6].lower() == b"ipv6:":
            if "%" in text:
                raise ValueError
            return b"[ipv6:%s]" % str(IPv6Address(text)).encode("ascii")
        return b"[%s]" % str(IPv4Address(text)).encode("ascii")
    except ValueError:
        raise BadAddress("not an address literal; write [192.0.2.1] or [IPv6:2001:db8::1]") from None
