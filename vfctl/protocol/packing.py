"""Packs small integers into few bits: blocks of 64 nodes, each with its own Rice code.

Rice, "Some practical universal noiseless coding techniques", JPL 79-22, 1979: the k lowest bits of each number
are stored as they are, and the rest in unary: as many zeros, and a one. With a k for each block the size is within a
tenth of the entropy of the residuals (docs/decisions/0012-compact.md). Because a one ends each number, a decoder finds
all numbers at once by looking for ones.
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
"""Mode of a block whose values are all 0. It has no further bits."""

SPARSE: Final = 1
"""Mode of a block with a flag for each node, whether it has values other than 0. Only those are coded, with k = 0."""

LOW_BITS: Final = (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20)
"""k of each mode. From mode 2 on, all nodes of a block are coded. The last two modes are for outliers."""

MAX_VALUE: Final = 2**26 - 1
"""Bits of a value after zigzag. Differences of integers on a grid are below 2^25."""

_MODES = np.arange(2, 16)[:, None]
_K = np.array(LOW_BITS, np.int32)
_POWERS = 2.0 ** _K[2:, None]


def pack(values: Integers, most_bytes: int) -> bytes | None:
    """Pack values into bytes: no bytes if all are 0, and None if there would be more than `most_bytes`.

    Args:
        values: int32 [3, nodes], from -2^25 to 2^25 - 1.
    """
    count = values.shape[1]
    zigzag = values << 1
    zigzag ^= values >> 31  # 0, -1, 1, -2, 2, … become 0, 1, 2, 3, 4, …
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
    if chosen is not None:
        zigzag = _columns(zigzag, chosen)
    k = np.repeat(_K[modes], coded)
    flags = int(sizes[sparse].sum())
    planes = 3 * int(k.sum(dtype=np.int64))
    ends = (zigzag >> k).ravel()
    ends += 1
    if most_bits >= 2**31:
        ends = ends.astype(np.int64)  # int32 halves the time
    np.cumsum(ends, out=ends)
    bits = np.zeros(flags + planes + int(ends[-1]), np.uint8)
    if flags:  # only the last block can be shorter, so the surplus is at the end
        bits[:flags] = moved[sparse].ravel()[:flags]
    ends += flags + planes - 1
    bits[ends] = 1
    del ends
    if planes:
        _to_planes(zigzag, k, bits[flags : flags + planes])
    nibbles = np.zeros(len(modes) + len(modes) % 2, np.uint8)
    nibbles[: len(modes)] = modes
    return (nibbles[::2] | nibbles[1::2] << 4).tobytes() + np.packbits(bits, bitorder="little").tobytes()


def unpack(packed: bytes | memoryview, count: int, *, offset: int) -> Integers:
    """Undo `pack`: return int32 [3, count].

    Memory is proportional to `count` and to the bytes, which the caller has bounded.

    Args:
        offset: position of `packed` in its message, for the error.

    Raises:
        ProtocolError: the bytes are not `count` values.
    """
    if not packed:
        return np.zeros((3, count), np.int32)
    sizes = _block_sizes(count)
    modes, header = _read_modes(packed, len(sizes), offset)
    data = np.frombuffer(packed, np.uint8, offset=header)
    moved, position = None, 0
    sparse = modes == SPARSE
    if sparse.any():
        position = int(sizes[sparse].sum())
        _check_enough(data, position, offset + header)
        flags = np.zeros(int(np.count_nonzero(sparse)) * BLOCK_NODES, np.bool_)
        flags[:position] = _bits(data, 0, position)
        moved = np.zeros((len(sizes), BLOCK_NODES), np.bool_)
        moved[sparse] = flags.reshape(-1, BLOCK_NODES)
    coded, chosen = _coded(modes, sizes, moved, count)
    k = np.repeat(_K[modes], coded)
    planes = 3 * int(k.sum(dtype=np.int64))
    _check_enough(data, position + planes, offset + header)
    zigzag, used = _read_unary(_bits(data, position + planes, 8 * len(data)), k, offset + header)
    excess = len(data) - (position + planes + used + 7) // 8
    if excess > 0:
        raise ProtocolError(f"{excess} packed bytes too many", offset=offset + len(packed) - 1)
    if planes:
        zigzag <<= k
        zigzag |= _from_planes(data, position, k)
    sign = zigzag & 1
    zigzag >>= 1
    zigzag ^= np.negative(sign, out=sign)
    if chosen is None:
        return zigzag
    values = np.zeros((3, count), np.int32)
    _set_columns(values, chosen, zigzag)
    return values


def _read_modes(packed: bytes | memoryview, blocks: int, offset: int) -> tuple[npt.NDArray[np.uint8], int]:
    """The mode of each block, and the number of bytes of all modes."""
    header = (blocks + 1) // 2
    if len(packed) <= header:
        raise ProtocolError(f"{len(packed)} packed bytes, expected more than {header}, the modes", offset=offset)
    nibbles = np.frombuffer(packed, np.uint8, header)
    modes = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()
    if modes[blocks:].any():
        raise ProtocolError(f"mode {modes[-1]} of a block that does not exist", offset=offset + header - 1)
    return modes[:blocks], header


def _read_unary(bits: npt.NDArray[np.uint8], k: npt.NDArray[np.int32], offset: int) -> tuple[Integers, int]:
    """The values of all coded nodes above their k lowest bits, int32 [3, coded nodes], and their number of bits."""
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
    """Number of nodes in each block: 64, in the last one the rest."""
    sizes = np.full(-(-count // BLOCK_NODES), BLOCK_NODES)
    if count % BLOCK_NODES:
        sizes[-1] = count % BLOCK_NODES
    return sizes


def _choose_modes(
    sums: npt.NDArray[np.int64], moved: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], float]:
    """The cheapest mode of each block, estimated from its sum, and the largest number of bits of all blocks.

    Removing k bits of a number subtracts (2^k - 1)/2 on average. With this estimate the choice is as good as trying all
    k. The worst case, where nothing is subtracted, makes a value half a bit longer.
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
    """Number of coded nodes in each block, and which they are, bool [nodes] (None: all)."""
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
    """values[:, chosen]; by rows, because numpy is much faster then."""
    return np.stack([row[chosen] for row in values])


