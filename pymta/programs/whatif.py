"""pymta-whatif: show what would become of mail for an address, step by step, and do nothing.      pymta-whatif(8)

    pymta-whatif [--etc DIR] [--json] ADDRESS...

The answer comes from the code that delivers (routing.py, transports.py), so it cannot disagree.  Exit status: 0 if the mail would
be taken for each address; else that of the last refusal (67: no such user); 66 if a file of ETC cannot be read.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from pymta import log, settings
from pymta.accounts import Trouble
from pymta.formats.live import quiet
from pymta.formats.queuefile import LOCAL, Recipient
from pymta.formats.transports import Transports, key
from pymta.message import address as addresses
from pymta.outcome import Outcome
from pymta.routing import HOLD, Router

EX_NOINPUT = 66


def main(argv: list[str] | None = None) -> int:
    log.start("pymta-whatif")
    parser = argparse.ArgumentParser(prog="pymta-whatif", description="show what would become of mail for an address, and do nothing")
    parser.add_argument("--etc", metavar="DIR", default=settings.DEFAULT_ETC, help=f"where the files are ({settings.DEFAULT_ETC})")
    parser.add_argument("--json", action="store_true", help="one object for each address, one a line")
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS", help="user@domain, or a bare name")
    given = parser.parse_args(argv)
    current = settings.read(given.etc)
    router = Router(current, tell=quiet)                # what is wrong on the way is shown below
    transports = Transports(os.path.join(given.etc, "transports"), current["remote.smarthost"], current["remote.port"], quiet)
    status = 0
    try:
        for word in given.addresses:
            fate = what_if(router, transports, os.fsencode(word))
            print(json.dumps(fate) if given.json else shown(fate), flush=True)
            status = fate["exit"] or status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        sys.stderr.write(f"pymta-whatif: {error.filename or given.etc}: {error.strerror or error}\n")
        return EX_NOINPUT
    return status


def what_if(router: Router, transports: Transports, address: bytes) -> dict[str, Any]:
    """What --json prints.  Raises OSError if a file cannot be read."""
    told = router.explain(address)
    fate: dict[str, Any] = {
        "address": _text(address),
        "relay": not router.relay(address),
        "steps": [{"depth": step.depth, "where": step.where, "text": step.text} for step in told.steps],
        "faults": [{"where": where, "text": text} for where, text in told.faults],
    }
    if isinstance(told.answer, Outcome):
        refusal = told.answer
        return fate | {"recipients": [], "refused": {"reply": refusal.reply, "status": refusal.status, "text": refusal.text},
                       "exit": refusal.exit}
    return fate | {"recipients": [_recipient(router, transports, one) for one in told.answer], "refused": None, "exit": 0}


def _recipient(router: Router, transports: Transports, one: Recipient) -> dict[str, Any]:
    address = _text(one.address)
    held = dict(one.notes).get(HOLD)
    if held is not None:
        return {"address": address, "fate": "hold", "why": _text(held)}
    if one.kind == LOCAL:
        try:
            box = router.accounts.find(address)
        except Trouble:                                     # the users file changed under us
            box = None
        return {"address": address, "fate": "deliver", "maildir": box and box.maildir, "uid": box and box.uid, "gid": box and box.gid}
    route = transports.route(_text(addresses.split(one.address)[1]))
    return {"address": address, "fate": "send", "protocol": route.protocol, "host": route.host, "port": route.port, "mx": route.mx,
            "destination": key(route)}


def shown(fate: dict[str, Any]) -> str:
    """The same for people."""
    lines = [_safe(fate["address"])]
    width = max((len(step["where"]) for step in fate["steps"]), default=0)
    lines += [f"  {_safe(step['where']):{width}}  {'  ' * step['depth']}{_safe(step['text'])}" for step in fate["steps"]]
    lines += [f"  fault: {_safe(fault['where'])}: {_safe(fault['text'])}" for fault in fate["faults"]
              if not any(fault["text"].startswith(step["text"]) or step["text"].endswith(fault["text"]) for step in fate["steps"])]
    for one in fate["recipients"]:
        match one["fate"]:
            case "hold":
                lines.append(f"hold     {_safe(one['address'])}  {one['why']}")
            case "deliver":
                lines.append(f"deliver  {_safe(one['address'])}  {_safe(one['maildir'] or '-')}  uid {one['uid']}")
            case _:
                host = f"[{one['host']}]" if ":" in one["host"] else one["host"]
                where = f"MX of {host}, port {one['port']}" if one["mx"] else f"{one['protocol']}:{host}:{one['port']}"
                lines.append(f"send     {_safe(one['address'])}  {_safe(where)}")
    if fate["refused"]:
        refusal = fate["refused"]
        lines.append(f"refuse   {refusal['reply']} {refusal['status']} {refusal['text']}")
    elif fate["relay"]:
        lines.append("         (not for this host: only from those who may relay)")
    return "\n".join(lines)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _safe(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
