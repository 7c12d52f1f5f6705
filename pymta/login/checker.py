"""checker: decide whether a name and a password belong together, and make guessing slow.  Runs in the password child only.

What one check meets, in this order:

    seen wrong      the same wrong password again from the same network: no, after the network's delay; counts and is logged once,
                    so a telephone with an old password neither slows its household nor gets it banned
    seen right      this password was right from this network within the hour: no waiting in the network's line
    the line        a network (IPv4 /24, IPv6 /64) has a few checks at a time; from login.failures wrong ones on a single one, and
                    each waits 1, 2, 4 ... s first, up to login.delay_max.  Opening many connections does not help a guesser.
    the cache       right within the last minutes: no hash is computed (mail clients log in all day).  Keyed digest, in memory only
    the hash        in a pool of login.hashers threads.  An unknown name costs as much as a wrong password: time tells nothing.

A new hash in the file makes all that was seen for that name void.  Failures are forgotten after ten quiet minutes.
"""
from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import os
import stat
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from pymta import accounts as pymta_accounts
from pymta import clock, log
from pymta.login import hashes
from pymta.accounts import Accounts, Mailbox
from pymta.formats import passwords
from pymta.formats.live import Live
from pymta.settings import Settings

_CACHED_S = 300.0
_AT_HOME_S = 3600.0
_FORGET_S = 600.0
_QUIET_S = 5.0
_AT_A_TIME = 8
_LINE_MAX, _SLOW_LINE_MAX = 500, 5
_NETWORKS_MAX, _MARKS_MAX, _WRONG_MAX = 10000, 10000, 200


class Trouble(Exception):
    """Passwords cannot be checked now: not the client's fault, and worth another try.  The text is for the log."""


Entries = tuple[dict[str, passwords.Entry], list[tuple[int, str]]]


