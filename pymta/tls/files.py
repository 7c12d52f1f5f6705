"""files: the parent's half of TLS: find certificates and keys, and hand them to the workers, who may not read them.

    tls.certificate, tls.key              one pair by name
    ETC/tls/cert.pem, key.pem             the usual place; a self-signed one is made there where there is no certificate at all
    SPOOL/state/tls/cert.pem, key.pem     made there instead where ETC cannot be written
    ETC/tls/NAME/                         a directory each, with a pair of files that is in _PAIRS: what certbot, acme.sh, lego and
    tls.certificates/NAME/                Kubernetes leave; the directory's name means nothing, the certificate says whose it is

Keys are root's alone (certbot makes 0700 directories).  So the parent, which keeps its uid and reads no byte from the network, copies
chains and keys into one anonymous file (memfd) and passes its descriptor on; it never has a key in its own memory, which its
children would inherit.  The bundle: each pair's PEM text (chain, then key) after the other, LF, and a line of JSON, one row for each pair:

    [path of the chain, octets, ""]   or   [path of the chain, 0, why it cannot be read]

Nothing is looked at while nobody connects: workers ask, once a second at most.
"""
from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator

from pymta import clock, log
from pymta.settings import Settings

LOOK_EVERY_S = 1.0
_SETTLED_S = 0.1
_SIZE_MAX_OCTETS = 1 << 20
_PAIRS_MAX = 1000
_PAIRS = (("fullchain.pem", "privkey.pem"), ("fullchain.pem", "key.pem"), ("cert.pem", "key.pem"), ("cert.pem", "privkey.pem"),
          ("tls.crt", "tls.key"), ("fullchain.cer", "{name}.key"), ("{name}.crt", "{name}.key"))

Pair = tuple[str, str]                                  # paths of chain and key
_Version = tuple[object, ...]


