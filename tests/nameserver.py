"""A name server on a free loopback port that says what a test wants: zone text, SERVFAIL, or nothing."""
from __future__ import annotations

import socket
import threading

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset


class NameServer:
    """zone: {name: {type: [rdata, ...] or "SERVFAIL" or "SILENT"}}, names without the last dot.  A CNAME is followed inside the
    zone, as a recursive server would, unless follow is off.  asked: the questions so far as (name, type)."""

    def __init__(self, zone: dict[str, dict[str, list[str] | str]], *, follow: bool = True) -> None:
        self.zone = zone
        self.follow = follow
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> NameServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, peer = self._socket.recvfrom(4096)
            if not wire:
                return
            answer = self._answer(dns.message.from_wire(wire))
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        name = query.question[0].name
        kind = dns.rdatatype.to_text(query.question[0].rdtype)
        self.asked.append((name.to_text(omit_final_dot=True), kind))
        answer = dns.message.make_response(query, recursion_available=True)
        for _ in range(20):
            rows = self.zone.get(name.to_text(omit_final_dot=True).lower())
            if rows is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
                return answer
            found = rows.get(kind, [])
            if found == "SILENT":
                return None
            if found == "SERVFAIL":
                answer.set_rcode(dns.rcode.SERVFAIL)
                return answer
            if found:
                answer.answer.append(dns.rrset.from_text_list(name, 300, "IN", kind, found))
                return answer
            if "CNAME" not in rows:
                return answer
            answer.answer.append(dns.rrset.from_text_list(name, 300, "IN", "CNAME", rows["CNAME"]))
            name = dns.name.from_text(rows["CNAME"][0])
            if not self.follow:
                return answer
        return answer
