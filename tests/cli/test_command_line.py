"""The commands themselves: help, imports, choices that must agree with other rooms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from vfctl import __version__
from vfctl.capture.exporters import FORMATS
from vfctl.cli.app import app, run
from vfctl.cli.decode import Format
from vfctl.cli.options import Device, Generator
from vfctl.cli.serve import Admin, EncodingLimit, SlowClient, _say_if_clients_do_not_fit
from vfctl.graph.generators import GENERATORS
from vfctl.physics.device import DEVICES
from vfctl.server import options
from vfctl.server.options import ServerOptions
from vfctl.stream import Encoding, SlowClientPolicy
from vfctl.terminal.output import stderr_console

COMMANDS = [command.name for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_every_option_explained(command: str) -> None:
    built = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    assert built.help
    for parameter in built.params:
        if parameter.name != "help":
            assert parameter.help, f"{command}: {parameter.name} has no help"
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0


def test_scenario_commands(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["scenario", "list"]) == 0
    assert "smoke" in capfd.readouterr().out
    assert run(["scenario", "show", "smoke"]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capfd.readouterr().out + "state2 = 5\n")
    assert run(["scenario", "check", "smoke"]) == 0
    assert run(["scenario", "check", str(path)]) == 2
    assert f"{path}:" in capfd.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"vfctl {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    """`vfctl --help` answers within 0.4 s because none of these is loaded."""
    script = (
        "import sys\n"
        "from vfctl.cli.app import run\n"
        "assert run(['--help']) == 0\n"
        "print(*{'numpy', 'jax', 'aiohttp', 'networkx', 'rdflib', 'lz4', 'mcap'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stderr.strip() == b""
    assert b"loadtest" in done.stdout


def test_spawned_processes_do_not_import_the_command_line() -> None:
    """Spawn imports the parent's main module again; that must cost nothing."""
    script = "import sys, vfctl.__main__; print('vfctl.cli.app' in sys.modules, 'typer' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"False False\n"


def test_choices_agree_with_what_there_is() -> None:
    assert tuple(Generator) == GENERATORS
    assert tuple(SlowClient) == tuple(SlowClientPolicy)
    assert tuple(EncodingLimit) == tuple(Encoding)
    assert tuple(Admin) == tuple(options.Admin)
    assert tuple(Device) == DEVICES
    assert set(Format) == {"table", *FORMATS}


def test_a_bug_of_ours_is_exit_code_70(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vfctl.server.options.Recording.__init__", lambda *_, **__: 1 / 0)
    assert run(["replay", "x"]) == 70
    assert "This is a bug of vfctl" in capsys.readouterr().err


def test_the_documented_options_are_those_that_there_are() -> None:
    command = [sys.executable, "-m", "typer", "vfctl.cli.app", "utils", "docs", "--name", "vfctl"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    written = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    assert written.strip() == done.stdout.decode().strip(), "run `make docs`"


@pytest.mark.parametrize(("workers", "says"), [(1, "--workers 64 hold more"), (64, "a higher ulimit -Hn lifts that")])
def test_clients_that_do_not_fit_are_told_what_would_help(
    workers: int, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    _say_if_clients_do_not_fit(ServerOptions(workers=workers, max_clients=10**9))
    assert says in capfd.readouterr().err


def test_all_lines_for_people_go_through_one_console() -> None:
    """A second console would write its lines into the live display of the first."""
    assert stderr_console() is stderr_console()


def test_an_interrupt_while_the_command_line_is_imported_has_its_exit_code_too() -> None:
    program = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from vfctl.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, b"")


def test_an_interrupt_within_exec_has_its_exit_code_too(tmp_path: Path) -> None:
    """As `python -m`: otherwise Python ends by the signal, which a pipeline takes for a crash."""
    (tmp_path / "interrupted.py").write_text(
        """
from vfctl.cli import app, main
def run(_):
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        return 130
app.run = run
main()
"""
    )
    ended = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, check=False, timeout=30)
    assert ended.returncode == 130


def test_a_signal_handler_may_say_something_while_something_is_said() -> None:
    """The first Ctrl-C of a load test does."""
    program = """
import signal, sys
from vfctl.terminal.output import outlive_the_reader_of_stderr
outlive_the_reader_of_stderr()
said = []
def handler(*_):
    said.append(sys.stderr.write("in between\\n"))
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
for number in range(30_000):
    sys.stderr.write(f"{number}\\n")
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(said))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr[-500:]
    lines = ended.stderr.splitlines()
    assert lines.count("in between") == int(ended.stdout) > 10
    assert [line for line in lines if line != "in between"] == list(map(str, range(30_000)))
