"""A file that is written front to back and is whole at any time, as far as it goes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from vfctl.errors import InputError
from vfctl.files import EXISTS_HINT, is_special


class OutputFile:
    """An unbuffered file that is cut back to its last whole part when it cannot be written any further.

    Args:
        path: where; opened here, which waits for a reader if it is a named pipe.
        overwrite: whether a file that exists may be replaced.
        ending: what makes a file proper that is cut back, if there is room for it.

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
        """Whether nothing can be written any more."""
        return self._file.closed

    def check_open(self) -> None:
        """See that it can still be written.

        Raises:
            InputError: it has been closed, or given up.
        """
        if self.closed:
            raise InputError(f"cannot write {self.path}: the recording has ended")

    def write(self, data: bytes) -> None:
        """Hand bytes to the operating system.

        Raises:
            InputError: it does not take them; the file ends with what was whole.
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
        with suppress(OSError):  # a device or a pipe cannot be cut back
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
            try:
                self._write_all(self._ending)
            except OSError:
                self._file.truncate(self._whole)
        with suppress(OSError):
            self._file.close()

    def commit(self) -> bool:
        """Say that the file is whole up to here; returns whether it has grown since the last time."""
        grown = self._position > self._whole
        self._whole = self._position
        return grown

    def tell(self) -> int:
        """How many bytes have been written."""
        return self._position

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        """Close the file.

        Raises:
            InputError: the operating system could not.
        """
        try:
            self._file.close()
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None
