"""COMPRESSED: one LZ4 block behind a byte shuffle.

Plain LZ4 gains nothing on these frames, since floats of neighbouring nodes share no runs of bytes. Putting
all first bytes together, then all second ones (the shuffle of Blosc and HDF5), brings the like ones together.
"""

from __future__ import annotations

import lz4.block
import numpy as np

from vfctl.errors import ProtocolError
from vfctl.protocol.layout import Buffer
from vfctl.protocol.wire import NODE_DTYPE

_STRIDE = NODE_DTYPE.itemsize


def compress(node_bytes: Buffer, rest: bytes = b"") -> bytes:
    """One LZ4 block of the shuffled nodes and, unshuffled, what follows them.

    Args:
        node_bytes: whole 28-byte records.
        rest: of a FullGraph, edges and metadata with their counts.
    """
    rows = np.frombuffer(node_bytes, np.uint8).reshape(-1, _STRIDE)
    return bytes(lz4.block.compress(rows.T.tobytes() + rest, store_size=False))


def decompress(block: memoryview, raw_length: int, node_bytes: int, *, offset: int) -> bytes:
    """Undo `compress`: the nodes as they were, then the rest.

    Args:
        block: the LZ4 block.
        raw_length: its length once decompressed; the caller has bounded it.
        node_bytes: how much of that is nodes.
        offset: where the block stands in its message, for the error.

    Raises:
        ProtocolError: not an LZ4 block, or one of another length.
    """
    try:
        raw = bytes(lz4.block.decompress(block, uncompressed_size=raw_length))
    except (lz4.block.LZ4BlockError, ValueError) as error:
        raise ProtocolError(f"damaged LZ4 block of {len(block)} bytes ({error})", offset=offset) from None
    if len(raw) != raw_length:
        raise ProtocolError(f"LZ4 block holds {len(raw)} bytes, expected {raw_length}", offset=offset)
    shuffled = np.frombuffer(raw, np.uint8, node_bytes).reshape(_STRIDE, -1)
    return shuffled.T.tobytes() + raw[node_bytes:]
