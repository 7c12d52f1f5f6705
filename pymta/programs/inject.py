"""pymta-inject: accept one message from a local program into the queue.                   pymta-inject(1)

Every way `sendmail` is called.  One process, no daemon, nothing set-id: the message is read whole, completed, written as a
queue file into SPOOL/in/inject/tmp and renamed into SPOOL/in/inject/new; exit 0 is said when file and name are on disk.
The owner the kernel stamps on that file is who sent it; everything inside is only a claim.

It lives for a few milliseconds, so it imports what it needs when it needs it, and nothing that pulls re, enum, typing,
dataclasses, socket or email; a test keeps that list.
"""
from __future__ import annotations

import errno
import os
import sys
import time

from pymta import durable
from pymta.formats import conf, queuefile
from pymta.message import address, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

USAGE, DATAERR, NOINPUT, SOFTWARE, TEMPFAIL, NOPERM, CONFIG = 64, 65, 66, 70, 75, 77, 78        # sysexits.h

DEFAULT_ETC = "/etc/pymta"
# The rows of settings.py this program needs; settings itself costs 20 ms to import.  A test compares the two.
DEFAULTS = {"host.name": "", "host.spool": "/var/spool/pymta", "queue.size_max": "50M", "queue.free_min": "64M",
            "queue.recipients_max": "10000"}
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

HELP = """\
usage: pymta-inject [--etc DIR] [-t] [-i] [-f SENDER] [-F NAME] [-N never|success,failure,delay] [-R full|hdrs] [-V ENVID]
                    [-bm|-bs|-bp|-bv|-bi] [--] [RECIPIENT ...] < MESSAGE
Accept one message from a local program into the queue.  Other options of sendmail are ignored.  See pymta-inject(1).
"""


class Refused(Exception):
    """The message is not taken: exit status (sysexits) and a text that names the thing, the reason and the remedy."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


# ---- the command line -------------------------------------------------------------------------------------------------
class Options:
    """What was asked for.  sender: None where no -f was given, b"" for the null reverse-path."""

    __slots__ = ("envid", "etc", "from_header", "full_name", "ignore_dots", "mode", "notify", "recipients", "ret", "sender")

    def __init__(self) -> None:
        self.etc = DEFAULT_ETC
        self.mode = b"m"
        self.from_header = False
        self.ignore_dots = False
        self.sender: bytes | None = None
        self.full_name: bytes | None = None
        self.notify = b""
        self.ret = ""
        self.envid = ""
        self.recipients: list[bytes] = []


_WITH_VALUE = b"ABCDFLNORVXbefhopr"                     # the rest of the word, or the next word
_WITH_REST = b"dqM"                                     # the rest of the word, which may be empty


def parse(words: list[bytes]) -> Options:
    """The command line without the program's name.  Options may stand behind recipients, up to "--", as with GNU getopt.
    Raises Refused for what is neither an option of sendmail's nor harmless to ignore."""
    options = Options()
    words = _long_options(words, options)
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == b"--":
            options.recipients += words[at:]
            break
        if not word.startswith(b"-") or word == b"-":
            options.recipients.append(word)
            continue
        place = 1
        while place < len(word):
            letter, rest = word[place], word[place + 1:]
            place += 1
            if letter in _WITH_REST:
                _option(options, letter, rest)
                break
            if letter in _WITH_VALUE:
                if not rest:
                    if at == len(words):
                        raise Refused(USAGE, f"option -{chr(letter)} needs a value")
                    rest = words[at]
                    at += 1
                elif letter == 102 and rest == b'""':   # -f"" from a program that quotes for a shell it does not use
                    rest = b""
                _option(options, letter, rest)
                break
            _option(options, letter, b"")
    return options


def _long_options(words: list[bytes], options: Options) -> list[bytes]:
    """Takes --etc DIR, --etc=DIR, --help and --version from the front."""
    while words and words[0].startswith(b"--") and len(words[0]) > 2:
        name, equals, text = words[0].partition(b"=")
        if name == b"--etc" and (equals or len(words) > 1):
            options.etc = os.fsdecode(text if equals else words[1])
            words = words[1:] if equals else words[2:]
        elif name in (b"--help", b"--version"):
            options.mode = name
            return []
        else:
            raise Refused(USAGE, f"unknown option {_show(words[0])}; see pymta-inject --help")
    return words


