"""The workflows in docs/how-to/gate-in-ci.md: their YAML, their shell and every vfctl command in them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import typer.main
import yaml

from vfctl.cli.app import app
from vfctl.loadtest.scenario.file import load_scenario
from vfctl.loadtest.scenario.gates import parse_gate

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "how-to" / "gate-in-ci.md"
GITHUB_TEXT, GITLAB_TEXT = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)
GITHUB, GITLAB = map(yaml.safe_load, (GITHUB_TEXT, GITLAB_TEXT))
STEPS = GITHUB["jobs"]["loadtest"]["steps"]
SCRIPTS = {
    "github": "\n".join(step["run"] for step in STEPS if "run" in step),
    "gitlab": "\n".join(GITLAB["loadtest"]["script"]),
    "own": (ROOT / ".ci" / "run").read_text(),
}


def vfctl_commands(script: str) -> list[list[str]]:
    """The arguments of each vfctl command; a command ends with its line, `&` or `||`."""
    joined = script.replace("\\\n", " ")
    words = [shlex.split(line, comments=True) for line in joined.splitlines() if re.match(r"\s*(\S*/)?vfctl\s", line)]
    return [re.split(r"\0(?:&|\|\|)\0?", "\0".join(line))[0].split("\0")[1:] for line in words]


def parsed(arguments: list[str]) -> dict[str, Any]:
    """The options that the command line parser reads from them."""
    name, *rest = arguments
    root: Any = typer.main.get_command(app)
    command = root.get_command(typer.Context(root), name)
    return dict(command.make_context(name, rest).params)


@pytest.mark.processes
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_shell_is_shell_and_every_command_is_one_of_ours(name: str) -> None:
    subprocess.run(["bash", "-n"], input=SCRIPTS[name].encode(), check=True, timeout=10)
    commands = vfctl_commands(SCRIPTS[name])
    assert len(commands) == 2
    for arguments in commands:
        options = parsed(arguments)
        for gate in options.get("gate") or ():
            parse_gate(gate)


@pytest.mark.parametrize("name", ["github", "gitlab"])
def test_the_files_that_are_kept_are_those_that_are_written(name: str) -> None:
    options = parsed(vfctl_commands(SCRIPTS[name])[1])
    written = [options[report] for report in ("json_file", "junit", "html", "csv")]
    assert all(path is not None and path.parts[0] == "loadtest" for path in written)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("schema", "text", "mistake"),
    [
        ("vendor.github-workflows", GITHUB_TEXT, ("timeout-minutes: 15", "timeout_minutes: 15")),
        ("vendor.gitlab-ci", GITLAB_TEXT, ("when: always", "when: sometimes")),
    ],
)
def test_the_published_schema_accepts_the_file_and_would_find_a_mistake(
    schema: str, text: str, mistake: tuple[str, str], tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(text)
    bad.write_text(text.replace(*mistake))
    assert bad.read_text() != text
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(good), str(bad)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "bad.yml" in done.stdout
    assert "good.yml" not in done.stdout, done.stdout


def test_the_github_workflow_has_the_form_that_github_asks_for() -> None:
    assert set(GITHUB) == {"name", True, "permissions", "env", "jobs"}, "`on` is true to YAML 1.1"
    assert set(GITHUB[True]) == {"pull_request", "push"}
    job = GITHUB["jobs"]["loadtest"]
    assert set(job) == {"runs-on", "timeout-minutes", "steps"}
    for step in STEPS:
        assert set(step) <= {"name", "uses", "with", "run", "if"}
        assert ("uses" in step) != ("run" in step)
        assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))
    keep = STEPS[-1]
    assert (keep["if"], keep["with"]["path"]) == ("always()", "loadtest/")


def test_the_gitlab_job_has_the_form_that_gitlab_asks_for() -> None:
    job = GITLAB["loadtest"]
    assert set(job) == {"image", "variables", "timeout", "script", "artifacts"}
    assert all(isinstance(line, str) for line in job["script"])
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"]["junit"] == str(parsed(vfctl_commands(SCRIPTS["gitlab"])[1])["junit"])


def test_the_scenario_of_our_own_pipeline_is_one_with_gates() -> None:
    assert len(load_scenario(str(ROOT / ".ci" / "loadtest.toml")).gates) >= 5
