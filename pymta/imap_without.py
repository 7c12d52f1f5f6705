"""imap_without: which capabilities of IMAP are switched off, for all, for an account, for a client.      pymta.conf(5), pymta-users(5)

    switches = Switches(settings["imap.without"], settings["imap.client_without"])
    off = switches.off(account=mailbox.without, client="Microsoft Office 365")

The client's name is what it says in ID.  RFC 2971 §3.3 asks servers not to go by that; so nothing does unless the admin, who knows
which program misreads what, has written it down.  Names that are no capability are `pymta-config check`'s to find.
"""
from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from pymta.proto.imap import capability

CLIENT_MAX_CHARS = 200                                  # of a name in ID; a longer one is cut


def names(text: str) -> frozenset[str]:
    """Capabilities as they are written, parted by blanks or commas: in upper case."""
    return frozenset(text.upper().replace(",", " ").split())


def rules(text: str) -> tuple[list[tuple[str, frozenset[str]]], list[str]]:
    """PATTERN: NAMES; PATTERN: NAMES  ->  ([(pattern in lower case, names)], complaints)"""
    out, complaints = [], []
    for item in filter(None, map(str.strip, text.split(";"))):
        pattern, colon, capabilities = item.rpartition(":")
        if colon and pattern.strip() and names(capabilities):
            out.append((pattern.strip().lower(), names(capabilities)))
        else:
            complaints.append(f"{item} is not PATTERN: CAPABILITIES; write *Office 365*: UIDONLY")
    return out, complaints


def strangers(found: Iterable[str]) -> list[str]:
    """Complaints about names that are no capability."""
    return [f"{name} cannot be switched off; choose from {' '.join(row.name for row in capability.CAPABILITIES)}"
            for name in sorted(found) if name not in capability.KNOWN]


class Switches:
    """Those of one configuration: imap.without, imap.client_without."""

    def __init__(self, everybody: Iterable[str], clients: str) -> None:
        self._everybody = names(" ".join(everybody))
        self._clients, _ = rules(clients)
        self._known: dict[frozenset[str], frozenset[bytes]] = {}

    def off(self, account: str = "", client: str = "") -> frozenset[bytes]:
        """What is not announced.  account: its without= as written; client: the name it said in ID."""
        off = self._everybody | names(account)
        if client:
            client = client[:CLIENT_MAX_CHARS].lower()
            off = off.union(*(more for pattern, more in self._clients if fnmatch.fnmatchcase(client, pattern)))
        if off not in self._known:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[off] = capability.closure(off)
        return self._known[off]
