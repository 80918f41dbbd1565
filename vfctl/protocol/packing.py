"""Small integers as few bits: blocks of 64 nodes, each with a Rice code of its own.

Rice, "Some practical universal noiseless coding techniques", JPL 79-22, 1979: of each number the k lowest bits stand as
they are, and the rest as so many zeros and a one. With k chosen for each block that is within a tenth of the entropy of
what prediction leaves over (docs/decisions/0012-compact.md); and since a one ends each number, all of them are found at
once by looking for the ones.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from vfctl.errors import ProtocolError
from vfctl.protocol.grid import Integers

_Number = TypeVar("_Number", bound=np.generic)

BLOCK_NODES: Final = 64

STILL: Final = 0
"""Mode of a block whose values are all 0: nothing more is said of it."""

SPARSE: Final = 1
"""Mode of a block of which a bit for each node says whether it has other values than 0. Those are coded with k = 0."""

LOW_BITS: Final = (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20)
"""k of each mode. From 2 on, all nodes of a block are coded; the last two are for stragglers."""

MAX_VALUE: Final = 2**26 - 1
"""Of a value after zigzag; differences of integers on a grid stay below 2^25."""

_MODES = np.arange(2, 16)[:, None]
_K = np.array(LOW_BITS, np.int32)
_POWERS = 2.0 ** _K[2:, None]


def pack(values: Integers, most_bytes: int) -> bytes | None:
    """The values as bytes; none at all if all are 0. None if that takes more than `most_bytes`.

    Args:
        values: int32 [3, nodes], from -2^25 to 2^25 - 1.
    """
    count = values.shape[1]
    zigzag = (values << 1) ^ (values >> 31)  # 0, -1, 1, -2, 2, … become 0, 1, 2, 3, 4, …
    sizes = _block_sizes(count)
    totals = np.zeros(len(sizes) * BLOCK_NODES, np.int32)
    np.add(zigzag[0], zigzag[1], out=totals[:count])
    totals[:count] += zigzag[2]
    by_block = totals.reshape(-1, BLOCK_NODES)
    sums = by_block.sum(axis=1, dtype=np.int64)
    if not sums.any():
        return b""
    moved = by_block != 0
    modes, most_bits = _choose_modes(sums, np.count_nonzero(moved, axis=1), sizes)
    if most_bits > 8 * most_bytes:
        return None
    sparse = modes == SPARSE
    coded, chosen = _coded(modes, sizes, moved if sparse.any() else None, count)
    taken = zigzag if chosen is None else _columns(zigzag, chosen)
    parts = []
    if sparse.any():
        existing = sizes[sparse].sum()  # only the last block can be shorter, so what is too much is at the end
        parts.append(moved[sparse].ravel()[:existing].view(np.uint8))
    if _K[modes].any():
        k = np.repeat(_K[modes], coded)
        parts += _to_planes(taken, k)
        taken = taken >> k
    # One place further on than each one stands: the first place is left out below. int32 halves the time.
    ends = np.cumsum(taken.ravel() + 1, dtype=np.int32 if most_bits < 2**31 else np.int64)
    unary = np.zeros(int(ends[-1]) + 1, np.uint8)
    unary[ends] = 1
    parts.append(unary[1:])
    nibbles = np.zeros(len(modes) + len(modes) % 2, np.uint8)
    nibbles[: len(modes)] = modes
    bits = np.packbits(np.concatenate(parts), bitorder="little")
    return (nibbles[::2] | nibbles[1::2] << 4).tobytes() + bits.tobytes()


def unpack(packed: bytes | memoryview, count: int, *, offset: int) -> Integers:
    """Undo `pack`: int32 [3, count].

    Takes memory in proportion to `count` and to the bytes there are; the caller has bounded both.

    Args:
        offset: where `packed` stands in its message, for the error.

    Raises:
        ProtocolError: these are not `count` values.
    """
    values = np.zeros((3, count), np.int32)
    if not packed:
        return values
    sizes = _block_sizes(count)
    modes, header = _read_modes(packed, len(sizes), offset)
    bits = np.unpackbits(np.frombuffer(packed, np.uint8, offset=header), bitorder="little")
    moved, position = None, 0
    sparse = modes == SPARSE
    if sparse.any():
        position = int(sizes[sparse].sum())
        _check_enough(bits, position, offset + header)
        flags = np.zeros(int(np.count_nonzero(sparse)) * BLOCK_NODES, np.bool_)
        flags[:position] = bits[:position]
        moved = np.zeros((len(sizes), BLOCK_NODES), np.bool_)
        moved[sparse] = flags.reshape(-1, BLOCK_NODES)
    coded, chosen = _coded(modes, sizes, moved, count)
    low = None
    planes = int((_K[modes] * coded).sum()) * 3
    k = np.repeat(_K[modes], coded)
    if planes:
        _check_enough(bits, position + planes, offset + header)
        low = _from_planes(bits[position : position + planes], k)
        position += planes
    zigzag, used = _read_unary(bits[position:], k, offset + header)
    if len(bits) - position - used >= 8:
        excess = (len(bits) - position - used) // 8
        raise ProtocolError(f"{excess} packed bytes too many", offset=offset + len(packed) - 1)
    if low is not None:
        zigzag <<= k
        zigzag |= low
    coded_values = (zigzag >> 1) ^ -(zigzag & 1)
    if chosen is None:
        return coded_values
    _set_columns(values, chosen, coded_values)
    return values


def _read_modes(packed: bytes | memoryview, blocks: int, offset: int) -> tuple[npt.NDArray[np.uint8], int]:
    """The mode of each block, and how many bytes they take."""
    header = (blocks + 1) // 2
    if len(packed) <= header:
        raise ProtocolError(f"{len(packed)} packed bytes, expected more than {header}, the modes", offset=offset)
    nibbles = np.frombuffer(packed, np.uint8, header)
    modes = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()
    if modes[blocks:].any():
        raise ProtocolError(f"mode {modes[-1]} of a block that does not exist", offset=offset + header - 1)
    return modes[:blocks], header


def _read_unary(bits: npt.NDArray[np.uint8], k: npt.NDArray[np.int32], offset: int) -> tuple[Integers, int]:
    """The values of all coded nodes above their k lowest bits, int32 [3, coded nodes], and how many bits they take."""
    ends = np.flatnonzero(bits.view(np.bool_))
    if len(ends) != 3 * len(k):
        raise ProtocolError(f"{len(ends)} packed values, expected {3 * len(k)}", offset=offset)
    high: Integers = ends.astype(np.int32)
    high[1:] -= high[:-1] + 1
    high = high.reshape(3, -1)
    if high.size and int(high.max()) << int(k.max()) > MAX_VALUE:
        largest = int((high.astype(np.int64) << k).max())
        if largest > MAX_VALUE:
            raise ProtocolError(f"packed value {largest}, expected at most {MAX_VALUE}", offset=offset)
    return high, int(ends[-1]) + 1 if len(ends) else 0


def _block_sizes(count: int) -> npt.NDArray[np.int64]:
    """Nodes of each block: 64, the last one has what is left."""
    sizes = np.full(-(-count // BLOCK_NODES), BLOCK_NODES)
    if count % BLOCK_NODES:
        sizes[-1] = count % BLOCK_NODES
    return sizes


def _choose_modes(
    sums: npt.NDArray[np.int64], moved: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], float]:
    """The cheapest mode of each block, as far as its sum tells, and how many bits all take at most.

    Dropping k bits of a number loses (2^k - 1)/2 on average; with that, the choice is as good as trying all k. It can
    lose nothing, which makes a value half a bit longer than was thought.
    """
    values = 3 * sizes
    whole = values * (1 + _K[2:, None]) + np.maximum(sums - values * (_POWERS - 1) / 2, 0) / _POWERS
    best = whole.argmin(axis=0)
    bits = whole[best, np.arange(len(sizes))]
    sparse = sizes + 3 * moved + sums
    modes = np.where(sums == 0, STILL, np.where(sparse < bits, SPARSE, best + 2)).astype(np.uint8)
    most = float(np.where(modes == STILL, 0, np.where(modes == SPARSE, sparse, bits + values / 2)).sum())
    return modes, most + 4 * (len(sizes) + 2) + 8


def _coded(
    modes: npt.NDArray[np.uint8], sizes: npt.NDArray[np.int64], moved: npt.NDArray[np.bool_] | None, count: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_] | None]:
    """How many nodes of each block are coded, and bool [nodes], which ones (None: all)."""
    whole = modes > SPARSE
    if whole.all():
        return sizes, None
    chosen = np.repeat(whole, BLOCK_NODES).reshape(-1, BLOCK_NODES)
    coded = np.where(whole, sizes, 0)
    if moved is not None:
        sparse = modes == SPARSE
        chosen[sparse] = moved[sparse]
        coded[sparse] = np.count_nonzero(moved[sparse], axis=1)
    return coded, chosen.ravel()[:count]


def _columns(values: npt.NDArray[_Number], chosen: npt.NDArray[np.bool_]) -> npt.NDArray[_Number]:
    """values[:, chosen]; row by row, which numpy does many times faster."""
    return np.stack([row[chosen] for row in values])


def _set_columns(values: npt.NDArray[_Number], chosen: npt.NDArray[np.bool_], columns: npt.NDArray[_Number]) -> None:
    """values[:, chosen] = columns; as above."""
    for row, of_row in zip(values, columns, strict=True):
        row[chosen] = of_row


def _to_planes(values: Integers, k: npt.NDArray[np.int32]) -> list[npt.NDArray[np.uint8]]:
    """The lowest k bits of each value, a plane a bit. Byte by byte, since numpy is at its fastest with bytes."""
    planes = []
    for byte in range(0, int(k.max()), 8):
        part = (values >> byte).astype(np.uint8)
        for plane in range(byte, min(byte + 8, int(k.max()))):
            of_plane = k > plane
            of_values = part if of_plane.all() else _columns(part, of_plane)
            planes.append(((of_values & (1 << plane - byte)) != 0).view(np.uint8).ravel())
    return planes


def _from_planes(bits: npt.NDArray[np.uint8], k: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Undo `_to_planes`: int32 [3, coded nodes]."""
    low = np.zeros((3, len(k)), np.int32)
    largest = int(k.max())
    starts = np.concatenate([[0], np.cumsum([3 * np.count_nonzero(k > plane) for plane in range(largest)])]).tolist()
    for byte in range(0, largest, 8):
        part = np.zeros((3, len(k)), np.uint8)
        for plane in reversed(range(byte, min(byte + 8, largest))):
            part += part  # a shift by one; numpy adds bytes ten times as fast
            of_values = bits[starts[plane] : starts[plane + 1]].reshape(3, -1)
            if of_values.shape != part.shape:
                spread = np.zeros_like(part)
                _set_columns(spread, k > plane, of_values)
                of_values = spread
            part += of_values
        low |= part.astype(np.int32) << byte
    return low


def _check_enough(bits: npt.NDArray[np.uint8], needed: int, offset: int) -> None:
    if len(bits) < needed:
        raise ProtocolError(f"{len(bits)} packed bits, expected at least {needed}", offset=offset)
