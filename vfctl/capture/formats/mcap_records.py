"""How MCAP records are framed, and whether one may be what it says: nothing else tells where the next one begins."""

from __future__ import annotations

import struct
from typing import Final

from mcap.opcode import Opcode

from vfctl.capture.formats.mcap_chunk import MAX_CHUNK_BYTES

RECORD = struct.Struct("<BQ")
"""opcode, length of what follows."""
CHUNK = struct.Struct("<QQQII")
"""start time, end time, uncompressed size, uncompressed CRC, length of the compression's name."""
MAX_PASSED_BYTES: Final = 2**24
"""Most that a record other than an attachment or a private one may have to be passed over: an index of a chunk."""
_LAYOUTS: Final[dict[int, tuple[int | None, ...]]] = {
    Opcode.HEADER: (None, None),
    Opcode.SCHEMA: (2, None, None, None),
    Opcode.CHANNEL: (4, None, None, None),
    Opcode.MESSAGE_INDEX: (2, None),
    Opcode.CHUNK_INDEX: (32, None, 8, None, 16),
    Opcode.ATTACHMENT_INDEX: (40, None, None),
    Opcode.STATISTICS: (42, None),
    Opcode.METADATA: (None, None),
    Opcode.SUMMARY_OFFSET: (17,),
    Opcode.DATA_END: (4,),
}
"""What stands in records: so many bytes, or (None) a length of four bytes and as much behind it."""


def implausible(opcode: int, length: int) -> str | None:
    """What is wrong with the start of a record, if anything is."""
    # Opcode 0 is never used: a file system that lost the end of a file likes to leave zeros there.
    if opcode == 0 or Opcode.DATA_END < opcode < 0x80:
        return f"record type 0x{opcode:02x}, expected an MCAP record"
    if opcode in (Opcode.ATTACHMENT, *range(0x80, 0x100)):
        return None if length < 2**40 else f"a record of {length} bytes"
    most = MAX_CHUNK_BYTES if opcode in (Opcode.CHUNK, Opcode.MESSAGE) else MAX_PASSED_BYTES
    return None if length <= most else f"a record of {length} bytes, expected at most {most}"


def fills(opcode: int, body: memoryview) -> bool:
    """Whether the lengths of the parts of a record add up to its own."""
    layout = _LAYOUTS.get(opcode)
    if layout is None:
        return False
    at = 0
    for size in layout:
        at += 4 + int.from_bytes(body[at : at + 4], "little") if size is None else size
    return at == len(body)


def chunk_length(buffer: memoryview, index: int) -> int | None:
    """Length of the chunk record at `index` as its own inner lengths give it, None if they do not."""
    start = index + RECORD.size
    if len(buffer) < start + CHUNK.size:
        return None
    name_length: int = CHUNK.unpack_from(buffer, start)[-1]
    at = start + CHUNK.size + name_length
    if name_length > 32 or len(buffer) < at + 8:
        return None
    return at + 8 + int.from_bytes(buffer[at : at + 8], "little") - index
