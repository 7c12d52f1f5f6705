"""systemd: what it says of our units."""
from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping

from pymta.doctor.finding import NOTE, WARNING, Finding

_TIMEOUT_S = 20


def show(units: Iterable[str], properties: Iterable[str]) -> dict[str, dict[str, str]]:
    """{unit: {property: value}} as systemctl(1) shows them; empty where it cannot be asked.  Of a property that comes several times the
    values stand in lines."""
    units = list(units)
    try:
        done = subprocess.run(["systemctl", "show", "--no-pager", f"--property={','.join(('Id', *properties))}", *units],
                              capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    return parse(done.stdout)


def parse(text: str) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for block in text.split("\n\n"):
        values: dict[str, str] = {}
        for line in block.splitlines():
            key, equals, value = line.partition("=")
            if equals:
                values[key] = f"{values[key]}\n{value}" if key in values else value
        if "Id" in values:
            out[values.pop("Id")] = values
    return out


def daemons(subject: str, names: Iterable[str]) -> Iterator[Finding]:
    """How systemd sees the daemons, and whether they start at the next boot."""
    units = [f"{name}.service" for name in names]
    found = show([*units, "pymta.target"], ("LoadState", "ActiveState", "SubState", "Result", "NRestarts", "UnitFileState"))
    if not found:
        yield Finding(subject, "systemctl", "it does not answer", "see whether systemd runs: systemctl status", WARNING)
        return
    for unit in units:
        values = found.get(unit, {})
        state = values.get("ActiveState", "unknown")
        if values.get("LoadState") == "masked":
            yield Finding(subject, unit, "it is masked, so it is never started", f"if that is not meant: systemctl unmask {unit}", NOTE)
        elif values.get("LoadState") == "not-found":
            yield Finding(subject, unit, "there is no such unit", "install pymta's units: make install, then systemctl daemon-reload")
        elif state in ("activating", "reloading", "deactivating"):
            yield Finding(subject, unit, f"it is {state} ({values.get('SubState', '')})", f"journalctl -u {unit} says why", WARNING)
        elif state != "active":
            why = f", {values['Result']}" if values.get("Result", "success") != "success" else ""
            yield Finding(subject, unit, f"it does not run ({state}{why})", f"systemctl start {unit}; journalctl -u {unit} says why it ended")
        elif values.get("NRestarts", "0").strip("0").isdigit():
            yield Finding(subject, unit, f"it was started again {values['NRestarts']} times after it ended by itself", f"journalctl -u {unit} says why", WARNING)
    target = found.get("pymta.target", {})
    if target.get("LoadState") != "not-found" and target.get("UnitFileState") not in ("enabled", "enabled-runtime", "static", "alias"):
        yield Finding(subject, "pymta.target", "it is not enabled, so nothing runs after the next boot", "systemctl enable pymta.target", WARNING)


def sockets(subject: str, wanted: Mapping[str, set[int]]) -> Iterator[Finding]:
    """Whether the socket units open the ports that the settings name.  wanted: listener -> ports."""
    found = show([f"pymta-{name}.socket" for name in wanted], ("LoadState", "ActiveState", "Listen"))
    for name, ports in wanted.items():
        unit = f"pymta-{name}.socket"
        values = found.get(unit)
        if values is None or values.get("LoadState") in ("not-found", "masked"):
            continue                                    # the daemon opens its sockets itself, or nobody shall
        if values.get("ActiveState") != "active":
            if ports:
                yield Finding(subject, unit, "it is not active", f"systemctl start {unit}")
            continue
        opened = {int(port) for port in re.findall(r":([0-9]{1,5}) \(Stream\)", values.get("Listen", ""))}
        if opened != ports:
            yield Finding(subject, unit, f"it opens {_ports(opened)}, while the settings say {_ports(ports)}; the unit's hold",
                          f"systemctl edit {unit} (ListenStream=), or change the setting", WARNING if ports else NOTE)


def read_only(subject: str, units: Iterable[str], homes: Iterable[str]) -> Iterator[Finding]:
    """Homes with mailboxes where a unit that has to may not write, by ProtectSystem=strict without a fitting ReadWritePaths=."""
    open_to = {unit: [os.path.realpath(word.lstrip("-+")) for word in values.get("ReadWritePaths", "").split()]
               for unit, values in show(units, ("ProtectSystem", "ReadWritePaths")).items() if values.get("ProtectSystem") == "strict"}
    shut: dict[str, tuple[str, list[str]]] = {}         # where they lie -> one of them, and the units
    for home in homes:
        real = os.path.realpath(home)
        without = [unit for unit, tops in open_to.items() if not any(f"{real}/".startswith(f"{top.rstrip('/')}/") for top in tops)]
        above = os.path.dirname(home.rstrip("/"))
        if without:
            shut.setdefault(home if above in ("", "/") else above, (home, without))
    for top, (home, without) in shut.items():
        names = " ".join(unit.removesuffix(".service") for unit in without)
        yield Finding(subject, top, f"mailboxes lie there ({home}), where the units let nobody write: {names}",
                      f"systemctl edit {names}: [Service] ReadWritePaths={top}; then systemctl restart {names}")


def _ports(ports: set[int]) -> str:
    return "port " + " and ".join(map(str, sorted(ports))) if ports else "no port"
