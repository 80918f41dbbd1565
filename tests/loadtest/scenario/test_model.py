"""Scenario files: the shipped ones load, and errors name the file, the line and the key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vfctl.errors import InputError, UsageError, VfctlError
from vfctl.loadtest.scenario.file import load_scenario, scenario_names, scenario_text
from vfctl.loadtest.scenario.model import EmbeddedServer, Scenario
from vfctl.loadtest.scenario.roles import Dragger, FilteredViewer, SlowReader, Viewer
from vfctl.loadtest.scenario.stages import Hold, Ramp, Spike
from vfctl.physics import PhysicsParameters
from vfctl.protocol import Filter
from vfctl.server.options import LiveGraph


def write(folder: Path, text: str) -> str:
    path = folder / "scenario.toml"
    path.write_text(text)
    return str(path)


def test_every_shipped_scenario_loads_and_describes_itself() -> None:
    expected = "active-10k-nodes demo drag filters reconnect-storm seed-50k slow-readers smoke soak voice"
    assert scenario_names() == expected.split()
    for name in scenario_names():
        assert load_scenario(name).description


def test_a_file(tmp_path: Path) -> None:
    text = """
        clients = 5
        duration_s = 2
        encoding = "lz4"
        gates = ["latency_ms.p95 < 30"]
        [filter]
        kind = ["class"]
        [server]
        state = "active"
        nodes = 50
    """
    scenario = load_scenario(write(tmp_path, text))
    assert (scenario.clients, scenario.encoding, scenario.filter) == (5, "lz4", Filter(kinds=frozenset({"class"})))
    assert scenario.gates[0].path == "latency_ms.p95"
    source = scenario.server.options(5).source
    assert isinstance(source, LiveGraph)
    assert (source.generator, source.nodes, source.keep_awake, source.at_rest) == ("scale-free", 50, True, False)


def test_quantities_have_units(tmp_path: Path) -> None:
    text = """
        clients = "1k"
        [[stages]]
        kind = "ramp"
        duration_s = "500 ms"
        [[stages]]
        kind = "spike"
        clients = "1.5k"
        duration_s = "2min"
        measured = true
        [[mix]]
        role = "slow-reader"
        bytes_per_s = "20kB/s"
        receive_buffer_bytes = "4KiB"
        [[mix]]
        role = "dragger"
        rate_hz = "30/min"
        pause_s = "1.5s"
        [server]
        active_interval_ms = "0.1s"
        stall_timeout_s = "1min"
        physics_hz = "30Hz"
    """
    scenario = load_scenario(write(tmp_path, text))
    assert scenario.clients == 1000
    assert scenario.stages == (Ramp(duration_s=0.5), Spike(clients=1500, duration_s=120, measured=True))
    assert scenario.mix == (
        SlowReader(bytes_per_s=20_000, receive_buffer_bytes=4096),
        Dragger(rate_hz=0.5, pause_s=1.5),
    )
    assert scenario.server == EmbeddedServer(active_interval_ms=100, stall_timeout_s=60, physics_hz=30)


def test_keys_that_do_not_go_together_are_found_at_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "clients = 5\n\nfilter = {}\n[[mix]]\nrole = 'viewer'")
    with pytest.raises(VfctlError, match=r":3: filter is for clients without a mix"):
        load_scenario(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clints = 5", "did you mean clients"),
        ("[server]\nstat = 'active'", "unknown key server.stat; did you mean state"),
        ("clients = 0", "clients is 0"),
        ("clients = 2.5", "clients is 2.5"),
        ("clients = true", "clients is True"),
        ("clients = '5'", "clients is '5'"),
        ("clients = '1x'", "clients is '1x', expected a count: a whole number.* for example 500, 1k"),
        ("duration_s = '10'", "duration_s is '10'"),
        ("duration_s = '10 horses'", "duration_s is '10 horses', expected a duration"),
        ("[[stages]]\nkind = 'hold'\nduration_s = '0s'", "stages\\[0\\].duration_s is 0.0: .* greater than 0"),
        ("duration_s = inf", "duration_s is inf"),
        ("ramp_s = -1", "ramp_s is -1"),
        ("encoding = 'gzip'", "encoding is 'gzip'"),
        ("gates = 'x'", "gates is 'x'"),
        ("gates = ['x']", "gate 'x'"),
        ("filter = {knd = ['class']}", "unknown filter key 'knd'"),
        ("server = 5", "server is 5"),
        ("[[mix]]\nrole = 'viewr'", "mix\\[0\\].role is 'viewr'; it can be viewer, "),
        ("[[mix]]\nshare = 1", "mix\\[0\\] has no role"),
        ("[[mix]]\nrole = 'viewer'\nshare = 0", "mix\\[0\\].share is 0"),
        ("[[mix]]\nrole = 'viewer'\nrate_hz = 1", "unknown key mix\\[0\\].rate_hz; the keys are role"),
        ("[[mix]]\nrole = 'viewer'\n[[mix]]\nrole = 'viewer'", "two roles of the mix are called 'viewer'"),
        ("[[mix]]\nrole = 'viewer'\nname = 'a b'", "a role is called 'a b'"),
        ("filter = {}\n[[mix]]\nrole = 'viewer'", "give it to its viewers"),
        ("[[mix]]\nrole = 'slow-reader'\nreceive_buffer_bytes = 1", "receive_buffer_bytes is 1"),
        ("[[stages]]\nkind = 'rmp'", "stages\\[0\\].kind is 'rmp'; it can be ramp, hold, spike"),
        ("[[stages]]\nkind = 'spike'", "stages\\[0\\].clients is missing"),
        ("[[stages]]\nkind = 'ramp'", "no stage is measured"),
        ("[[stages]]\nkind = 'hold'", "no client ever connects"),
        ("[server]\nstate = 'asleep'", "server.state is 'asleep'"),
        ("[server]\ngraph = 'x.ttl'\nnodes = 5", "a graph is read from a file or generated"),
        ("[server]\nworkers = 0", "server.workers is 0"),
        ("[server]\ndevice = 'tpu'", "server.device is 'tpu'; it can be 'auto', 'cpu' or 'gpu'"),
        ("[server]\nphysics = 5", "physics is a table"),
        ("[server.physics]\nspring_k = 501", "spring_k = 501 is out of range: 0 to 500 1/s²"),
        ("[server.physics]\nspring_k = nan", "spring_k is a number, not nan"),
        ("[server.physics]\nspring_k = '5'", "spring_k is a number, not '5'"),
        ("[server.physics]\nspring_k = true", "spring_k is a number, not True"),
        ("[server.physics]\nsprong_k = 5", "there is no physics parameter 'sprong_k'; did you mean spring_k"),
        ("[server]\ngraph = 5", "server.graph is 5"),
        ("description = 5", "description is 5"),
        ("clients = ", "not TOML"),
    ],
)
def test_an_error_names_the_file_and_the_fault(tmp_path: Path, text: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(VfctlError) as raised:
        load_scenario(path)
    whole = f"{raised.value.message} {raised.value.hint}"
    assert raised.value.message.startswith(path)
    assert re.search(says, whole)


def test_the_line_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "# a comment\nclients = 5\n\n[server]\nseed = 1\nstate = 'asleep'\n")
    with pytest.raises(UsageError) as raised:
        load_scenario(path)
    assert raised.value.message.startswith(f"{path}:6: server.state is 'asleep'")
    path = write(tmp_path, "clients = 5\n\ngates = ['x']\n")
    with pytest.raises(UsageError) as raised:
        load_scenario(path)
    assert raised.value.message.startswith(f"{path}:3: gate 'x'")


def test_the_line_of_every_wrong_physics_parameter_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nseed = 1\n\n[server.physics]\ndamping = 3\nspring_k = 501\nsprong_k = 1\n")
    with pytest.raises(UsageError) as raised:
        load_scenario(path)
    assert [line.partition(" ")[0] for line in raised.value.message.splitlines()] == [f"{path}:6:", f"{path}:7:"]


def test_physics_parameters_reach_the_embedded_server(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\ndevice = 'cpu'\n[server.physics]\ndamping = 3\nspring_k = 120.5\n")
    source = load_scenario(path).changed(clients=7).server.options(7).source
    assert isinstance(source, LiveGraph)
    assert source.parameters == PhysicsParameters(damping=3.0, spring_k=120.5)
    assert source.device == "cpu"
    assert source.at_rest  # a load test's server is, unless it says otherwise


def test_shipped_scenarios_can_be_copied_and_changed(tmp_path: Path) -> None:
    for name in scenario_names():
        assert load_scenario(write(tmp_path, scenario_text(name))) == load_scenario(name)


def test_an_unknown_name_suggests_or_lists_the_known(tmp_path: Path) -> None:
    for name, hint in (("smok", "did you mean smoke?"), ("xyz", "the scenarios are active-10k-nodes, demo")):
        with pytest.raises(UsageError) as raised:
            load_scenario(name)
        assert hint in (raised.value.hint or "")
    with pytest.raises(InputError, match="No such file"):
        load_scenario(str(tmp_path / "none.toml"))


def test_options_override_and_are_checked() -> None:
    assert Scenario().changed(clients=7, duration_s=None).clients == 7
    with pytest.raises(UsageError, match="encoding"):
        Scenario().changed(encoding="gzip")


def test_a_mix_and_stages(tmp_path: Path) -> None:
    text = """
        clients = 400
        [[stages]]
        kind = "ramp"
        duration_s = 4
        [[stages]]
        kind = "spike"
        clients = 800
        duration_s = 2
        measured = true
        [[stages]]
        kind = "hold"
        name = "after"
        duration_s = 10
        [[mix]]
        role = "viewer"
        filter = { depth = [0, 1] }
        share = 3
        [[mix]]
        role = "filtered-viewer"
        nodes = [5, 9]
        [[mix]]
        role = "slow-reader"
    """
    scenario = load_scenario(write(tmp_path, text))
    assert scenario.roles == (
        Viewer(filter=Filter(depth=(0, 1)), share=3),
        FilteredViewer(nodes=(5, 9)),
        SlowReader(),
    )
    assert scenario.stages == (
        Ramp(duration_s=4),
        Spike(clients=800, duration_s=2, measured=True),
        Hold(name="after", duration_s=10),
    )
    assert scenario.peak == 800
    changed = scenario.changed(clients=80, duration_s=1, ramp_s=0.5)
    assert [(step.clients, step.lasts_s) for step in changed.steps()] == [(40, 0.5), (80, 1), (40, 1)]


def test_everything_that_is_wrong_is_told_at_once_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "clients = 0\n[[mix]]\nrole = 'viewer'\nshar = 2\n[[mix]]\nrole = 'x'\n")
    with pytest.raises(UsageError) as raised:
        load_scenario(path)
    lines = raised.value.message.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{path}:1", f"{path}:4", f"{path}:6"]


def test_the_embedded_server_has_as_many_gateways_and_places_as_the_clients_need() -> None:
    assert EmbeddedServer().options(20).workers == 1
    assert EmbeddedServer(workers=2).options(20).workers == 2
    assert EmbeddedServer().options(10_000_000).workers > 1
    assert EmbeddedServer().options(40_000).max_clients == 80_000
    assert EmbeddedServer(max_clients=10).options(20).max_clients == 10
