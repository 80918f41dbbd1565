import numpy as np

from vfctl.physics.drags import HOLD_US, HeldNodes
from vfctl.protocol import NodeDrag

T = 1_700_000_000_000_000


def drag(x=1.0, *, final=False):
    return NodeDrag(0, x, 2.0, 3.0, final)


def held(placement):
    return np.flatnonzero(placement.held).tolist()


def test_nothing_asked_nothing_changed():
    assert HeldNodes(4).update({}, T) is None


def test_a_drag_places_and_holds():
    placement = HeldNodes(4).update({2: drag(7.0)}, T)
    assert np.flatnonzero(placement.placed).tolist() == [2]
    assert placement.target[2].tolist() == [7.0, 2.0, 3.0]
    assert held(placement) == [2]


def test_released_500_ms_after_the_last_drag():
    nodes = HeldNodes(4)
    nodes.update({2: drag()}, T)
    nodes.update({2: drag()}, T + 400_000)
    assert nodes.update({}, T + 400_000 + HOLD_US - 1) is None
    placement = nodes.update({}, T + 400_000 + HOLD_US)
    assert held(placement) == []
    assert not placement.placed.any()
    assert nodes.update({}, T + 10 * HOLD_US) is None


def test_a_final_drag_puts_down_and_releases_at_once():
    nodes = HeldNodes(4)
    nodes.update({1: drag(), 2: drag()}, T)
    placement = nodes.update({2: drag(9.0, final=True)}, T + 1)
    assert held(placement) == [1]
    assert placement.target[2].tolist() == [9.0, 2.0, 3.0]
    assert placement.placed.tolist() == [False, False, True, False]


def test_a_drag_that_comes_just_as_the_hold_expires_holds_on():
    nodes = HeldNodes(4)
    nodes.update({2: drag()}, T)
    assert held(nodes.update({2: drag()}, T + HOLD_US)) == [2]
    assert nodes.update({}, T + 2 * HOLD_US - 1) is None


def test_a_clock_set_back_by_an_hour_holds_nothing_for_an_hour():
    nodes = HeldNodes(4)
    nodes.update({2: drag()}, T)
    earlier = T - 3_600_000_000
    assert nodes.update({}, earlier) is None
    assert held(nodes.update({}, earlier + HOLD_US)) == []
