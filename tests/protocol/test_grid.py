"""The grid of COMPACT: how fine, how far off, and what it does with positions that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from vfctl.protocol.grid import MAX_INTEGER, NOWHERE, Grid

layouts = stn.arrays(
    np.float32, st.tuples(st.just(3), st.integers(0, 30)), elements=st.floats(width=32, allow_subnormal=True)
)


def ball(nodes: int, radius: float = 1.0, seed: int = 0) -> np.ndarray:
    """float32 [3, nodes], evenly spread in a ball."""
    random = np.random.default_rng(seed)
    directions = random.normal(size=(3, nodes))
    directions /= np.linalg.norm(directions, axis=0)
    return (radius * directions * random.random(nodes) ** (1 / 3)).astype(np.float32)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(layouts)
def test_any_layout_has_a_grid_that_holds_it(positions):
    grid = Grid.covering(positions)
    assert np.float32(grid.step) == grid.step
    integers = grid.quantise(positions)
    finite = np.isfinite(positions)
    assert (integers[~finite] == NOWHERE).all()
    assert (np.abs(integers[finite]) <= MAX_INTEGER).all()
    back = grid.dequantise(integers)
    assert np.isnan(back[~finite]).all()
    exact = integers[finite].astype(np.float64) * grid.step
    assert (np.abs(exact - positions[finite]) <= grid.step / 2).all()
    assert (back[finite] == exact.astype(np.float32)).all()
    assert np.array_equal(grid.quantise(back), integers), "what was on the grid stays where it is"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(stn.arrays(np.float32, (3, 2), elements=st.floats(-1e6, 1e6, width=32)))
def test_what_is_read_back_is_half_a_step_off_at_most_and_a_whole_one_where_float32_is_as_coarse(stragglers):
    positions = np.concatenate([ball(200, 100.0), stragglers], axis=1)
    grid = Grid.covering(positions)
    integers = grid.quantise(positions)
    error = np.abs(grid.dequantise(integers).astype(np.float64) - positions)
    assert (error <= np.where(np.abs(integers) <= 65_536, grid.step / 2, grid.step)).all()


@pytest.mark.parametrize("extent", [3e-30, 1e-3, 1.0, 700.0, 699.999, 2048.0, 1e30])
def test_a_step_is_at_most_a_4096th_of_the_extent_and_not_much_less(extent):
    positions = ball(1000, extent / 2)
    step = Grid.covering(positions).step
    widest = np.ptp(positions.astype(np.float64), axis=1).max()
    assert 0.9 * widest / 4096 < step <= widest / 4096


def test_positions_of_a_usual_layout_are_float32_exactly():
    grid = Grid.covering(ball(1000, 350.0))
    integers = np.arange(-65_536, 65_537, dtype=np.int32).reshape(1, -1).repeat(3, axis=0)
    assert (grid.dequantise(integers).astype(np.float64) == integers * grid.step).all()


def test_one_node_dragged_far_away_does_not_make_the_others_grid_coarse():
    positions = ball(1000, 100.0)
    positions[:, 7] = 1e6
    grid = Grid.covering(positions)
    assert grid.step < 0.1
    assert abs(grid.dequantise(grid.quantise(positions))[0, 7] - 1e6) <= grid.step


def test_far_from_the_origin_the_step_is_what_float32_resolves():
    positions = ball(1000, 1.0) + np.float32(1e6)
    grid = Grid.covering(positions)
    assert grid.step == 2.0**-4
    assert np.array_equal(grid.dequantise(grid.quantise(positions)), positions)


@pytest.mark.parametrize("position", [0.0, 1.5, -1e-38, 3.4e38])
def test_a_single_place_has_a_grid_too(position):
    positions = np.full((3, 5), position, np.float32)
    grid = Grid.covering(positions)
    assert grid.dequantise(grid.quantise(positions)) == pytest.approx(positions, abs=grid.step / 2)


def test_a_layout_may_shrink_and_grow_a_little_on_its_grid():
    positions = ball(1000, 100.0)
    grid = Grid.covering(positions)
    assert grid.suits(grid.quantise(positions))
    assert grid.suits(grid.quantise(positions * np.float32(0.96)))
    assert grid.suits(grid.quantise(positions * np.float32(1.2)))
    assert not grid.suits(grid.quantise(positions * np.float32(0.9)))
    assert not grid.suits(grid.quantise(positions * np.float32(1.3)))


@pytest.mark.parametrize("far", range(1, 6))
def test_nodes_far_away_leave_the_grid_as_it_is_without_them(far):
    """Each hides the one before it, so they are found one after another."""
    layout = ball(500, 100.0, seed=far)
    away = np.array([[1500.0 * (-3.0) ** number] * 3 for number in range(far)], np.float32).T
    grid, whole = Grid.covering(layout), np.concatenate([away, layout], axis=1)
    assert Grid.covering(whole) == grid
    assert grid.suits(grid.quantise(whole))


def test_what_is_nowhere_does_not_count_for_the_extent():
    positions = ball(1000, 100.0)
    grid = Grid.covering(positions)
    positions[:, :3] = math.nan, math.inf, -math.inf
    assert Grid.covering(positions).step == pytest.approx(grid.step, rel=0.02)
    assert grid.suits(grid.quantise(positions))


def test_outside_of_the_box_is_an_error():
    grid = Grid(0.5)
    edge = np.full((3, 1), MAX_INTEGER * 0.5, np.float32)
    assert grid.quantise(edge)[0, 0] == MAX_INTEGER
    assert grid.quantise(-edge)[0, 0] == -MAX_INTEGER
    for outside in (edge + 1, -edge - 1, edge * 1e20):
        with pytest.raises(ValueError, match="outside of the grid"):
            grid.quantise(outside)
