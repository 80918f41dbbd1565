"""Recorded traffic as load: which client repeats which connection, when, and what cannot be repeated."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from vfctl.capture import open_writer
from vfctl.capture.message import Direction
from vfctl.errors import CaptureError, InputError, UsageError
from vfctl.loadtest.generator.behaviour import ScriptContext, SendBytes, WaitUntil, script
from vfctl.loadtest.generator.plan import REMOTE_EXAMPLE, plan_shards
from vfctl.loadtest.scenario import traffic as traffic_module
from vfctl.loadtest.scenario.file import load_scenario
from vfctl.loadtest.scenario.model import Scenario
from vfctl.loadtest.scenario.roles import Dragger, Recorded, Viewer
from vfctl.loadtest.scenario.traffic import Traffic, load_traffic, recorded_mix
from vfctl.protocol import Filter, FilterUpdate, Heartbeat, NodeDrag, NodeSelect, encode

START_NS = 1_700_000_000_000_000_000
FILTER = encode(FilterUpdate(Filter(search="a")))


def drag(number: int) -> bytes:
    return encode(NodeDrag(number, 1, 2, 3))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two connections: the first sets a filter and drags for two seconds, the second selects once."""
    path = tmp_path / "incident.mcap"
    with open_writer(path, metadata={}) as writer:
        writer.write(encode(Heartbeat(1)), START_NS)
        sent = [(10.0, 7, FILTER), (10.5, 7, drag(1)), (11.0, 8, encode(NodeSelect(4))), (12.0, 7, drag(2))]
        for time_s, connection, payload in sent:
            arrival_ns = START_NS + round(time_s * 1e9)
            writer.write(payload, arrival_ns, direction=Direction.CLIENT, connection=connection)
        writer.write(encode(Heartbeat(2)), START_NS + 20 * 10**9, direction=Direction.CLIENT, connection=7)
    return path


@pytest.fixture
def context(recording: Path) -> ScriptContext:
    return ScriptContext(traffic=(load_traffic(recording),))


def acts(context: ScriptContext, rank: int, now_s: float, count: int) -> list[tuple[float | None, bytes]]:
    """The messages that a client sends, with their times; None is at once."""
    found: list[tuple[float | None, bytes]] = []
    at_s = None
    playing = script(Recorded(traffic="x"), 0, context, random.Random(0), role_rank=rank, now_s=now_s)
    assert playing is not None
    for act in itertools.islice(playing, 3 * count):
        match act:
            case WaitUntil(seconds):
                at_s = seconds
            case SendBytes(payload):
                found.append((at_s, payload))
                at_s = None
    return found[:count]


def test_what_clients_sent_is_read_by_connection(recording: Path) -> None:
    assert load_traffic(recording) == Traffic(
        connections=(((0.0, FILTER), (0.5, drag(1)), (2.0, drag(2))), ((1.0, encode(NodeSelect(4))),)), period_s=3.0
    )
    assert load_traffic(recording) is load_traffic(str(recording))  # read once, for the check and for the run


def test_as_many_clients_as_there_were_do_the_same_at_the_same_times(context: ScriptContext) -> None:
    assert acts(context, 0, 0.0, 5) == [(0.0, FILTER), (0.5, drag(1)), (2.0, drag(2)), (3.0, FILTER), (3.5, drag(1))]
    assert acts(context, 1, 0.0, 3) == [
        (1.0, encode(NodeSelect(4))),
        (4.0, encode(NodeSelect(4))),
        (7.0, encode(NodeSelect(4))),
    ]


def test_a_later_client_begins_where_the_recording_is(context: ScriptContext) -> None:
    """It begins with the filter that is in force by then."""
    assert acts(context, 0, 3.7, 4) == [(None, FILTER), (5.0, drag(2)), (6.0, FILTER), (6.5, drag(1))]
    assert acts(context, 1, 4.5, 1) == [(7.0, encode(NodeSelect(4)))]


def test_further_clients_repeat_them_shifted(context: ScriptContext) -> None:
    for rank in (2, 4, 6):
        first, again = (acts(context, each, 0.0, 12) for each in (0, rank))
        times = {round((at_s or 0) % 3, 3) for at_s, payload in again if payload == drag(1)}
        assert len(times) == 1
        assert times != {0.5}
        assert {payload for _, payload in again} == {payload for _, payload in first}
        sent_s = [at_s for at_s, _ in again if at_s is not None]
        assert sent_s == sorted(sent_s)
        assert sent_s[0] >= 0


def test_ranks_are_dense_and_different_in_all_shards() -> None:
    roles = (Viewer(), Recorded(traffic="x", share=2.0))
    shards = plan_shards(REMOTE_EXAMPLE, roles, 30, per_process=10)
    assert len(shards) == 3
    ranks = [rank for shard in shards for role, rank in zip(shard.role_of, shard.role_ranks, strict=True) if role == 1]
    assert sorted(ranks) == list(range(20))


def test_a_recording_without_messages_of_clients_says_how_to_get_one(tmp_path: Path) -> None:
    path = tmp_path / "server.mcap"
    with open_writer(path, metadata={}) as writer:
        writer.write(encode(Heartbeat(1)), START_NS)
    with pytest.raises(InputError, match="has no messages of clients") as caught:
        load_traffic(path)
    assert "vfctl serve --record" in (caught.value.hint or "")
    with pytest.raises(InputError, match="No such file"):
        load_traffic(tmp_path / "missing.mcap")
    (tmp_path / "noise").write_bytes(b"GIF89a")
    with pytest.raises(CaptureError):
        load_traffic(tmp_path / "noise")


def test_more_than_fits_in_memory_is_refused(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic_module, "MAX_BYTES", 300)
    traffic_module._load.cache_clear()
    with pytest.raises(UsageError, match="too much for a load test"):
        load_traffic(recording)


def test_a_scenario_has_the_recording_beside_it(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "yesterday.toml"
    file.write_text('clients = 10\n[[mix]]\nrole = "viewer"\n[[mix]]\nrole = "recorded"\ntraffic = "incident.mcap"\n')
    monkeypatch.chdir("/")
    scenario = load_scenario(str(file))
    assert scenario.roles[1] == Recorded(traffic=str(recording))


@pytest.mark.parametrize(
    ("line", "number", "said"),
    [
        ('traffic = "missing.mcap"', 4, "No such file"),
        ('traffic = "yesterday.toml"', 4, "yesterday.toml"),
        ("share = 2", 2, "traffic is missing"),
        ('trafic = "incident.mcap"', 4, "did you mean traffic?"),
        ("traffic = 7", 4, "traffic"),
    ],
)
def test_what_is_wrong_with_a_recording_has_its_line(
    line: str, number: int, said: str, recording: Path, tmp_path: Path
) -> None:
    file = tmp_path / "yesterday.toml"
    file.write_text(f'clients = 10\n[[mix]]\nrole = "recorded"\n{line}\n')
    with pytest.raises(UsageError, match=f"yesterday.toml:{number}: ") as caught:
        load_scenario(str(file))
    assert said in caught.value.message


def test_the_option_is_for_all_clients(recording: Path) -> None:
    plan = Scenario(clients=5).changed(mix=recorded_mix(recording, ()))
    assert plan.roles == (Recorded(traffic=str(recording)),)
    with pytest.raises(UsageError, match="has a mix of roles"):
        recorded_mix(recording, (Dragger(),))
    with pytest.raises(InputError, match="No such file"):
        recorded_mix(recording.with_name("missing.mcap"), ())