def _option(options: Options, letter: int, text: bytes) -> None:
    match chr(letter):
        case "t":
            options.from_header = True
        case "i":
            options.ignore_dots = True
        case "f" | "r":
            options.sender = text
        case "F":
            options.full_name = text
        case "b":
            options.mode = text
        case "I":
            options.mode = b"i"
        case "q":
            options.mode = b"q"
        case "o":
            options.ignore_dots |= text == b"i"
        case "O":
            options.ignore_dots |= text.replace(b" ", b"").lower() in (b"ignoredots", b"ignoredots=true", b"ignoredots=t")
        case "N":
            options.notify = _notify(text)
        case "R":
            if text.lower() not in (b"full", b"hdrs"):
                raise Refused(USAGE, f"-R {_show(text)}: write -R full or -R hdrs")
            options.ret = text.decode().upper()
        case "V":
            options.envid = xtext(text)
            if not text or len(options.envid) > 100:    # RFC 3461 §4.4
                raise Refused(USAGE, "-V: an envelope id has 1 to 100 characters")


def _notify(text: bytes) -> bytes:
    """NEVER, or a list of SUCCESS, FAILURE, DELAY (RFC 3461 §4.1)."""
    wanted = text.upper().replace(b" ", b"").split(b",")
    if wanted != [b"NEVER"] and not all(word in (b"SUCCESS", b"FAILURE", b"DELAY") for word in wanted):
        raise Refused(USAGE, f"-N {_show(text)}: write -N never, or a list of success, failure and delay")
    return b",".join(dict.fromkeys(wanted))


def xtext(text: bytes) -> str:
    """RFC 3461 §4: printable ASCII with "+" and "=" and everything else as +HH."""
    return "".join(chr(c) if 33 <= c <= 126 and c not in b"+=" else f"+{c:02X}" for c in text)


def _show(text: bytes) -> str:
    """Bytes from outside in a message for a terminal."""
    shown = "".join(c if c.isprintable() else "?" for c in text.decode("utf-8", "replace"))
    return shown if len(shown) <= 200 else shown[:197] + "..."


# ---- settings ---------------------------------------------------------------------------------------------------------
def read_settings(etc: str) -> dict[str, str]:
    """The few settings this program needs, as text; a wrong line counts for nothing, as with settings.read."""
    values = dict(DEFAULTS)
    path = etc + "/pymta.conf"
    try:
        with open(path, "rb") as file:
            rows, _ = conf.parse(file.read().decode("utf-8", "replace"))
    except FileNotFoundError:
        rows = []
    except OSError as error:
        raise Refused(CONFIG, f"cannot read {path}: {error.strerror}") from None
    for _, name, value in rows:
        if name in values and (not name.startswith("queue.") or octets(value) is not None):
            values[name] = value
    if not values["host.name"]:
        from pymta import hostname
        values["host.name"] = hostname.find()
    values["host.name"] = values["host.name"].lower().rstrip(".")
    return values


def octets(value: str) -> int | None:
    """A size as in settings.size; None if it is none."""
    digits = value.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    if not digits.isascii() or not digits.replace(".", "", 1).isdecimal() or value[len(digits):] not in _UNITS:
        return None
    return int(float(digits) * _UNITS[value[len(digits):]])


# ---- the message ------------------------------------------------------------------------------------------------------
def read_message(fd: int, size_max: int, *, ignore_dots: bool) -> bytes:
    """All of fd, with lines ended by LF, ending in LF.  Unless ignore_dots, a line that is one dot ends it.

    CR LF and a lone CR become LF; NUL, which no mail may hold (RFC 5322 §2.3), is left out, for the report of a backup that
    printed one is worth more than the byte.  Raises Refused (65 too big, 66 not readable).
    """
    data = bytearray()
    try:
        while chunk := os.read(fd, 65536):
            seen = len(data)
            data += chunk
            if len(data) > size_max + (size_max >> 4) + 65536 or len(data) > size_max and b"\r" not in data:
                break
            if not ignore_dots and (stop := _lone_dot(data, seen)) >= 0:
                del data[stop:]
                break
    except OSError as error:
        raise Refused(NOINPUT, f"cannot read the message from standard input: {error.strerror}") from None
    message = bytes(data)
    del data
    if b"\r" in message:
        message = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in message:
        message = message.replace(b"\0", b"")
    if len(message) > size_max:
        raise Refused(DATAERR, f"the message is bigger than queue.size_max ({size_max} octets); nothing was sent")
    if not ignore_dots and (message == b"." or message.endswith(b"\n.")):
        message = message[:-1]
    return message if message.endswith(b"\n") or not message else message + b"\n"


def _lone_dot(data: bytearray, since: int) -> int:
    """Where the line that is only a dot begins, looking from shortly before offset since; -1 if there is none."""
    if data[:2] == b".\n" or data[:3] == b".\r\n":
        return 0
    since = max(0, since - 4)
    found = [at + 1 for end in (b"\n.\n", b"\n.\r\n") if (at := data.find(end, since)) >= 0]
    return min(found, default=-1)


