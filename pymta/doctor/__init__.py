"""doctor: what pymta-doctor looks at, a module for each subject.

Each has `look(case) -> Iterator[Finding]`: reads, changes nothing, and names what it may not see.
"""