class PasswordFile:
    """ETC/passwords as it is now."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._live: Live[Entries] = Live(path, passwords.decode, self._changed)

    def entries(self) -> dict[str, passwords.Entry]:
        """Name -> entry.  A missing file has none.  Raises Trouble where it cannot be read."""
        try:
            return self._live.get()[0]
        except OSError as error:
            raise Trouble(f"cannot read {self.path}: {error.strerror or error}") from None

    def _changed(self, entries: Entries) -> None:
        for number, why in entries[1]:
            log.event("config", where=f"{self.path}:{number}", why=why)
        try:
            if stat.S_IMODE(os.stat(self.path).st_mode) & 0o007:
                log.event("config", where=self.path, why="every user can read the hashes; chmod 640 it")
        except OSError:
            pass                                        # not there: nobody reads it


class _Network:
    """What is known of one network: failures, when the last was, the wrong passwords (mark -> hash they were wrong for)."""

    def __init__(self) -> None:
        self.failures = 0
        self.last_failure = 0.0
        self.wrong: dict[bytes, str] = {}
        self.waiting = 0
        self.gate = asyncio.Semaphore(_AT_A_TIME)
        self.single = asyncio.Lock()

    def forget(self) -> None:
        if self.failures and clock.tick() - self.last_failure > _FORGET_S:
            self.failures = 0
            self.wrong.clear()


class Checker:
    """Checks passwords.  sleep is what a delay waits with."""

    def __init__(self, settings: Settings, accounts: Accounts, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.accounts = accounts
        self.file = PasswordFile(os.path.join(settings.etc, "passwords"))
        self._free_failures: int = settings["login.failures"]
        self._delay_max_s: float = settings["login.delay_max"]
        self._pool = ThreadPoolExecutor(max(1, settings["login.hashers"]), "hash")
        self._sleep = sleep
        self._key = os.urandom(32)
        self._dummy = hashes.make(os.urandom(16))
        self._networks: dict[str, _Network] = {}
        self._last_hash = 0.0
        self._tidying = False
        self._cache: dict[bytes, tuple[str, float]] = {}            # mark -> (hash it was right for, until when)
        self._at_home: dict[tuple[str, bytes], tuple[str, float]] = {}

    async def check(self, name: str, password: str, peer: str, service: str) -> Mailbox | None:
        """The mailbox of who proved to be name, or None.  peer: the client's address.  Logs `auth-failed`.
        Raises Trouble."""
        name = passwords.fold(name)
        entry, mailbox = self._look_up(name)
        mark = self._mark(name, password)
        where = network_of(peer)
        network = self._network(where)
        hash = entry.hash if entry else ""
        if network.wrong.get(mark) == hash:
            await self._sleep(self._delay_s(network))
            return None
        if not self._free_failures or (network.waiting < _SLOW_LINE_MAX and self._fresh(self._at_home, (where, mark), hash)):
            right = await self._is_right(entry, mark, password)
        else:
            right = await self._in_line(network, entry, mark, password)
        if right and mailbox is not None:
            self._remember(self._cache, mark, hash, _CACHED_S)
            self._remember(self._at_home, (where, mark), hash, _AT_HOME_S)
            return mailbox
        self._failed(network, mark, hash)
        why = "unknown-user" if entry is None else "no-mailbox" if right else "wrong-password"
        log.event("auth-failed", client=peer, service=service, user=f"<{name[:passwords.NAME_MAX_CHARS]}>", why=why)
        return None

    def _look_up(self, name: str) -> tuple[passwords.Entry | None, Mailbox | None]:
        """The line for name may stand under the name given, the full address, or the bare name of the same mailbox."""
        entries = self.file.entries()
        try:
            mailbox = self.accounts.login(name)
            names = [name]
            if mailbox is not None:
                bare = mailbox.address.partition("@")[0]
                names += [mailbox.address] + ([bare] if self.accounts.login(bare) == mailbox else [])
        except (OSError, pymta_accounts.Trouble) as error:
            raise Trouble(f"cannot look up users: {error}") from None
        return next((entries[each] for each in names if each in entries), None), mailbox

    async def _in_line(self, network: _Network, entry: passwords.Entry | None, mark: bytes, password: str) -> bool:
        if network.waiting >= (_SLOW_LINE_MAX if self._delay_s(network) else _LINE_MAX):
            raise Trouble("too many logins at a time from this network")
        network.waiting += 1
        try:
            async with network.gate:
                if not self._delay_s(network):
                    return await self._is_right(entry, mark, password)
                async with network.single:
                    await self._sleep(self._delay_s(network))
                    return await self._is_right(entry, mark, password)
        finally:
            network.waiting -= 1

    async def _is_right(self, entry: passwords.Entry | None, mark: bytes, password: str) -> bool:
        if entry is not None and self._fresh(self._cache, mark, entry.hash):
            return True
        try:
            octets = hashes.prepare(password)
        except ValueError:
            octets, entry = b"-", None                  # it costs the same time
        try:
            right = await asyncio.get_running_loop().run_in_executor(
                self._pool, hashes.matches, entry.hash if entry else self._dummy, octets)
        except hashes.Unusable as error:
            raise Trouble(f"{self.file.path}:{entry.line if entry else 0}: {error}") from None
        self._last_hash = clock.tick()
        if not self._tidying:
            self._tidying = True
            asyncio.get_running_loop().call_later(_QUIET_S, self._tidy)
        return right and entry is not None

    def _tidy(self) -> None:
        """Give back the memory of hashes when nobody has logged in for a while; at each one it would make them dearer by half."""
        self._tidying = clock.tick() - self._last_hash < _QUIET_S
        if self._tidying:
            asyncio.get_running_loop().call_later(_QUIET_S, self._tidy)
        else:
            hashes.give_back_memory()

    # ---- memory -------------------------------------------------------------------------------------------------------
    def _mark(self, name: str, password: str) -> bytes:
        octets = name.encode("utf-8", "surrogateescape") + b"\0" + password.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(octets, key=self._key, digest_size=24).digest()

    def _network(self, where: str) -> _Network:
        network = self._networks.pop(where, None) or _Network()
        self._networks[where] = network                 # the last used stand last
        if len(self._networks) > _NETWORKS_MAX:
            for old in list(self._networks)[:_NETWORKS_MAX // 10]:
                if not self._networks[old].waiting:
                    del self._networks[old]
        network.forget()
        return network

    def _delay_s(self, network: _Network) -> float:
        over = network.failures - self._free_failures
        return 0.0 if over < 0 or not self._free_failures else min(self._delay_max_s, 2.0 ** min(over, 60))

    def _failed(self, network: _Network, mark: bytes, hash: str) -> None:
        network.failures += 1
        network.last_failure = clock.tick()
        if len(network.wrong) >= _WRONG_MAX:
            del network.wrong[next(iter(network.wrong))]
        network.wrong[mark] = hash

    @staticmethod
    def _fresh(memory: dict, key: object, hash: str) -> bool:
        found = memory.get(key)
        return found is not None and found[0] == hash and found[1] > clock.tick()

    @staticmethod
    def _remember(memory: dict, key: object, hash: str, seconds: float) -> None:
        memory.pop(key, None)
        if len(memory) >= _MARKS_MAX:
            del memory[next(iter(memory))]
        memory[key] = hash, clock.tick() + seconds


def network_of(peer: str) -> str:
    """The network whose failures count together: /24 of IPv4, /64 of IPv6; what is no address stands for itself."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    return str(ipaddress.ip_network((peer, 24 if address.version == 4 else 64), strict=False))
