"""Rice codes by blocks: what is packed comes back, is as short as it should be, and nothing else is taken for it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfctl.errors import ProtocolError
from vfctl.protocol.packing import pack, unpack

ANY_SIZE = 10**9
thorough = settings(max_examples=300, deadline=None, derandomize=True)


@st.composite
def values(draw: st.DrawFn) -> np.ndarray:
    """int32 [3, nodes], each block of its own magnitude, some still, some sparse, a few stragglers."""
    count = draw(st.integers(0, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    widths = np.repeat(random.integers(0, 26, 4), 64)[:count]
    made = (random.integers(-1, 2, (3, count)) * random.random((3, count)) * 2.0**widths).astype(np.int32)
    made[:, random.random(count) < draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))] = 0
    if count and draw(st.booleans()):
        made[random.integers(3), random.integers(count)] = draw(st.sampled_from([2**25 - 1, -(2**25), 1, -1]))
    return made


@thorough
@given(values())
def test_values_come_back(given_values):
    packed = pack(given_values, ANY_SIZE)
    unpacked = unpack(packed, given_values.shape[1], offset=0)
    assert unpacked.dtype == np.int32
    assert np.array_equal(unpacked, given_values)


@thorough
@given(values())
def test_the_bound_on_their_size_holds(given_values):
    packed = pack(given_values, ANY_SIZE)
    assert len(packed) <= 28 + 32 * given_values.shape[1]
    for most in (0, len(packed) - 1, len(packed) // 2):
        bounded = pack(given_values, most)
        assert bounded is None or len(bounded) <= max(most, 0)
    assert pack(given_values, 28 + 32 * given_values.shape[1]) is not None


def test_nothing_but_zeros_is_nothing():
    assert pack(np.zeros((3, 10_000), np.int32), 0) == b""
    assert np.array_equal(unpack(b"", 10_000, offset=0), np.zeros((3, 10_000)))


def test_a_few_that_moved_cost_a_block_each():
    moved = np.zeros((3, 10_000), np.int32)
    moved[0, [3, 5_000]] = 1, -1
    # A nibble a block; in two blocks a bit a node, and three short codes.
    assert len(pack(moved, ANY_SIZE)) <= 79 + 2 * 9 + 1


@pytest.mark.parametrize(("deviation", "most"), [(0.3, 1.5), (0.5, 1.2), (1.0, 1.2), (5.0, 1.1), (3000.0, 1.1)])
def test_it_takes_little_more_than_the_entropy(deviation, most):
    normal = np.rint(np.random.default_rng(1).normal(0, deviation, (3, 10_000))).astype(np.int32)
    _, counts = np.unique(normal, return_counts=True)
    shares = counts / counts.sum()
    entropy_bytes = -(shares * np.log2(shares)).sum() * normal.size / 8
    assert entropy_bytes < len(pack(normal, ANY_SIZE)) < most * entropy_bytes


def bits(*modes: int, then: str = "") -> bytes:
    """Packed bytes from the modes of their blocks and the bits behind them."""
    nibbles = [*modes, 0][: len(modes) + len(modes) % 2]
    header = bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    return header + np.packbits([int(bit) for bit in then.replace(" ", "")], bitorder="little").tobytes()


def test_the_bytes_are_as_documented():
    two = np.array([[0, 1], [0, -1], [0, 2]], np.int32)
    sparse = bits(1, then="01 001 01 00001")
    assert pack(two, ANY_SIZE) == sparse
    far = np.array([[20, 21], [-20, 19], [22, -23]], np.int32)  # zigzag 40 42 39 38 44 45, k = 5
    packed = bits(7, then="001001 011100 001111 110011 000000" + "01 01 01 01 01 01")
    assert np.array_equal(unpack(packed, 2, offset=0), far)
    assert pack(far, ANY_SIZE) == packed


@pytest.mark.parametrize(
    ("packed", "count", "message", "offset"),
    [
        (b"\x01", 1, "expected more than 1", 100),
        (b"\x00" * 3, 64 * 9, "expected more than 5", 100),
        (bits(then="0" * 9), 0, "2 packed bytes too many", 101),
        (bits(0x11, then="1 1 1 1"), 1, "mode 1 of a block that does not exist", 100),
        (bits(2, then="1 1"), 1, "2 packed values, expected 3", 101),
        (bits(2, then="1 1 1 1"), 1, "4 packed values, expected 3", 101),
        (bits(1, then="1" * 8), 10, "8 packed bits, expected at least 10", 101),
        (bits(4, then="1 1"), 2, "8 packed bits, expected at least 12", 101),
        (bits(2, then="111" + "0" * 13), 1, "1 packed bytes too many", 102),
        (bits(15, then="0" * 60 + "0" * 64 + "1 1 1"), 1, "packed value 67108864, expected at most 67108863", 101),
    ],
)
def test_what_is_no_packing_is_refused(packed, count, message, offset):
    with pytest.raises(ProtocolError, match=message) as caught:
        unpack(packed, count, offset=100)
    assert caught.value.offset == offset


def test_many_zeros_in_one_block_and_large_numbers_in_another_are_no_overflow():
    mixed = np.zeros((3, 128), np.int32)
    mixed[0, 3] = 150  # unary, beside a block whose k is 20
    mixed[:, 64:] = 2**25 - 1
    assert np.array_equal(unpack(pack(mixed, ANY_SIZE), 128, offset=0), mixed)


def test_both_ways_take_little_memory():
    """Memory that is new to the process costs more than the work in it: it was half of the time."""
    fast = np.random.default_rng(1).normal(0, 1200, (3, 10_000)).astype(np.int32)
    packed = pack(fast, ANY_SIZE)
    for work in (lambda: pack(fast, ANY_SIZE), lambda: unpack(packed, 10_000, offset=0)):
        tracemalloc.start()
        try:
            work()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 7 * fast.nbytes


@thorough
@given(st.binary(max_size=80), st.integers(0, 300))
def test_any_bytes_are_values_or_a_protocol_error(packed, count):
    try:
        unpacked = unpack(packed, count, offset=12)
    except ProtocolError as error:
        if not 12 <= error.offset <= 12 + len(packed):
            raise AssertionError("an offset outside of the bytes") from error
        return
    assert unpacked.shape == (3, count)
    assert np.array_equal(unpack(pack(unpacked, ANY_SIZE), count, offset=0), unpacked)
