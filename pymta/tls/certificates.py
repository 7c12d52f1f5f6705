"""certificates: the worker's half of TLS: a context for each certificate, the right one for the name a client asks for (SNI).

The parent hands the certificates down (files.py), at the start and whenever a worker's question finds that files have changed; sessions
that are open go on with what they have.  Of several certificates for one name the best is taken: one that has not ended before
one that has, one that somebody vouches for before a self-signed one, then in the order of files.py.  Who asks for no name, or for
an unknown one, gets that of tls.certificate, else the one for host.name, else the first.

One that is broken or cannot be read is named in the log, and what was there before stays in force.
"""
from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from pymta import clock, log
from pymta.tls import der, files as tls_files
from pymta.settings import Settings

_WARN_DAYS = 14
_DAY_S = 86400.0
_TICKETS = 1                                            # a client keeps one or two connections; each ticket costs a record
_MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class _Certificate:
    path: str
    pem: bytes
    context: ssl.SSLContext
    facts: der.Facts

    def rank(self, now: float) -> tuple[bool, bool]:
        return self.facts.ends < now, self.facts.self_signed


class Certificates:
    """The contexts of one worker.  ask: called, once a second at most, when a connection wants TLS: the parent should look whether files have
    changed.  speaks: whether this worker writes to the log what all of them find."""

    def __init__(self, settings: Settings, ask: Callable[[], None] = lambda: None, *, speaks: bool = True) -> None:
        self._host = settings.host
        self._named_file: str = settings["tls.certificate"]
        self._minimum = _MINIMUM[settings["tls.minimum"]]
        self._ask = ask
        self._speaks = speaks
        self._asked = -10.0
        self._warned = -_DAY_S
        self._by_path: dict[str, _Certificate] = {}
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """The context to begin a connection with; None without any certificate."""
        now = clock.tick()
        if now - self._asked >= tls_files.LOOK_EVERY_S:
            self._asked = now
            self._ask()
            self._warn(now)
        return self._default

    def take(self, bundle: int) -> None:
        """Use what the parent has handed down.  bundle: a descriptor of tls_files."""
        new: dict[str, _Certificate] = {}
        for path, pem, why in tls_files.unpack(bundle):
            old = self._by_path.get(path)
            if old is not None and old.pem == pem:
                new[path] = old
                continue
            try:
                if why:
                    raise ValueError(why)
                new[path] = self._load(path, pem)
            except (OSError, ValueError) as error:      # ssl.SSLError is an OSError
                if old is not None:
                    new[path] = old
                self._say("trouble", what="cannot use a certificate", file=path, why=getattr(error, "reason", None) or str(error),
                          remedy="the old one stays in force" if old is not None else "mend it")
        if not new and self._by_path:
            self._say("trouble", what="no certificate is left", remedy="the old ones stay in force; put one in ETC/tls")
            return
        changed = [path for path in {**self._by_path, **new} if new.get(path) is not self._by_path.get(path)]
        if self._by_path and changed:
            self._say("reload", what="certificates", files=" ".join(changed))
        self._by_path = new
        self._sort()
        self._warned = -_DAY_S
        self._warn(clock.tick())

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _load(self, path: str, pem: bytes) -> _Certificate:
        """Raises ssl.SSLError, ValueError."""
        begin, end = pem.find(b"-----BEGIN CERTIFICATE-----"), pem.find(b"-----END CERTIFICATE-----")
        if not 0 <= begin < end:
            raise ValueError("no certificate in it")
        facts = der.read(ssl.PEM_cert_to_DER_cert(pem[begin:end + 25].decode("ascii", "replace")))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = self._minimum
        context.num_tickets = _TICKETS
        context.sni_callback = self._named
        fd = os.memfd_create("pair")                    # load_cert_chain knows files only
        try:
            os.write(fd, pem)
            context.load_cert_chain(f"/proc/self/fd/{fd}", password=_no_password)
        finally:
            os.close(fd)
        return _Certificate(path, pem, context, facts)

    def _sort(self) -> None:
        now = clock.now()
        best = sorted(self._by_path.values(), key=lambda one: one.rank(now))        # a stable sort keeps the files' order
        self._by_name = {name: one.context for one in reversed(best) for name in one.facts.names}
        usual = self._by_path.get(self._named_file) or next(iter(self._by_path.values()), None)
        found = None if self._named_file in self._by_path else self._find(self._host)
        self._default = found or (usual.context if usual else None)

    def _find(self, name: str) -> ssl.SSLContext | None:
        name = name.lower().rstrip(".")
        return self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])

    def _named(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """A client has said which host it wants (RFC 6066 §3)."""
        context = self._find(name) if name else None
        if context is not None and context is not connection.context:
            connection.context = context

    def _warn(self, now: float) -> None:
        """Say once a day which certificates end soon."""
        if now - self._warned < _DAY_S or not self._speaks:
            return
        self._warned = now
        for one in self._by_path.values():
            days = (one.facts.ends - clock.now()) / _DAY_S
            if days < _WARN_DAYS:
                self._say("config", where=one.path, why=f"this certificate {'ends in' if days >= 0 else 'ended'} {abs(days):.0f} days"
                          f"{'' if days >= 0 else ' ago'}; get a new one")

    def _say(self, word: str, **values: object) -> None:
        if self._speaks:
            log.event(word, **values)


def _no_password() -> str:
    """Instead of asking on a terminal that nobody sits at."""
    raise ValueError("the key has a password; take it off (openssl pkey)")


def question(control: socket.socket) -> None:
    """Ask the parent to look at the files.  It answers, if there is something new, by a bundle."""
    try:
        control.send(b"?")
    except OSError:
        pass                                            # it has questions enough, or is gone
