"""examine: every subject, in the order in which one thing explains the next."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from pymta.doctor import certificates, configuration, daemons, disk, host, listeners, names, outside, places, queue
from pymta.doctor.finding import WARNING, Case, Finding, unseen

SUBJECTS: Mapping[str, Callable[[Case], Iterator[Finding]]] = MappingProxyType(
    {module.SUBJECT: module.look for module in (host, configuration, places, disk, daemons, listeners, certificates, names, queue, outside)})


def examine(case: Case, subjects: Iterable[str]) -> Iterator[Finding]:
    """What is found, each once.  Never raises: a subject that cannot be looked at is a finding of its own."""
    for subject in subjects:
        seen: set[Finding] = set()
        try:
            for one in SUBJECTS[subject](case):
                if one not in seen:
                    seen.add(one)
                    yield one
        except OSError as error:
            yield unseen(subject, error.filename or subject, error)
        except Exception as error:                      # an odd state that nobody thought of must not hide the other subjects
            yield Finding(subject, "pymta-doctor", f"could not go on: {type(error).__name__}: {error}", "please report this; the other subjects were looked at", WARNING)
