"""Recordings, written as they happen: MCAP with arrival times, or the bare messages one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from mcap.writer import CompressionType, Writer

import vfctl
from vfctl.capture.captured import trailer_of, type_name
from vfctl.capture.mcap_records import ENCODING, METADATA_NAME
from vfctl.errors import InputError, ProtocolError, UsageError
from vfctl.protocol import message_length

CHUNK_BYTES: Final = 2**20
FLUSH_INTERVAL_NS: Final = 1_000_000_000
"""A chunk is written out once it has 1 MiB or spans 1 s, whichever comes first: that much is lost at most when the
process dies. Each chunk adds some 700 bytes to the index that is kept in memory until the end."""

_SCHEMA_TEXT: Final = (
    b"VisionFlow binary protocol V4, little-endian: one whole message a record, header (u8 version = 4, u8 type, "
    b"u8 flags, u8 reserved) included, exactly as it was received. See docs/protocol.md of vfctl."
)
_MAX_U64: Final = 2**64 - 1


class CaptureWriter(Protocol):
    """Takes messages down as they arrive."""

    def write(self, payload: bytes, arrival_ns: int) -> None:
        """Take down one message.

        Args:
            payload: exactly one V4 message.
            arrival_ns: unix time in ns at which it arrived.

        Raises:
            ProtocolError: `payload` is not one V4 message; nothing has been written of it.
            InputError: the file cannot be written any further; what came before is intact.
        """
        ...

    def flush(self) -> None:
        """Hand everything to the operating system, so that it outlives this process.

        Raises:
            InputError: the file cannot be written any further; what came before is intact.
        """
        ...

    def close(self) -> None:
        """Finish the file. Safe to call more than once.

        Raises:
            InputError: the end could not be written; what came before is intact.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(path: str | Path, *, metadata: Mapping[str, str], overwrite: bool = False) -> CaptureWriter:
    """Start a recording: `.mcap`, or `.bin` for plain concatenated messages.

    Args:
        metadata: noted in an MCAP file, beside the version of vfctl; a `.bin` has no room for it.
        overwrite: whether an existing file may be replaced.

    Raises:
        UsageError: another suffix.
        InputError: the file exists, or cannot be written.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    if path.suffix.lower() == ".bin":
        return ConcatenatedWriter(_OutputFile(path, overwrite))
    return McapWriter(_OutputFile(path, overwrite), metadata)


def check_target(path: Path, *, overwrite: bool = False) -> None:
    """See early that a recording can be written there, before anybody waits for a server; nothing is created.

    Raises:
        UsageError: a suffix that names no format.
        InputError: the file exists, or there is no such folder.
    """
    suffix = path.suffix.lower()
    if suffix not in (".mcap", ".bin"):
        raise UsageError(
            f"{path}: no recording format is called {suffix or 'nothing'!r}",
            hint="use .mcap (with arrival times) or .bin (the bare messages, one after another)",
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists", hint=_EXISTS_HINT)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")


_EXISTS_HINT = "choose another name or remove it; vfctl record --overwrite replaces it"


class _Closing(ABC):
    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ConcatenatedWriter(_Closing):
    """The messages one after another, nothing else: each tells its own length, TIMED ones their time."""

    def __init__(self, file: _OutputFile) -> None:
        self._file = file

    def write(self, payload: bytes, arrival_ns: int) -> None:
        """As for CaptureWriter; `arrival_ns` is not kept."""
        _check(payload)
        self._file.write(payload)
        self._file.commit()

    def flush(self) -> None:
        """As for CaptureWriter; there is never anything left to do."""

    def close(self) -> None:
        """As for CaptureWriter."""
        self._file.close()


class McapWriter(_Closing):
    """MCAP: LZ4 chunks, one channel for each message type, index and statistics at the end."""

    def __init__(self, file: _OutputFile, metadata: Mapping[str, str]) -> None:
        self._file = file
        self._channels: dict[str, int] = {}
        self._chunk_start_ns: int | None = None
        self._sequence = 0
        self._mcap = Writer(
            file,  # type: ignore[arg-type]  # it takes whatever can write, tell and flush
            chunk_size=CHUNK_BYTES,
            compression=CompressionType.LZ4,
            enable_data_crcs=True,
        )
        self._mcap.start(profile=ENCODING, library=f"vfctl {vfctl.__version__}")
        self._mcap.add_metadata(METADATA_NAME, {"vfctl_version": vfctl.__version__, **metadata})
        self._schema = self._mcap.register_schema(ENCODING, ENCODING, _SCHEMA_TEXT)
        file.commit()

    def write(self, payload: bytes, arrival_ns: int) -> None:
        """As for CaptureWriter."""
        _check(payload)
        if not 0 <= arrival_ns <= _MAX_U64:
            raise ValueError(f"arrival at {arrival_ns} ns does not fit u64")
        self._file.check_open()
        trailer = trailer_of(payload)
        publish_ns = trailer.timestamp_us * 1000 if trailer else arrival_ns
        self._mcap.add_message(
            channel_id=self._channel(type_name(payload)),
            log_time=arrival_ns,
            data=payload,
            publish_time=publish_ns if publish_ns <= _MAX_U64 else arrival_ns,
            sequence=self._sequence,
        )
        self._sequence = (self._sequence + 1) % 2**32
        if self._file.commit():
            self._chunk_start_ns = None
        elif self._chunk_start_ns is None:
            self._chunk_start_ns = arrival_ns
        elif abs(arrival_ns - self._chunk_start_ns) >= FLUSH_INTERVAL_NS:
            self.flush()

    def flush(self) -> None:
        """As for CaptureWriter."""
        self._file.check_open()
        self._mcap.flush()  # type: ignore[no-untyped-call]
        self._file.commit()
        self._chunk_start_ns = None

    def close(self) -> None:
        """As for CaptureWriter."""
        if self._file.closed:
            return
        self._mcap.finish()  # type: ignore[no-untyped-call]
        self._file.commit()
        self._file.close()

    def _channel(self, name: str) -> int:
        if name not in self._channels:
            self._channels[name] = self._mcap.register_channel(f"/{name}", ENCODING, self._schema)
        return self._channels[name]


class _OutputFile:
    """An unbuffered file that is cut back to its last whole part when it cannot be written any further."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        try:
            self._file = path.open("wb" if overwrite else "xb", buffering=0)
        except FileExistsError:
            raise InputError(f"{path} already exists", hint=_EXISTS_HINT) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"cannot write {path}: {reason}") from None
        self._path = path
        self._position = 0
        self._whole = 0

    @property
    def closed(self) -> bool:
        return self._file.closed

    def check_open(self) -> None:
        if self.closed:
            raise InputError(f"cannot write {self._path}: the recording has ended")

    def write(self, data: bytes) -> None:
        self.check_open()
        rest = memoryview(data)
        try:
            while rest:
                written = self._file.write(rest)
                self._position += written
                rest = rest[written:]
        except OSError as error:
            with suppress(OSError):  # a device or a pipe cannot be cut back
                self._file.truncate(self._whole)
            with suppress(OSError):
                self._file.close()
            raise InputError(
                f"cannot write {self._path}: {error.strerror}; the recording ends at byte {self._whole}"
            ) from None

    def commit(self) -> bool:
        """Say that the file is whole up to here; returns whether it has grown since the last time."""
        grown = self._position > self._whole
        self._whole = self._position
        return grown

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise InputError(f"cannot write {self._path}: {error.strerror}") from None


def _check(payload: bytes) -> None:
    length = message_length(payload)
    if length != len(payload):
        raise ProtocolError(
            f"{len(payload)} bytes, expected one message of {length or 'more'}", offset=min(len(payload), length or 0)
        )