class Files:
    """The certificate files of one configuration, as they are now."""

    def __init__(self, settings: Settings) -> None:
        self._named: Pair | None = None
        if settings["tls.certificate"]:
            self._named = settings["tls.certificate"], settings["tls.key"] or settings["tls.certificate"]     # one file may hold both
        self.etc = os.path.join(settings.etc, "tls")
        self.folders = (self.etc, os.path.join(settings["host.spool"], "state", "tls"))
        self._directory: str = settings["tls.certificates"]
        self._asked_for = settings.sources["tls.certificates"] != "default"
        self._version: _Version | None = None
        self._looked = -LOOK_EVERY_S
        self._told = ""

    def bundle(self) -> int:
        """A descriptor of the bundle."""
        return _gather(self.pairs())

    def changed(self, *, now: bool = False) -> bool:
        """Whether files are others than at the last call, or were still being written then.  Looks once a second at most, but for now."""
        tick = clock.tick()
        if not now and tick - self._looked < LOOK_EVERY_S:
            return False
        self._looked = tick
        version, settled = _version(self.pairs())
        changed = version != self._version
        self._version = version if settled else None
        return changed

    def pairs(self) -> list[Pair]:
        """Chain and key of every certificate that is there, in order of preference."""
        out = [self._named] if self._named else []
        out += [pair for folder in self.folders if _is_there(pair := (os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")))]
        out += self._below(self.etc, False)
        out += self._below(self._directory, self._asked_for) if self._directory else []
        return out[:_PAIRS_MAX]

    def _below(self, top: str, must: bool) -> Iterator[Pair]:
        """Pairs in the directories of top.  must: whether it is worth a word that top cannot be read."""
        try:
            names = sorted(os.listdir(top))
        except OSError as error:
            if must and self._told != str(error):
                self._told = str(error)
                log.event("trouble", what=f"cannot read {top}", why=error.strerror or str(error), remedy="mend it, or change tls.certificates")
            return
        for name in names:
            for chain, key in _PAIRS:
                pair = os.path.join(top, name, chain.format(name=name)), os.path.join(top, name, key.format(name=name))
                if _is_there(pair):
                    yield pair
                    break


def _is_there(pair: Pair) -> bool:
    try:
        return all(stat.S_ISREG(os.stat(path).st_mode) for path in pair)
    except OSError:
        return False


def _version(pairs: list[Pair]) -> tuple[_Version, bool]:
    """(what tells these files from others, whether none of them was written just now)."""
    out: list[object] = []
    newest = 0.0
    for path in (path for pair in pairs for path in pair):
        try:
            found = os.stat(path)
        except OSError as error:
            out.append((path, error.errno))
            continue
        out.append((path, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size))
        newest = max(newest, found.st_mtime)
    return tuple(out), abs(clock.now() - newest) > _SETTLED_S


def _gather(pairs: list[Pair]) -> int:
    bundle = os.memfd_create("tls")
    rows: list[tuple[str, int, str]] = []
    end = 0
    for pair in pairs:
        try:
            for path in dict.fromkeys(pair):
                _copy(path, bundle)
            new = os.lseek(bundle, 0, os.SEEK_CUR)
            rows.append((pair[0], new - end, ""))
            end = new
        except OSError as error:
            os.ftruncate(bundle, end)
            os.lseek(bundle, end, os.SEEK_SET)
            rows.append((pair[0], 0, f"{error.filename or path}: {error.strerror or error}"))
    os.write(bundle, b"\n" + json.dumps(rows).encode("ascii"))
    return bundle


def _copy(path: str, to: int) -> None:
    """Append a file by the kernel alone, and a newline in case it has none."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        size = os.fstat(fd).st_size
        if size > _SIZE_MAX_OCTETS:
            raise OSError(f"{path}: longer than {_SIZE_MAX_OCTETS} octets")
        at = 0
        while at < size and (sent := os.sendfile(to, fd, at, size - at)):
            at += sent
    finally:
        os.close(fd)
    os.write(to, b"\n")


def unpack(fd: int) -> list[tuple[str, bytes, str]]:
    """What _gather put in: (path of the chain, PEM text, why it cannot be read), in order.  Closes fd."""
    try:                                                # by offset: all workers share this descriptor's position
        blob, _, rows = os.pread(fd, os.fstat(fd).st_size, 0).rpartition(b"\n")
    finally:
        os.close(fd)
    out, at = [], 0
    for path, octets, why in json.loads(rows):
        out.append((path, blob[at:at + octets], why))
        at += octets
    return out


# ---- the first start --------------------------------------------------------------------------------------------------
def make_first(settings: Settings) -> None:
    """See that there is a certificate: where there is none at all, make a self-signed one, in a child that ends at once, so that no
    daemon carries what that takes.  Whoever starts first makes it, the others wait for it.  What goes wrong is logged."""
    files = Files(settings)
    if not settings["tls.self_signed"] or files.pairs():
        return
    pid = os.fork()
    if pid == 0:
        try:
            _make(settings, files)
        except BaseException as error:
            log.bug("making a certificate", error)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def _make(settings: Settings, files: Files) -> None:
    names = list(dict.fromkeys((settings.host, *settings["local.domains"])))
    trouble: OSError | None = None
    for folder in files.folders:
        try:
            lock = _lock(folder)
        except OSError as error:
            trouble = trouble or error
            continue
        if files.pairs():
            return                                      # another daemon was first
        from pymta.tls import make as tls_make
        tls_make.self_signed(folder, [name for name in names if name.isascii()])
        os.close(lock)
        log.event("config", where=os.path.join(folder, "cert.pem"), why=f"self-signed certificate made for {', '.join(names)}; "
                  "clients will warn of it until you put one there that an authority has signed, or set tls.certificates")
        return
    assert trouble is not None
    log.event("trouble", what=f"cannot make a certificate in {' or '.join(files.folders)}", why=trouble.strerror or str(trouble),
              remedy="there is no TLS; put cert.pem and key.pem there, or set tls.certificate")


def _lock(folder: str) -> int:
    """Hold the folder for us.  A directory can be locked itself, so nothing is left behind.  Raises OSError also where nothing
    can be made in it."""
    os.makedirs(folder, 0o755, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise PermissionError(13, "permission denied", folder)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
