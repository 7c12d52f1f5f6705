"""Fixtures for every test: whole systems, run by pymta-sandbox as it would be by anybody.

`sandbox` is a running system that the tests of one module share; `sandbox_factory(**options)` starts one with options of its own,
`sandbox_factory(user=["carol:pw"], set=["queue.retry=1s,2s"], transport=["remote.test=127.0.0.1:2626"])`.
"""
from __future__ import annotations

import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from hypothesis import settings                                                             # noqa: E402

from tests import running                                                                   # noqa: E402

settings.register_profile("pymta", deadline=None, print_blob=True)      # a busy machine is no reason to fail
settings.load_profile("pymta")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: several real uids"))


@pytest.fixture(scope="module")
def sandbox():
    """A running system with alice and bob in example.test, shared by the module's tests."""
    with running.Sandboxes() as sandboxes:
        yield sandboxes.start()


@pytest.fixture
def sandbox_factory():
    """start(directory=None, **options) -> running.Sandbox; all are stopped, and their directories removed, after the test."""
    with running.Sandboxes() as sandboxes:
        yield sandboxes.start


@pytest.fixture(scope="module")
def module_sandbox_factory():
    """The same for a whole module."""
    with running.Sandboxes() as sandboxes:
        yield sandboxes.start
