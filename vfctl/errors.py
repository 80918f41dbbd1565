"""The errors that vfctl raises on purpose. Each has a message, a hint, and an exit code.

`docs/reference/exit-codes.md` has the exit codes for users: 0 done; 1 expected failure; 2 usage; 3 a gate failed
or had no data; 4 peer unreachable or timed out; 5 corrupt capture or protocol violation; 70 a bug in vfctl;
130 interrupted.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class VfctlError(Exception):
    """An expected failure.

    Args:
        message: one sentence: what happened, where (file, value, address), and what was expected.
        hint: what to do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickle, because errors are sent to the parent process and `hint` is keyword-only."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[VfctlError], args: tuple[object, ...], attributes: dict[str, object]) -> VfctlError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InputError(VfctlError):
    """A file that the user named cannot be read or written, or has the wrong content."""

    exit_code = 1


class MissingError(VfctlError):
    """This machine or installation lacks what the user requested: a GPU, an optional package."""

    exit_code = 1


class UsageError(VfctlError):
    """The command line or a scenario has an unknown name or a value out of range."""

    exit_code = 2


class GateError(VfctlError):
    """A gate failed or had no data."""

    exit_code = 3


class PeerError(VfctlError):
    """The peer could not be reached, did not answer in time, or disconnected for good."""

    exit_code = 4


class ProtocolError(VfctlError):
    """Bytes that V4 or RFC 6455 do not allow. Decoders raise no other exception.

    Args:
        message: the value that was found, and what was expected.
        offset: offset of the first wrong byte, from the start of the message (or file).
    """

    exit_code = 5

    def __init__(self, message: str, *, offset: int, hint: str | None = None) -> None:
        super().__init__(f"byte {offset}: {message}", hint=hint)
        self.offset = offset
        self.reason = message

    def shifted(self, by: int) -> ProtocolError:
        """Return the same error with its offset `by` bytes larger, for a message inside a larger buffer."""
        return ProtocolError(self.reason, offset=self.offset + by, hint=self.hint)


class CaptureError(VfctlError):
    """A recording that is damaged, or has a format that vfctl does not know."""

    exit_code = 5
