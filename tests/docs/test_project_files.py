"""The files for people who join: templates, hooks, and the paths that CONTRIBUTING.md names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / ".github" / "ISSUE_TEMPLATE"
NAMED_PAGES = [
    "CONTRIBUTING.md",
    "docs/architecture.md",
    *sorted(f"docs/decisions/{path.name}" for path in ROOT.glob("docs/decisions/*.md")),
]
PATH = re.compile(r"`((?:vfctl|tests|docs|benchmarks|scenarios|examples)/[\w./*-]+)`")


@pytest.mark.processes
@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-issue-forms", ["bug.yml", "feature.yml"]), ("github-issue-config", ["config.yml"])],
)
def test_the_issue_templates_are_valid(schema: str, files: list[str]) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    subprocess.run([*command, *(TEMPLATES / file for file in files)], check=True, timeout=60)


def test_the_hooks_run_tools_of_the_environment() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"], "nothing is downloaded"
    tools = {Path(hook["entry"].split()[0]) for hook in repositories[0]["hooks"]}
    assert {tool.parent for tool in tools} == {Path(".venv/bin")}
    assert all((Path(sys.executable).parent / tool.name).exists() for tool in tools)


@pytest.mark.parametrize("page", NAMED_PAGES)
def test_every_path_that_is_named_exists(page: str) -> None:
    """A `*` stands for any name, and NAME for one that a reader chooses."""
    paths = [path for path in PATH.findall((ROOT / page).read_text()) if "NAME" not in path]
    assert [path for path in paths if not list(ROOT.glob(path.rstrip("/.")))] == []
