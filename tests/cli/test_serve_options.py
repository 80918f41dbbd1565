"""What `vfctl serve` makes of its options and of a TOML file: the options that the server would be started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfctl.cli.app import run
from vfctl.cli.serve import suggested_url
from vfctl.loadtest.scenario.model import EmbeddedServer
from vfctl.physics import PARAMETERS, PhysicsParameters
from vfctl.server.options import Admin, LiveGraph, ServerOptions
from vfctl.stream import Encoding

CONFIG = """
[server]
nodes = 50
generator = "grid"
seed = 3
workers = 2
max_clients = 99
active_interval_ms = 70
stall_timeout_s = 9
device = "cpu"

[server.physics]
spring_k = 90
damping = 3
"""


@pytest.fixture
def options_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs `vfctl serve`, with CONFIG or another text as the file, up to where the server would start."""
    started: list[ServerOptions] = []
    monkeypatch.setattr("vfctl.cli.serve.serve", lambda options: started.append(options))

    def options(*arguments: str, config: str | None = CONFIG) -> tuple[ServerOptions, LiveGraph]:
        path = tmp_path / "mine.toml"
        path.write_text(config or "")
        assert run(["serve", *(["--config", str(path)] if config else []), *arguments]) == 0
        source = started[-1].source
        assert isinstance(source, LiveGraph)
        return started[-1], source

    return options


@pytest.mark.parametrize(
    ("limit", "url"),
    [
        (Encoding.RAW, "ws://127.0.0.1:8765/ws"),
        (Encoding.LZ4, "'ws://127.0.0.1:8765/ws?encoding=lz4'"),
        (Encoding.COMPACT, "'ws://127.0.0.1:8765/ws?encoding=compact'"),
    ],
)
def test_what_people_are_told_to_try_is_served(limit: Encoding, url: str) -> None:
    """In quotes, since `?` is a shell's."""
    assert suggested_url("ws://127.0.0.1:8765/ws", limit) == url


def test_without_options_all_is_default(options_of) -> None:
    options, source = options_of(config=None)
    assert source == LiveGraph()
    assert options == ServerOptions(workers=options.workers)


def test_set_changes_parameters_and_the_last_of_a_name_counts(options_of) -> None:
    _, source = options_of("--set", "spring_k=120", "--set", "damping=1e1", "--set", "spring_k=130", config=None)
    assert source.parameters == PhysicsParameters(spring_k=130.0, damping=10.0)


def test_a_file_gives_what_the_command_line_does_not(options_of) -> None:
    options, source = options_of()
    assert source == LiveGraph(
        generator="grid", nodes=50, seed=3, device="cpu", parameters=PhysicsParameters(spring_k=90.0, damping=3.0)
    )
    assert (options.workers, options.max_clients) == (2, 99)
    assert (options.active_interval_ms, options.stable_interval_ms, options.stall_timeout_s) == (70, 1000, 9)
    assert (options.host, options.port, options.admin) == ("127.0.0.1", 8765, Admin.LOCAL)


def test_the_command_line_goes_before_the_file_even_where_it_says_the_default(options_of) -> None:
    options, source = options_of(
        *("--seed", "0", "--active-interval-ms", "50", "--workers", "1", "--device", "auto"),
        *("--set", f"damping={PARAMETERS['damping'].default}", "--nodes", "60", "--admin", "nobody"),
    )
    assert (source.seed, source.device, source.generator, source.nodes) == (0, "auto", "grid", 60)
    assert (options.workers, options.active_interval_ms, options.admin) == (1, 50, Admin.NOBODY)
    assert source.parameters == PhysicsParameters(spring_k=90.0)


def test_a_graph_of_the_command_line_replaces_that_of_the_file(options_of) -> None:
    _, source = options_of("some.ttl")
    assert (source.file, source.generator) == ("some.ttl", None)
    _, source = options_of("--nodes", "5", config="[server]\ngraph = 'other.ttl'")
    assert (source.file, source.generator, source.nodes) == (None, "scale-free", 5)
    _, source = options_of(config="[server]\ngraph = 'other.ttl'")
    assert source.file == "other.ttl"


@pytest.mark.parametrize(
    ("config", "at_rest", "keep_awake"),
    [
        ("[server]\nseed = 1", False, False),
        ("[server]\nstate = 'rest'", True, False),
        ("[server]\nstate = 'active'", False, True),
    ],
)
def test_the_state_of_a_file_counts_if_it_is_said(options_of, config: str, at_rest: bool, keep_awake: bool) -> None:
    _, source = options_of(config=config)
    assert (source.at_rest, source.keep_awake) == (at_rest, keep_awake)


def test_a_wrong_file_is_refused_with_every_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text("[server]\nnods = 5\n[server.physics]\nspring_k = 900\nsprong_k = 1\n")
    assert run(["serve", "--config", str(path)]) == 2
    errors = capfd.readouterr().err.replace("\n", " ")
    for expected in (
        "wrong.toml:2: ",
        "did you mean nodes?",
        "wrong.toml:4: ",
        "0 to 500 1/s²",
        "did you mean spring_k?",
    ):
        assert expected in errors
    assert "Traceback" not in errors


def test_the_defaults_of_file_and_command_line_are_the_same() -> None:
    table, options = EmbeddedServer(), ServerOptions()
    for name in ("physics_hz", "active_interval_ms", "stable_interval_ms", "stall_timeout_s"):
        assert getattr(table, name) == getattr(options, name)
    assert (table.seed, table.device, table.physics) == (LiveGraph().seed, LiveGraph().device, LiveGraph().parameters)
