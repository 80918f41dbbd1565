"""docs/api.md names every public object with a sentence, and nothing that does not exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTIONS = dict(re.findall(r"^## (vfctl\.\w+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
MODULES = ["client", "protocol", "graph", "capture", "physics", "stream", "metrics"]


def rows(section: str) -> dict[str, str]:
    """Name -> sentence, of the tables of a section. A name may be dotted, and has no parameters."""
    return dict(re.findall(r"^\| `([\w.]+)(?:\([^`]*\))?` \| (.*) \|$", section, re.MULTILINE))


def has_attribute(thing: Any, name: str) -> bool:
    """Also of an attribute that only instances have: it is annotated, or described in the docstring."""
    documented = re.search(rf"^\s+{name}: ", thing.__doc__ or "", re.MULTILINE)
    return hasattr(thing, name) or name in getattr(thing, "__annotations__", {}) or documented is not None


def test_every_package_has_a_section() -> None:
    assert set(SECTIONS) == {f"vfctl.{name}" for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_has_a_sentence_and_every_named_one_exists(name: str) -> None:
    module = importlib.import_module(f"vfctl.{name}")
    described = rows(SECTIONS[f"vfctl.{name}"])
    assert {entry.split(".")[0] for entry in described} == set(module.__all__)
    assert set(module.__all__) <= set(described)
    for entry, sentence in described.items():
        owner, _, attribute = entry.partition(".")
        assert not attribute or has_attribute(getattr(module, owner), attribute), entry
        assert re.fullmatch(r"[A-Z`].{10,}\.", sentence), (entry, sentence)