def _set_columns(values: npt.NDArray[_Number], chosen: npt.NDArray[np.bool_], columns: npt.NDArray[_Number]) -> None:
    """values[:, chosen] = columns; as above."""
    for row, of_row in zip(values, columns, strict=True):
        row[chosen] = of_row


def _to_planes(values: Integers, k: npt.NDArray[np.int32], bits: npt.NDArray[np.uint8]) -> None:
    """Append the lowest k bits of each value to `bits`, one plane per bit. By bytes, which numpy processes fastest."""
    start, largest = 0, int(k.max())
    for byte in range(0, largest, 8):
        part = (values >> byte).astype(np.uint8)
        for plane in range(byte, min(byte + 8, largest)):
            of_plane = k > plane
            of_values = part if of_plane.all() else _columns(part, of_plane)
            stop = start + of_values.size
            np.not_equal(of_values & (1 << plane - byte), 0, out=bits[start:stop].view(np.bool_).reshape(3, -1))
            start = stop


def _from_planes(data: npt.NDArray[np.uint8], position: int, k: npt.NDArray[np.int32]) -> Integers:
    """Undo `_to_planes` from the bit `position` on: int32 [3, coded nodes]."""
    low: Integers | None = None
    largest = int(k.max())
    lengths = [3 * np.count_nonzero(k > plane) for plane in range(largest)]
    starts = np.cumsum([position, *lengths]).tolist()
    for byte in range(0, largest, 8):
        part = np.zeros((3, len(k)), np.uint8)
        for plane in reversed(range(byte, min(byte + 8, largest))):
            part += part  # a shift by one, because numpy adds bytes ten times as fast as it shifts them
            of_values = _bits(data, starts[plane], starts[plane + 1]).reshape(3, -1)
            if of_values.shape != part.shape:
                spread = np.zeros_like(part)
                _set_columns(spread, k > plane, of_values)
                of_values = spread
            part += of_values
        above = part.astype(np.int32)
        low = above if low is None else low | above << byte
    assert low is not None
    return low


def _bits(data: npt.NDArray[np.uint8], start: int, stop: int) -> npt.NDArray[np.uint8]:
    """Bits `start` to `stop`, one per byte. Only as many as needed, because memory that is new to the process costs
    time."""
    unpacked = np.unpackbits(data[start // 8 : -(-stop // 8)], bitorder="little")
    return unpacked[start % 8 : start % 8 + stop - start]


def _check_enough(data: npt.NDArray[np.uint8], needed: int, offset: int) -> None:
    if 8 * len(data) < needed:
        raise ProtocolError(f"{8 * len(data)} packed bits, expected at least {needed}", offset=offset)
