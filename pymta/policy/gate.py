"""gate: who may connect now.  Asked by serve before a connection becomes a session; the session asks it for rates.

The rules are policy's, the counting is done in rates; here they meet, and what is refused a thousand times is logged once.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from pymta import clock, log
from pymta.policy import rates, rules as policy
from pymta.outcome import Outcome
from pymta.policy.rules import Rules, Traffic

_TELL_EVERY_S = 10.0
_TOLD_MAX = 1000
_SPELL_S = 1.0
_SPELLS_MAX = 4096


@dataclass(slots=True)
class Spell:
    """A client far from its limits is not looked up for each message.  until: for so long; left: so many messages, so few that all
    workers together stay below the limit; used: those that came."""

    until: float
    left: int
    used: int = 0


class Gate:
    """counts: None where no rule needs them; networks: those that are exempt."""

    def __init__(self, rules: Rules, counts: rates.Counts | None, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._rules = rules
        self._counts = counts
        self._networks = tuple(networks)
        self.exempt: Callable[[str], bool] = lru_cache(4096)(self._exempt)
        self._keys: Callable[[str], tuple[bytes, bytes]] = lru_cache(4096)(self._make_keys)
        self._spells: dict[str, Spell] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}       # (network, reason) -> when it was logged, refused since

    # ---- for serve ----------------------------------------------------------------------------------------------------
    def enter(self, address: str, listener: str) -> bytes | None:
        counts = self._counts
        if counts is None or listener == "lmtp" or self.exempt(address):
            return None
        client, network = self._keys(address)
        refusal = policy.crowd(self._rules, Traffic(*counts.crowd(client)), Traffic(*counts.crowd(network)))
        if refusal is not None:
            self._tell(address, listener, refusal)
            return refusal.smtp()
        counts.enter(client)
        counts.enter(network)
        return None

    def leave(self, address: str, listener: str) -> None:
        if self._counts is None or listener == "lmtp" or self.exempt(address):
            return
        for key in self._keys(address):
            self._counts.leave(key)

    # ---- for sessions -------------------------------------------------------------------------------------------------
    def messages(self, address: str) -> Outcome | None:
        """Whether one more message is too many for now."""
        counts = self._counts
        if counts is None:
            return None
        spell, now = self._spells.get(address), clock.tick()
        if spell is not None and spell.left > 0 and now < spell.until:
            return None
        self._note(address, spell)
        client, network = (Traffic(messages=counts.level(key, rates.MESSAGES)) for key in self._keys(address))
        if len(self._spells) >= _SPELLS_MAX:
            self._spells.clear()
        self._spells[address] = Spell(now + _SPELL_S, policy.headroom(self._rules, client, network) // (2 * counts.workers))
        return policy.messages(self._rules, client, network)

    def accepted(self, address: str) -> None:
        """A message was."""
        if self._counts is None:
            return
        spell = self._spells.get(address)
        if spell is not None and spell.left > 0:
            spell.left -= 1
            spell.used += 1
            if spell.used > 1:                          # the first is written at once: other workers shall know the client
                return
        for key in self._keys(address):
            self._counts.add(key, rates.MESSAGES)

    def _note(self, address: str, spell: "Spell | None") -> None:
        """Write what was accepted during a spell."""
        if spell is not None and spell.used > 1 and self._counts is not None:
            for key in self._keys(address):
                self._counts.add(key, rates.MESSAGES, spell.used - 1)

    def known(self, address: str) -> bool:
        """Whether a message of this address was accepted within the last minutes."""
        return self._counts is not None and self._counts.level(self._keys(address)[0], rates.MESSAGES) > 0.005

    def error(self, address: str) -> float:
        """A command was refused: how long its answer waits."""
        if self._counts is None or not self._rules.tarpit:
            return 0.0
        key = self._keys(address)[0]
        self._counts.add(key, rates.ERRORS)
        return policy.pause_s(self._rules, self._counts.level(key, rates.ERRORS))

    # ---- inside -------------------------------------------------------------------------------------------------------
    def _exempt(self, address: str) -> bool:
        try:
            ip = ip_address(address)
        except ValueError:
            return True                                 # a Unix socket
        return any(ip in network for network in self._networks)

    def _network(self, address: str) -> str:
        return rates.network(address, self._rules.network_ipv4, self._rules.network_ipv6)

    def _make_keys(self, address: str) -> tuple[bytes, bytes]:
        assert self._counts is not None
        return self._counts.key(address), self._counts.key(self._network(address))

    def _tell(self, address: str, listener: str, refusal: Outcome) -> None:
        """One line for all of a network and one reason within some seconds; more: how many there were since the last one."""
        key, now = (self._network(address), refusal.text), clock.tick()
        when, more = self._told.get(key, (0.0, 0))
        if when and now - when < _TELL_EVERY_S:
            self._told[key] = when, more + 1
            return
        if len(self._told) >= _TOLD_MAX:
            self._told.clear()
        self._told[key] = now, 0
        log.event("refuse", service=listener, client=address, status=refusal.status, why=refusal.text, more=more or None)
