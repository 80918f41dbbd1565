"""Write recordings while they happen: MCAP with arrival times, or the bare messages one after another."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from mcap.data_stream import RecordBuilder
from mcap.records import DataEnd, Footer
from mcap.writer import CompressionType, Writer

import vfctl
from vfctl.capture.formats.mcap import ENCODING, MAGIC, METADATA_NAME, channel_topic
from vfctl.capture.message import Direction, Form, trailer_of, type_name
from vfctl.errors import InputError, ProtocolError, UsageError
from vfctl.files import EXISTS_HINT, check_writable, is_special
from vfctl.protocol import message_length


class OutputFile:
    """An unbuffered file that is truncated to its last complete part when a write fails.

    Args:
        path: of the file. Opening a named pipe waits for a reader.
        overwrite: whether an existing file may be replaced.
        ending: bytes that complete a truncated file, if there is room for them.

    Raises:
        InputError: the file exists, or cannot be written.
    """

    def __init__(self, path: Path, overwrite: bool, ending: bytes = b"") -> None:
        try:
            self._file = path.open("wb" if overwrite or is_special(path) else "xb", buffering=0)
        except FileExistsError:
            raise InputError(f"{path} already exists", hint=EXISTS_HINT) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"cannot write {path}: {reason}") from None
        self.path = path
        self._ending = ending
        self._position = 0
        self._whole = 0

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def check_open(self) -> None:
        """Check that it can be written.

        Raises:
            InputError: it is closed, also by a failed write.
        """
        if self.closed:
            raise InputError(f"cannot write {self.path}: the recording has ended")

    def write(self, data: bytes) -> None:
        """Write bytes.

        Raises:
            InputError: the write failed. The file ends with its last complete part.
        """
        self.check_open()
        try:
            self._write_all(data)
        except OSError as error:
            kept = self._whole
            self._cut_back()
            hint = f"the {kept} bytes before are intact" if kept else None
            raise InputError(
                f"cannot write {self.path}: {error.strerror}; the recording ends at byte {kept}", hint=hint
            ) from None

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            self._position += written
            rest = rest[written:]

    def _cut_back(self) -> None:
        with suppress(OSError):  # a device or a pipe cannot be truncated
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
            try:
                self._write_all(self._ending)
            except OSError:
                self._file.truncate(self._whole)
        with suppress(OSError):
            self._file.close()

    def commit(self) -> bool:
        """Mark the file as complete up to here; return whether it has grown since the last time."""
        grown = self._position > self._whole
        self._whole = self._position
        return grown

    def tell(self) -> int:
        """Number of bytes written."""
        return self._position

    def flush(self) -> None:
        """Do nothing, because nothing is buffered."""

    def close(self) -> None:
        """Close the file.

        Raises:
            InputError: the operating system could not.
        """
        try:
            self._file.close()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None


CHUNK_BYTES: Final = 2**20
FLUSH_INTERVAL_NS: Final = 1_000_000_000
"""A chunk ends at 1 MiB or 1 s, whichever comes first. At most that much is lost if the process dies. Each chunk adds
600 bytes to the index, which is kept in memory until the end."""

FLUSH_AGE_S: Final = 0.5
"""A chunk of this age is flushed even if no message follows. It is checked four times a second, so nothing waits for a
whole second, with a quarter to spare on a busy machine."""

_SCHEMA_TEXT: Final = (
    b"VisionFlow binary protocol V4, little-endian: one whole message a record, header (u8 version = 4, u8 type, "
    b"u8 flags, u8 reserved) included, exactly as it was received. See docs/protocol.md of vfctl. Channels /client/... "
    b"have what clients sent; there `sequence` is the number of the connection, not a count."
)
_MAX_U64: Final = 2**64 - 1
_MAX_CHANNELS: Final = 60_000
"""Channel numbers have 16 bits."""


class CaptureWriter(Protocol):
    """Records messages as they arrive."""

    @property
    def size(self) -> int:
        """Greatest size in bytes of the file if it were closed now, without its index."""
        ...

    @property
    def chunks(self) -> int:
        """Number of chunks written. The index in memory grows with them."""
        ...

    def write(
        self,
        payload: bytes,
        arrival_ns: int,
        *,
        direction: Direction = Direction.SERVER,
        connection: int = 0,
        form: Form = Form.V4,
    ) -> None:
        """Record one message.

        Args:
            payload: exactly one message.
            arrival_ns: unix time in ns at which it arrived.
            direction: the sender.
            connection: number of its connection, u32.
            form: of the payload.

        Raises:
            ProtocolError: `payload` is not one V4 message. Nothing of it has been written.
            InputError: the file cannot be written. What was written before is intact.
        """
        ...

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """Store metadata, if the format has room for it.

        Args:
            name: `METADATA_NAME` for the whole recording; any other name for an event.

        Raises:
            InputError: as for `write`.
        """
        ...

    def flush(self, *, older_than_s: float = 0.0) -> None:
        """Write everything that waits, so that it outlives this process.

        Args:
            older_than_s: do nothing unless something has waited for this long.

        Raises:
            InputError: the file cannot be written. What was written before is intact.
        """
        ...

    def close(self) -> None:
        """Finish the file. Safe to call more than once.

        Raises:
            InputError: the end could not be written. What was written before is intact.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(path: str | Path, *, metadata: Mapping[str, str], overwrite: bool = False) -> CaptureWriter:
    """Create a recording: `.mcap` or `.bin` (plain concatenated messages), by the suffix.

    Args:
        metadata: stored in an `.mcap`: url, encoding, …. A `.bin` has no room for it.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: another suffix.
        InputError: the file exists, or cannot be written.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    if path.suffix.lower() == ".bin":
        return ConcatenatedWriter(OutputFile(path, overwrite))
    return McapWriter(OutputFile(path, overwrite, ENDING), metadata)


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """Check early that a recording can be written there. Nothing is created.

    Raises:
        UsageError: a suffix that names no format.
        InputError: the file exists, or there is no such folder, or none that can be written to.
    """
    suffix = path.suffix.lower()
    if suffix not in (".mcap", ".bin"):
        raise UsageError(
            f"{path}: no recording format is called {suffix or 'nothing'!r}",
            hint="use .mcap (with arrival times) or .bin (the bare messages, one after another)",
        )
    check_writable(path, overwrite=overwrite)


class Closing(ABC):
    """Closed at the end of a `with` block."""

    @abstractmethod
    def close(self) -> None:
        """See `CaptureWriter.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ConcatenatedWriter(Closing):
    """The messages of the server, one after another. Messages of clients are left out, because no sender is stored."""

    def __init__(self, file: OutputFile) -> None:
        self._file = file

    @property
    def size(self) -> int:
        """As for CaptureWriter."""
        return self._file.tell()

    @property
    def chunks(self) -> int:
        """As for CaptureWriter: always 0."""
        return 0

    def write(
        self,
        payload: bytes,
        arrival_ns: int,
        *,
        direction: Direction = Direction.SERVER,
        connection: int = 0,
        form: Form = Form.V4,
    ) -> None:
        """As for CaptureWriter; `arrival_ns` is not stored.

        Raises:
            InputError: also for a form whose length is not in its bytes.
        """
        if form is not Form.V4:
            raise InputError(
                f"a .bin cannot hold {form.capitalize()} frames, which do not tell where they end",
                hint="an .mcap keeps them apart",
            )
        _check(payload)
        if direction is Direction.CLIENT:
            return
        self._file.write(payload)
        self._file.commit()

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """As for CaptureWriter: ignored."""

    def flush(self, *, older_than_s: float = 0.0) -> None:
        """As for CaptureWriter: nothing waits."""

    def close(self) -> None:
        """As for CaptureWriter."""
        self._file.close()


class McapWriter(Closing):
    """MCAP: LZ4 chunks, one channel for each message type, sender and connection, and an index at the end."""

    def __init__(self, file: OutputFile, metadata: Mapping[str, str]) -> None:
        self._file = file
        self._channels: dict[tuple[str, Direction, int], int] = {}
        self._chunk_start_ns: int | None = None
        self._waiting_since_s: float | None = None
        self._waiting_bytes = 0
        self._chunks = 0
        self._sequence = 0
        self._mcap = Writer(
            file,  # type: ignore[arg-type]  # it needs only write, tell and flush
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.LZ4,
            enable_data_crcs=True,
        )
        self._mcap.start(profile=ENCODING, library=f"vfctl {vfctl.__version__}")
        self._mcap.add_metadata(METADATA_NAME, {"vfctl_version": vfctl.__version__, **metadata})
        self._schema = self._mcap.register_schema(ENCODING, ENCODING, _SCHEMA_TEXT)
        file.commit()

    @property
    def size(self) -> int:
        """As for CaptureWriter."""
        return self._file.tell() + self._waiting_bytes

    @property
    def chunks(self) -> int:
        """As for CaptureWriter."""
        return self._chunks

    def write(
        self,
        payload: bytes,
        arrival_ns: int,
        *,
        direction: Direction = Direction.SERVER,
        connection: int = 0,
        form: Form = Form.V4,
    ) -> None:
        """As for CaptureWriter."""
        if form is Form.V4:
            _check(payload)
        if not 0 <= arrival_ns <= _MAX_U64:
            raise ValueError(f"arrival at {arrival_ns} ns does not fit u64")
        self._file.check_open()
        trailer = trailer_of(payload) if form is Form.V4 else None
        publish_ns = trailer.timestamp_us * 1000 if trailer else arrival_ns
        name = type_name(payload) if form is Form.V4 else form.value
        channel = self._channel(name, direction, form, 0 if direction is Direction.CLIENT else connection)
        self._mcap.add_message(
            channel_id=channel,
            log_time=arrival_ns,
            data=payload,
            publish_time=publish_ns if publish_ns <= _MAX_U64 else arrival_ns,
            sequence=connection if direction is Direction.CLIENT else self._next_sequence(),
        )
        self._waiting_bytes += len(payload)
        if self._file.commit():
            self._nothing_waits()
        elif self._chunk_start_ns is None:
            self._chunk_start_ns, self._waiting_since_s = arrival_ns, time.monotonic()
        elif abs(arrival_ns - self._chunk_start_ns) >= FLUSH_INTERVAL_NS:
            self.flush()

    def note(self, name: str, values: Mapping[str, str]) -> None:
        """As for CaptureWriter: a metadata record."""
        self._file.check_open()
        self._mcap.flush()  # type: ignore[no-untyped-call]  # earlier messages are in front of it
        self._mcap.add_metadata(name, dict(values))
        self._file.commit()
        self._nothing_waits()

    def flush(self, *, older_than_s: float = 0.0) -> None:
        """As for CaptureWriter."""
        self._file.check_open()
        if self._waiting_since_s is None or time.monotonic() - self._waiting_since_s < older_than_s:
            return
        self._mcap.flush()  # type: ignore[no-untyped-call]
        self._file.commit()
        self._nothing_waits()

    def close(self) -> None:
        """As for CaptureWriter."""
        if self._file.closed:
            return
        self._mcap.finish()  # type: ignore[no-untyped-call]
        self._file.commit()
        self._file.close()

    def _nothing_waits(self) -> None:
        self._chunks += 1
        self._chunk_start_ns = self._waiting_since_s = None
        self._waiting_bytes = 0

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) % 2**32
        return self._sequence - 1

    def _channel(self, name: str, direction: Direction, form: Form, connection: int) -> int:
        if connection and (name, direction, connection) not in self._channels and len(self._channels) >= _MAX_CHANNELS:
            connection = 0  # there are no more channel numbers
        channel = self._channels.get((name, direction, connection))
        if channel is None:
            topic = channel_topic(name, direction, connection)
            metadata = {"direction": direction.value}
            if connection:
                metadata["connection"] = str(connection)
            channel = self._channels[name, direction, connection] = self._mcap.register_channel(
                topic, ENCODING if form is Form.V4 else f"vfctl.{form.value}", self._schema, metadata
            )
        return channel


def _ending() -> bytes:
    """The shortest end of an MCAP file: no summary, no checksums."""
    builder = RecordBuilder()
    DataEnd(0).write(builder)
    Footer(0, 0, 0).write(builder)
    return bytes(builder.end()) + MAGIC  # type: ignore[no-untyped-call]


ENDING: Final = _ending()


def _check(payload: bytes) -> None:
    length = message_length(payload)
    if length != len(payload):
        raise ProtocolError(
            f"{len(payload)} bytes, expected one message of {length or 'more'}", offset=min(len(payload), length or 0)
        )
