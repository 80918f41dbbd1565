"""The JSON form of filters."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.protocol import EVERYTHING, Filter

thorough = settings(max_examples=300, deadline=None, derandomize=True)

filters = st.builds(
    Filter,
    kinds=st.none() | st.frozensets(st.text(max_size=5), max_size=3),
    depth=st.none() | st.tuples(st.integers(), st.integers()),
    clusters=st.none() | st.frozensets(st.integers(), max_size=3),
    search=st.none() | st.text(max_size=5),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
criteria = st.dictionaries(st.sampled_from(["kind", "depth", "cluster", "search"]) | st.text(max_size=3), anything)


@thorough
@given(filters)
def test_there_and_back(original):
    through = Filter.from_json(json.loads(json.dumps(original.to_json())))
    assert through == original
    assert hash(through) == hash(original)


@thorough
@given(filters)
def test_only_set_criteria_are_written(original):
    assert (original.to_json() == {}) == original.is_everything == (original == EVERYTHING)


@thorough
@given(anything | criteria)
def test_anything_is_a_filter_or_a_value_error_in_a_sentence(value):
    try:
        read = Filter.from_json(value)
    except ValueError as error:
        assert 0 < len(str(error)) < 200  # noqa: PT017  # whether it raises is up to the value
    else:
        assert Filter.from_json(read.to_json()) == read
        assert set(value) <= {"kind", "depth", "cluster", "search"}


def test_order_and_repetition_do_not_matter():
    one = Filter.from_json({"kind": ["b", "a"], "cluster": [2, 1, 2]})
    other = Filter.from_json({"cluster": [1, 2], "kind": ["a", "b", "a"]})
    assert one == other
    assert len({one, other}) == 1
    assert one.to_json() == {"kind": ["a", "b"], "cluster": [1, 2]}


def test_an_empty_list_is_not_everything():
    """The bug of old: a default filter with an empty set shows nothing, and one criterion off shows all."""
    assert not Filter.from_json({"kind": []}).is_everything
    assert not Filter.from_json({"cluster": []}).is_everything
    assert Filter.from_json({}) == Filter.from_json({"kind": None, "search": ""}) == EVERYTHING == Filter()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "a filter is a JSON object, not a list"),
        (None, "not null"),
        ({"type": ["class"]}, "unknown filter key 'type'; the keys are kind, depth, cluster, search"),
        ({"kind": "class"}, "'kind' takes a list of texts, not a text"),
        ({"kind": [1]}, "'kind' takes a list of texts"),
        ({"depth": 3}, "'depth' takes two integers.*not a number"),
        ({"depth": [0, 1, 2]}, "'depth' takes two integers"),
        ({"depth": [0, 1.5]}, "'depth' takes two integers"),
        ({"depth": [False, True]}, "'depth' takes two integers"),
        ({"cluster": [True]}, "'cluster' takes a list of integers"),
        ({"cluster": {"1": 1}}, "'cluster' takes a list of integers, not an object"),
        ({"search": 7}, "'search' takes a text, not a number"),
        ({"search": False}, "'search' takes a text, not true or false"),
    ],
)
def test_what_is_wrong_is_said(value, says):
    with pytest.raises(ValueError, match=says):
        Filter.from_json(value)
