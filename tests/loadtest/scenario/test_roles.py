"""The assignment of roles, and their scripts."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.errors import UsageError
from vfctl.graph.loaders import bundled_graph
from vfctl.loadtest.control.target import draw_filters
from vfctl.loadtest.generator.behaviour import (
    BreakOff,
    ScriptContext,
    Send,
    Speak,
    Wait,
    script,
    spoken_at_us,
    storm_times,
    voice_message,
)
from vfctl.loadtest.scenario.roles import (
    Dragger,
    FilteredViewer,
    Flapping,
    ReconnectStorm,
    SlowReader,
    Speaker,
    Viewer,
    assign_roles,
)
from vfctl.protocol import Filter, FilterUpdate, NodeDrag, encode
from vfctl.stream.filters import FilterIndex

WORLD = ScriptContext(node_ids=(3, 5), radius=2.0, filters=((Filter(search="a"), Filter(search="b")),))


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=6), st.integers(1, 500))
def test_every_prefix_of_the_cast_has_the_shares(shares: list[float], clients: int) -> None:
    roles = [Viewer(name=str(number), share=share) for number, share in enumerate(shares)]
    assigned = assign_roles(roles, clients)
    assert len(assigned) == clients
    for index, share in enumerate(shares):
        wanted = clients * share / sum(shares)
        assert abs(assigned.count(index) - wanted) <= len(shares) / 2


def test_those_who_only_watch_have_no_script() -> None:
    for role in (Viewer(), SlowReader(), ReconnectStorm()):
        assert script(role, 0, WORLD, random.Random(0)) is None


def test_a_viewer_and_a_filtered_viewer_say_what_they_want_to_see() -> None:
    criteria = Filter(search="x")
    acts = script(Viewer(filter=criteria), 0, WORLD, random.Random(0))
    assert acts is not None
    assert list(acts) == [Send(FilterUpdate(criteria))]
    acts = script(FilteredViewer(), 0, WORLD, random.Random(0))
    assert acts is not None
    (sent,) = acts
    assert isinstance(sent, Send)
    assert sent.message in [FilterUpdate(criteria) for criteria in WORLD.filters[0]]
    acts = script(FilteredViewer(change_every_s=2), 0, WORLD, random.Random(0))
    assert acts is not None
    assert [type(act) for act in itertools.islice(acts, 4)] == [Send, Wait, Send, Wait]


def test_a_dragger_holds_one_node_at_a_time_and_lets_it_go() -> None:
    acts = script(Dragger(rate_hz=10, hold_s=1, pause_s=4), 0, WORLD, random.Random(0))
    assert acts is not None
    assert isinstance(next(acts), Wait), "not all of them begin at once"
    played = list(itertools.islice(acts, 2 * 10 + 1))
    drags = [act.message for act in played if isinstance(act, Send)]
    assert all(isinstance(drag, NodeDrag) for drag in drags)
    assert len({drag.node_id for drag in drags}) == 1
    assert [drag.final for drag in drags] == [False] * 9 + [True]
    assert all(np.linalg.norm([drag.x, drag.y, drag.z]) == pytest.approx(WORLD.radius) for drag in drags)
    waits = [act.seconds for act in played if isinstance(act, Wait)]
    assert waits == [0.1] * 10 + [4]


def test_a_speaker_talks_in_pieces_of_20_ms() -> None:
    acts = script(Speaker(talk_s=0.1, pause_s=3), 0, WORLD, random.Random(0))
    assert acts is not None
    assert list(itertools.islice(acts, 12))[1:] == [Speak(), Wait(0.02)] * 5 + [Wait(3)]


def test_speech_says_when_it_was_spoken() -> None:
    message = voice_message(1_700_000_000_123_456)
    assert len(message.samples) == 320
    assert spoken_at_us(encode(message)) == 1_700_000_000_123_456
    assert spoken_at_us(b"\4\7\0\0" + bytes(40)) is None
    assert spoken_at_us(encode(message)[:20]) is None


def test_a_flapping_client_goes_and_comes_back() -> None:
    acts = script(Flapping(stay_s=4, away_s=2), 0, WORLD, random.Random(0))
    assert acts is not None
    stay, away = acts
    assert isinstance(stay, Wait)
    assert isinstance(away, BreakOff)
    assert 2 <= stay.seconds <= 6
    assert 1 <= away.seconds <= 3


def test_storms_come_at_even_intervals_in_their_stage() -> None:
    assert list(storm_times(100.0, 130.0, 10.0)) == [110.0, 120.0]
    assert list(storm_times(0.0, 5.0, 10.0)) == []


def test_drawn_filters_are_different_and_leave_as_many_nodes_as_asked_for() -> None:
    graph = bundled_graph()
    filters = draw_filters(graph, 200, (50, 100), random.Random(0))
    assert len(set(filters)) == 200
    index = FilterIndex(graph)
    for criteria in filters:
        indices = index.subset(criteria).indices
        assert indices is not None
        assert 50 <= len(indices) <= 100
        assert index.count(criteria) == len(indices)
    assert draw_filters(graph, 200, (50, 100), random.Random(0)) == filters
    with pytest.raises(UsageError, match="no filter was found that selects 400 to 500 of 316 nodes"):
        draw_filters(graph, 5, (400, 500), random.Random(0))
