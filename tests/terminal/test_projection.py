import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.terminal.projection import (
    EDGE,
    NOTHING,
    Camera,
    Canvas,
    cell_of,
    draw,
    extent,
    principal_axes,
    project,
    turned,
)

CANVAS = Canvas(4, 2)  # 8 × 8 dots
FRONT = np.eye(3, dtype=np.float32)


def dots(*points):
    return np.array(points, np.float32).reshape(-1, 2)


def colours(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("dot", "row", "column", "character"),
    [
        ((0, 0), 0, 0, "⠁"),
        ((1, 0), 0, 0, "⠈"),
        ((0, 1), 0, 0, "⠂"),
        ((0, 2), 0, 0, "⠄"),
        ((0, 3), 0, 0, "⡀"),
        ((1, 3), 0, 0, "⢀"),
        ((7, 7), 1, 3, "⢀"),
        ((7.99, 4.5), 1, 3, "⠈"),
        ((2, 5), 1, 1, "⠂"),
    ],
)
def test_known_points_are_known_cells(dot, row, column, character):
    picture = draw(dots(dot), colours(3), CANVAS)
    lines = picture.lines()
    assert lines[row][column] == character
    assert "".join(lines).replace(" ", "") == character
    assert picture.colours[row, column] == 3
    assert (picture.colours != NOTHING).sum() == 1
    assert cell_of(np.array(dot, np.float32), CANVAS) == (row, column)


def test_dots_of_a_cell_are_one_character_in_the_colour_of_most():
    picture = draw(dots((0, 0), (0, 0), (1, 0), (1, 3), (0, 3)), colours(1, 1, 2, 2, 2), CANVAS)
    assert picture.lines()[0] == "⣉   "
    assert picture.colours[0, 0] == 2


@pytest.mark.parametrize("dot", [(-0.01, 0), (8, 0), (0, 8), (math.nan, 0), (0, math.inf), (1e30, -1e30)])
def test_what_is_outside_or_nowhere_is_not_drawn(dot):
    assert draw(dots(dot), colours(0), CANVAS).lines() == ["    ", "    "]
    assert cell_of(np.array(dot, np.float32), CANVAS) is None


def test_edges_are_lines_where_no_node_is():
    edges = np.array([[0, 1]])
    picture = draw(dots((0, 1), (7, 1)), colours(0, 0), CANVAS, edges)
    assert picture.lines()[0] == "⠂⠒⠒⠐"
    assert picture.colours[0].tolist() == [0, EDGE, EDGE, 0]


def test_an_edge_to_somewhere_outside_is_drawn_up_to_there_and_one_to_nowhere_not_at_all():
    edges = np.array([[0, 1]])
    assert draw(dots((0, 1), (20, 1)), colours(0, 0), CANVAS, edges).lines()[0] == "⠂⠒⠒⠒"
    assert draw(dots((-9, 1), (1e6, 1)), colours(0, 0), CANVAS, edges).lines()[0] == "⠒⠒⠒⠒"
    assert draw(dots((-9, 1), (-9, 5)), colours(0, 0), CANVAS, edges).lines() == ["    ", "    "]
    assert draw(dots((0, 1), (math.inf, 1)), colours(0, 0), CANVAS, edges).lines()[0] == "⠂   "


def test_too_many_edges_are_left_out():
    canvas = Canvas(50, 50)
    ends = dots((0, 0), (99, 199))
    few, many = np.array([[0, 1]]), np.array([[0, 1]] * 1000)
    assert (draw(ends, colours(0, 0), canvas, few).colours == EDGE).any()
    assert not (draw(ends, colours(0, 0), canvas, many).colours == EDGE).any()


def test_right_is_right_up_is_up_and_the_radius_just_fits():
    camera = Camera(np.array([1, 1, 1], np.float32), FRONT, 10.0)
    positions = np.array([[1, 1, 1], [11, 1, 1], [1, 11, 50], [-9, 1, 1]], np.float32)
    middle, right, up, left = project(positions, camera, Canvas(40, 10))
    assert middle.tolist() == [40, 20]
    assert right[0] == pytest.approx(40 + 20 * 0.96)
    assert up == pytest.approx([40, 20 - 20 * 0.96], abs=1e-4)
    assert left[0] == pytest.approx(40 - 20 * 0.96)


def test_the_graph_is_seen_from_where_it_spreads_most():
    positions = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32) * np.float32([1, 30, 5])
    axes = principal_axes(positions)
    assert abs(axes[0, 1]) == pytest.approx(1, abs=0.02)
    assert abs(axes[1, 2]) == pytest.approx(1, abs=0.02)
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-5)
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-5)


def test_a_quarter_turn_shows_the_side_and_a_whole_one_the_front():
    assert turned(FRONT, math.pi / 2, 0)[0] == pytest.approx([0, 0, -1], abs=1e-6)
    assert turned(FRONT, 0, math.pi / 2)[1] == pytest.approx([0, 0, -1], abs=1e-6)
    assert turned(FRONT, math.tau, 0) == pytest.approx(FRONT, abs=1e-6)


def test_one_node_far_away_does_not_make_the_others_small():
    positions = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    positions[3] = 1e6
    positions[4] = np.nan
    centre, radius = extent(positions)
    assert np.abs(centre).max() < 0.2
    assert 2 < radius < 6


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_graph_of_hardly_anything_is_drawn(count):
    positions = np.zeros((count, 3), np.float32)
    centre, radius = extent(positions)
    camera = Camera(centre, principal_axes(positions), radius)
    picture = draw(project(positions, camera, CANVAS), colours(*[0] * count), CANVAS, np.zeros((0, 2), np.int64))
    assert (picture.colours >= 0).sum() == min(count, 1)


coordinates = st.floats(width=32, allow_nan=True, allow_infinity=True)


@given(
    st.lists(st.tuples(coordinates, coordinates, coordinates), max_size=12),
    st.integers(1, 9),
    st.integers(1, 5),
    st.floats(-9, 9),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_positions_fit_any_canvas(points, columns, rows, yaw):
    positions = np.array(points, np.float32).reshape(-1, 3)
    canvas = Canvas(columns, rows)
    centre, radius = extent(positions)
    camera = Camera(centre, turned(principal_axes(positions), yaw, 0.3), radius)
    edges = np.array([[0, len(points) - 1]]) if points else None
    lines = draw(project(positions, camera, canvas), np.zeros(len(points), np.int64), canvas, edges).lines()
    assert [len(line) for line in lines] == [columns] * rows
    assert all(character == " " or 0x2800 < ord(character) <= 0x28FF for line in lines for character in line)
