import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vfctl.physics.drags import HOLD_US, Dragged, HeldNodes
from vfctl.protocol import NodeDrag

T = 1_700_000_000_000_000


def drag(x=1.0, *, final=False):
    return NodeDrag(0, x, 2.0, 3.0, final)


def by(sender, index=2, x=1.0, *, final=False):
    return Dragged(index, sender, drag(x, final=final))


def x_of(placement, index=2):
    """Where it was put, and whether it was put anywhere at all."""
    return placement.target[index, 0] if placement.placed[index] else None


def held(placement):
    return np.flatnonzero(placement.held).tolist()


def test_nothing_asked_nothing_changed():
    assert HeldNodes(4).update([], T) is None


def test_a_drag_places_and_holds():
    placement = HeldNodes(4).update([by(1, x=7.0)], T)
    assert np.flatnonzero(placement.placed).tolist() == [2]
    assert placement.target[2].tolist() == [7.0, 2.0, 3.0]
    assert held(placement) == [2]


def test_released_500_ms_after_the_last_drag():
    nodes = HeldNodes(4)
    nodes.update([by(1)], T)
    nodes.update([by(1)], T + 400_000)
    assert nodes.update([], T + 400_000 + HOLD_US - 1) is None
    placement = nodes.update([], T + 400_000 + HOLD_US)
    assert held(placement) == []
    assert not placement.placed.any()
    assert nodes.update([], T + 10 * HOLD_US) is None


def test_a_final_drag_puts_down_and_releases_at_once():
    nodes = HeldNodes(4)
    nodes.update([by(1, 1), by(1, 2)], T)
    placement = nodes.update([by(1, x=9.0, final=True)], T + 1)
    assert held(placement) == [1]
    assert placement.target[2].tolist() == [9.0, 2.0, 3.0]
    assert placement.placed.tolist() == [False, False, True, False]


def test_a_drag_that_comes_just_as_the_hold_expires_holds_on():
    nodes = HeldNodes(4)
    nodes.update([by(1)], T)
    assert held(nodes.update([by(1)], T + HOLD_US)) == [2]
    assert nodes.update([], T + 2 * HOLD_US - 1) is None


def test_a_clock_set_back_by_an_hour_holds_nothing_for_an_hour():
    nodes = HeldNodes(4)
    nodes.update([by(1)], T)
    earlier = T - 3_600_000_000
    assert nodes.update([], earlier) is None
    assert held(nodes.update([], earlier + HOLD_US)) == []


def test_who_began_last_has_it_and_the_others_change_nothing():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0)], T)
    assert x_of(nodes.update([by(2, x=20.0)], T + 1)) == 20
    assert nodes.update([by(1, x=11.0)], T + 2) is None
    assert x_of(nodes.update([by(1, x=12.0), by(2, x=21.0), by(1, x=13.0)], T + 3)) == 21


def test_the_final_of_who_has_lost_it_releases_nothing():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0), by(2, x=20.0)], T)
    assert nodes.update([by(1, x=11.0, final=True)], T + 1) is None
    placement = nodes.update([by(2, x=22.0, final=True)], T + 2)
    assert x_of(placement) == 22
    assert held(placement) == []


def test_when_the_winner_lets_go_who_still_drags_has_it_again():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0), by(2, x=20.0)], T)
    nodes.update([by(1, x=11.0)], T + 1)
    placement = nodes.update([by(2, x=22.0, final=True)], T + 2)
    assert (x_of(placement), held(placement)) == (11, [2])
    assert x_of(nodes.update([by(1, x=12.0)], T + 3)) == 12


def test_when_the_winner_falls_silent_who_still_drags_has_it_again():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0), by(2, x=20.0)], T)
    nodes.update([by(1, x=11.0)], T + 400_000)
    placement = nodes.update([], T + HOLD_US)
    assert (x_of(placement), held(placement)) == (11, [2])


def test_who_lets_go_and_takes_it_again_is_the_last_to_begin():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0), by(2, x=20.0)], T)
    placement = nodes.update([by(1, final=True), by(1, x=15.0)], T + 1)
    assert (x_of(placement), held(placement)) == (15, [2])


def test_nothing_goes_back_to_a_client_that_has_left():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0), by(2, x=20.0)], T)
    nodes.leave(1)
    placement = nodes.update([by(2, x=22.0, final=True)], T + 1)
    assert (x_of(placement), held(placement)) == (22, [])


def test_a_client_that_left_holds_on_until_the_hold_expires_and_may_come_back():
    nodes = HeldNodes(4)
    nodes.update([by(1, x=10.0)], T)
    nodes.leave(1)
    assert nodes.update([], T + HOLD_US - 2) is None
    assert x_of(nodes.update([by(7, x=12.0)], T + HOLD_US - 1)) == 12  # it is another connection now
    assert nodes.update([], T + HOLD_US) is None  # the old one expires, and nothing changes
    assert held(nodes.update([by(7, x=13.0, final=True)], T + HOLD_US + 1)) == []


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 3), st.booleans(), st.integers(0, 300_000)), min_size=1, max_size=60
    )
)
def test_it_is_held_exactly_as_long_as_somebody_drags_it(steps):
    """Against the plainest model: who began when, who spoke when."""
    nodes, now_us, held_now = HeldNodes(3), T, set()
    hands: dict[tuple[int, int], int] = {}
    for index, sender, final, later_us in steps:
        now_us += later_us
        hands = {each: last for each, last in hands.items() if now_us - last < HOLD_US or each == (index, sender)}
        if final:
            hands.pop((index, sender), None)
        else:
            hands[index, sender] = now_us
        placement = nodes.update([by(sender, index, final=final)], now_us)
        held_now = held_now if placement is None else set(held(placement))
        assert held_now == {index for index, _ in hands}
