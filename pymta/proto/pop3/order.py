"""order: which command may come in which state.                    RFC 1939 §4-7, 2449 §5, 2595 §4, 5034 §4, 6856 §2.1, §3.2"""
from __future__ import annotations

AUTHORIZATION, NAMED, SASL, TRANSACTION, UPDATE = "AUTHORIZATION", "NAMED", "SASL", "TRANSACTION", "UPDATE"

# (state, command) -> the state after it, if it succeeds.  What is not here is refused.  NAMED: after USER; SASL: within AUTH.
ORDER: dict[tuple[str, bytes], str] = {
    (AUTHORIZATION, b"CAPA"): AUTHORIZATION,    (NAMED, b"CAPA"): NAMED,                (TRANSACTION, b"CAPA"): TRANSACTION,
    (AUTHORIZATION, b"LANG"): AUTHORIZATION,    (NAMED, b"LANG"): NAMED,                (TRANSACTION, b"LANG"): TRANSACTION,
    (AUTHORIZATION, b"QUIT"): UPDATE,           (NAMED, b"QUIT"): UPDATE,               (TRANSACTION, b"QUIT"): UPDATE,
    (AUTHORIZATION, b"STLS"): AUTHORIZATION,    (NAMED, b"STLS"): AUTHORIZATION,
    (AUTHORIZATION, b"UTF8"): AUTHORIZATION,    (NAMED, b"UTF8"): NAMED,
    (AUTHORIZATION, b"USER"): NAMED,            (NAMED, b"USER"): NAMED,
    (AUTHORIZATION, b"AUTH"): SASL,             (NAMED, b"AUTH"): SASL,
    (NAMED, b"PASS"): AUTHORIZATION,            # TRANSACTION follows when the program has said logged_in
    (TRANSACTION, b"STAT"): TRANSACTION, (TRANSACTION, b"LIST"): TRANSACTION, (TRANSACTION, b"UIDL"): TRANSACTION,
    (TRANSACTION, b"RETR"): TRANSACTION, (TRANSACTION, b"TOP"): TRANSACTION, (TRANSACTION, b"DELE"): TRANSACTION,
    (TRANSACTION, b"NOOP"): TRANSACTION, (TRANSACTION, b"RSET"): TRANSACTION,
}
COMMANDS = frozenset(command for _, command in ORDER)


def why_not(state: str, command: bytes) -> bytes:
    """The text for a command that may not come now."""
    if state == TRANSACTION:
        return b"you are logged in already"
    return b"USER comes first" if command == b"PASS" else b"log in first"