def without_mbox_line(message: bytes) -> bytes:
    """The message without "From ann Mon Jan ..." lines in front, which mail folders have and mail has not."""
    while message.startswith((b"From ", b">From ")):
        message = message.partition(b"\n")[2]
    return message


# ---- the envelope -----------------------------------------------------------------------------------------------------
def one_address(text: bytes, host: bytes, what: str, status: int = DATAERR) -> bytes:
    """text, which may have a display name, as one qualified address in the form of a path (RFC 5321 §4.1.2)."""
    found = every_address(text, host, what, status)
    if len(found) != 1:
        raise Refused(status, f"{what}: not one address: {_show(text)}")
    return found[0]


def every_address(text: bytes, host: bytes, what: str, status: int = DATAERR) -> list[bytes]:
    """The qualified addresses of a list.  Raises Refused if anything in it is not an address."""
    found: list[bytes] = []
    for plain, start, stop in header.scan(text):
        if plain == b"":
            continue
        try:
            if plain is None:
                raise address.BadAddress("not an address")
            local, domain = address.parse(header.qualify(plain, host), utf8=True)
        except address.BadAddress as error:
            raise Refused(status, f"{what}: {error}: {_show(text[start:stop])}; nothing was sent") from None
        found.append(local + b"@" + domain)
    return found


def header_recipients(fields: bytes, host: bytes) -> list[bytes]:
    """Who a message says it is for: To, Cc and Bcc, or, where it is being resent, Resent-To, -Cc and -Bcc alone."""
    to: dict[bool, list[bytes]] = {False: [], True: []}
    resent = False
    for name, field in header.fields(fields):
        again = name.startswith(b"resent-")
        resent |= again
        if name.removeprefix(b"resent-") in (b"to", b"cc", b"bcc"):
            to[again].append(field)
    found: list[bytes] = []
    for field in to[resent]:
        found += every_address(header.value(field), host, field.partition(b":")[0].decode("ascii").strip())
    return found


def login() -> tuple[bytes, bytes]:
    """(name, full name) of the user who runs this; a uid that nobody bears is called uid1234."""
    import pwd
    uid = os.getuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return b"uid%d" % uid, b""
    name = os.fsencode(entry.pw_name)
    return name, os.fsencode(entry.pw_gecos).partition(b",")[0].replace(b"&", name.capitalize())


def _default_sender(name: bytes, host: bytes) -> bytes:
    """login@host, quoted where a login name needs it (DOMAIN\\user)."""
    try:
        local, domain = address.parse(header.qualify(name, host), utf8=True)
    except address.BadAddress:
        quoted = b'"%s"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        local, domain = address.parse(quoted + b"@" + host, utf8=True)
    return local + b"@" + domain


def envelope_for(options: Options, fields: bytes, values: dict[str, str], id: str) -> queuefile.Envelope:
    """Who gets the message, from whom, and what they want to hear of it."""
    host = values["host.name"].encode("utf-8")
    if not address.is_domain(host, utf8=True):
        raise Refused(CONFIG, f"this host's name is no domain name: {_show(host)}; set host.name in {options.etc}/pymta.conf")
    found: list[bytes] = []
    for word in options.recipients:
        found += every_address(word, host, "recipient")
    if options.from_header:
        found += header_recipients(fields, host)
    if not found:
        raise Refused(USAGE, "no recipient stands in To, Cc or Bcc" if options.from_header
                      else "no recipient; name them on the command line or use -t")
    found = list(dict.fromkeys(found))
    most = octets(values["queue.recipients_max"]) or 0
    if len(found) > most:
        raise Refused(DATAERR, f"{len(found)} recipients are more than queue.recipients_max ({most}); nothing was sent")
    notes = ((b"Pymta-Notify", options.notify),) if options.notify else ()
    if options.sender is None:
        sender = _default_sender(login()[0], host)
    elif options.sender.strip() in (b"", b"<>"):
        sender = b""
    else:
        sender = one_address(options.sender, host, "-f", USAGE)
    facts = {key: text for key, text in (("ret", options.ret), ("envid", options.envid)) if text}
    return queuefile.Envelope(sender, [queuefile.Recipient(queuefile.UNROUTED, each, notes) for each in found], id, facts)


def submit(options: Options, message: bytes, values: dict[str, str]) -> str:
    """Complete the message, put it into the queue, return its id.  Raises Refused; then nothing was taken.

    No Received field yet: pymta-qrun, which knows the uid from the kernel, writes it when it takes the drop."""
    now = time.time()
    id = queuefile.Ids().new(now)
    host = values["host.name"].encode("utf-8")
    fields, body = header.split(without_mbox_line(message))
    envelope = envelope_for(options, fields, values, id)
    full_name = options.full_name
    if full_name is None:
        full_name = login()[1] if not any(name == b"from" for name, _ in header.fields(fields)) else b""
    fields = header.complete(fields, now=now, host=host, sender=envelope.sender, full_name=full_name, id=id)
    drop(envelope, b"".join((fields, b"\n", body)), values)
    return id


