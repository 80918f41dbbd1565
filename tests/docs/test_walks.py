"""The walks in docs/architecture.md: few modules, each of which imports, or is imported by, one before it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
WALKS = {
    title: re.findall(r"^\d+\. `([^`]+)`", body, re.MULTILINE)
    for title, body in re.findall(r"^### ([^\n]*)\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
}


def file_of(module: str) -> str | None:
    base = ROOT / module.replace(".", "/")
    found = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.exists()), None)
    return str(found.relative_to(ROOT)) if found else None


@cache
def imports(path: str) -> frozenset[str]:
    """The files that a module imports; through a package, those from which it imports the same names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vfctl"):
            target = file_of(node.module)
            members = {file_of(f"{node.module}.{alias.name}") for alias in node.names}
            found |= {file for file in {target, *members} if file}
            if target and target.endswith("__init__.py") and target != path:
                found |= imports(target)
        elif isinstance(node, ast.Import):
            found |= {file for alias in node.names if (file := file_of(alias.name))}
    return frozenset(found)


def test_there_are_four_walks() -> None:
    assert len(WALKS) == 4


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_follows_imports(title: str) -> None:
    walk = WALKS[title]
    assert 5 <= len(walk) <= 12
    for index, path in enumerate(walk):
        assert (ROOT / path).is_file(), path
        former = walk[:index]
        connected = any(path in imports(other) or other in imports(path) for other in former)
        assert connected or not former, f"{path} neither imports nor is imported by {former}"


def test_the_page_shows_the_layers_that_are_enforced() -> None:
    layers = re.search(r'layers = \[\n    "cli",(.*?)\n\]', (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    shown = re.search(r"```text\ncli\n(.*?)```", PAGE, re.DOTALL)
    assert layers
    assert shown
    assert re.findall(r'"(.*)"', layers[1]) == shown[1].split("\n")[:-1]
