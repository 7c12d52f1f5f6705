"""The directories are the architecture: who may import what, and who alone may change the disk or the uid."""
from __future__ import annotations

import ast
import os

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = sorted(os.path.relpath(os.path.join(top, name), ROOT)
                 for top, _, names in os.walk(os.path.join(ROOT, "pymta")) for name in names if name.endswith(".py"))

CHANGES_DISK = {"rename", "renames", "replace", "link", "unlink", "remove", "removedirs", "rmdir", "fsync", "fdatasync", "sync", "truncate",
                "syncfs"}
CHANGES_UID = {"setuid", "seteuid", "setreuid", "setresuid", "setgid", "setegid", "setregid", "setresgid", "setgroups", "initgroups"}
NO_IO = {"socket", "ssl", "os", "time", "logging", "asyncio", "select", "subprocess", "pathlib", "shutil", "threading"}


def tree(path: str) -> ast.Module:
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return ast.parse(file.read(), path)


def imports(path: str) -> set[str]:
    """Full names of what a module imports."""
    out = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            out |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return out


def calls_of_os(path: str) -> set[str]:
    """Names called or handed on as os.NAME, or imported from os."""
    out = {name.removeprefix("os.") for name in imports(path) if name.startswith("os.")}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            out.add(node.attr)
    return out


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("pymta/proto/")])
def test_protocol_engines_do_no_io(path):
    assert not {name.partition(".")[0] for name in imports(path)} & NO_IO
    assert not {name for name in imports(path) if name in ("pymta.log", "pymta.clock", "pymta.durable")}


@pytest.mark.parametrize("path", [path for path in MODULES if path != "pymta/durable.py"])
def test_one_module_changes_names_and_syncs(path):
    assert not calls_of_os(path) & CHANGES_DISK, "use pymta.durable"


@pytest.mark.parametrize("path", [path for path in MODULES if path != "pymta/privs.py"])
def test_one_module_changes_the_uid(path):
    assert not calls_of_os(path) & CHANGES_UID, "use pymta.privs"


@pytest.mark.parametrize("path", MODULES)
def test_imports_go_up_only(path):
    found = imports(path)
    layer = path.split("/")[1]
    if layer in ("proto", "message", "formats"):
        assert not {name for name in found if name.startswith(("pymta.programs", "pymta.queue", "pymta.sandbox", "pymta.serve"))}
    if layer != "programs":
        assert not {name for name in found if name.startswith("pymta.programs")}


def test_the_protocols_and_formats_know_nothing_of_each_other():
    for path in MODULES:
        if path.startswith("pymta/proto/"):
            assert not {name for name in imports(path) if name.startswith("pymta.formats")}, path
        if path.startswith("pymta/formats/"):
            assert not {name for name in imports(path) if name.startswith("pymta.proto")}, path
