"""reading: one configuration of qmail, what has been asked of it, and the import that is made."""
from __future__ import annotations

from pymta.importing.qmail import dot
from pymta.importing.report import Import
from pymta.importing.source import Source, text

# control file -> (ours, unit of the number, qmail's default)
COPIED = {"queuelifetime": ("queue.lifetime", "s", "604800"), "concurrencyremote": ("remote.concurrency_all", "", "20"), "timeoutconnect": ("remote.connect_timeout", "s", "60"),
          "timeoutremote": ("remote.timeout", "s", "1200"), "timeoutsmtpd": ("smtp.timeout", "s", "1200"), "concurrencyincoming": ("smtp.sessions_max", "", "40")}


class Reading:
    """users: who controls a name; local, virtual: domains of this host."""

    def __init__(self, source: Source, directory: str, host: str) -> None:
        self.source, self.directory, self.out = source, directory, Import()
        self.me = self.first("me") or host
        self.users = dot.Users(source, directory)
        self.wild = False                                   # whether name-anything reaches name somewhere
        self.local: list[str] = []
        self.virtual: list[str] = []

    def lines(self, name: str) -> list[tuple[str, str]]:
        """(file:line, line) of a control file, without comments and empty lines."""
        path = f"{self.directory}/control/{name}"
        return [(f"{path}:{number}", line.strip()) for number, line in enumerate(text(self.source.read(path)).split("\n"), 1)
                if line.strip() and not line.startswith("#")]

    def first(self, name: str) -> str:
        return next((line for _, line in self.lines(name)), "")