def drop(envelope: queuefile.Envelope, message: bytes, values: dict[str, str]) -> None:
    """Put a message into in/inject; it is there for good on return.  Raises Refused, and then has left nothing."""
    place = values["host.spool"] + "/in/inject/"
    temporary, name = f"{place}tmp/{queuefile.shard(envelope.id)}/{envelope.id}.drop", f"{place}new/{envelope.id}.drop"
    size, lines, crc = len(message), message.count(b"\n"), queuefile.crc32(message)
    step = temporary
    try:
        free = os.statvfs(place + "tmp")
        if free.f_bavail * free.f_frsize < (octets(values["queue.free_min"]) or 0) + size:
            raise Refused(TEMPFAIL, f"not enough disk space in {values['host.spool']}; the message was not taken, try again later")
        try:
            file = durable.File(temporary, 0o640, exact=True)
        except FileNotFoundError:                       # a spool made by hand, without the subdirectories
            temporary = step = f"{place}tmp/{envelope.id}.drop"
            file = durable.File(temporary, 0o640, exact=True)
        try:
            head = queuefile.seal(envelope, size, lines, crc)
            if size < 65536:
                file.write(head + message)
            else:
                file.write(head)
                file.write(message)
            file.sync()
            step = name
            durable.rename(temporary, name)
        except BaseException:
            file.discard()
            raise
        file.close()
        try:
            durable.sync_dir(place + "new")
        except OSError:
            durable.unlink_if_there(name)
            raise
    except OSError as error:
        _explain(error, step)


def _explain(error: OSError, path: str) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        raise Refused(CONFIG, f"there is no {os.path.dirname(path)}; is pymta installed, and host.spool right?") from error
    status = NOPERM if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else TEMPFAIL
    remedy = "" if status == NOPERM else ", try again later"
    raise Refused(status, f"cannot write {path}: {error.strerror}; the message was not taken{remedy}") from error


# ---- the other modes ----------------------------------------------------------------------------------------------------
def _other_mode(options: Options) -> int:
    """What sendmail does besides taking a message."""
    match options.mode:
        case b"--help":
            os.write(1, HELP.encode())
            return 0
        case b"--version":
            import pymta
            os.write(1, f"pymta-inject {pymta.__version__}\n".encode())
            return 0
        case b"i" | b"q":                               # newaliases, flush: nothing to do, edits and mail are seen at once
            return 0
        case b"p":
            from pymta.programs import mailq
            return mailq.main(["--etc", options.etc])
        case b"v":
            from pymta.programs import inject_verify
            return inject_verify.verify(options.etc, options.recipients)
        case b"s" | b"a":
            from pymta.programs import inject_smtp
            return inject_smtp.converse(options, read_settings(options.etc))
        case b"d" | b"D" | b"l":
            raise Refused(USAGE, "this is no daemon; systemctl start pymta-smtpd pymta-qrun")
    raise Refused(USAGE, f"-b{_show(options.mode)} is not known here; see pymta-inject(1)")


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 the message is on disk; 64 usage, 65 bad address or too big, 66 no input, 75 later, 77, 78."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    words = [os.fsencode(word) for word in (sys.argv[1:] if argv is None else argv)]
    try:
        options = parse(words)
        if name in ("mailq", "newaliases"):
            options.mode = b"p" if name == "mailq" else b"i"
        if options.mode != b"m":
            return _other_mode(options)
        values = read_settings(options.etc)
        if not options.recipients and not options.from_header:
            raise Refused(USAGE, "no recipient; name them on the command line or use -t")
        message = read_message(0, octets(values["queue.size_max"]) or 0, ignore_dots=options.ignore_dots)
        submit(options, message, values)
        return 0
    except Refused as refused:
        os.write(2, f"pymta-inject: {refused.text}\n".encode("utf-8", "replace"))
        return refused.status
    except KeyboardInterrupt:
        return 130


def run(argv: list[str] | None = None) -> NoReturn:
    """main, ended without the interpreter's own clearing up, which takes longer than the message did."""
    for fd in 0, 1, 2:                                  # a closed one would be given to the queue file
        try:
            os.fstat(fd)
        except OSError:
            os.open("/dev/null", os.O_RDWR)
    try:
        status = main(argv)
    except Exception:                                   # a bug of ours: say where, and let the caller keep its message
        import traceback
        traceback.print_exc()
        status = TEMPFAIL
    for stream in sys.stdout, sys.stderr:
        if stream:
            try:
                stream.flush()
            except OSError:
                status = status or 74
    os._exit(status)
