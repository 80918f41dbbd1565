"""Every error that vfctl raises on purpose: what happened, what to do about it, and how the command exits.

`docs/reference/exit-codes.md` has the exit codes for users: 0 done; 1 expected failure; 2 usage; 3 a gate failed
or had no data; 4 peer unreachable or timed out; 5 corrupt capture or protocol violation; 70 a bug of ours;
130 interrupted.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_BUG = 70
EXIT_INTERRUPTED = 130


class VfctlError(Exception):
    """An expected failure: one sentence for people, with a hint where there is something to do.

    Args:
        message: what happened, naming the file, value or address it happened to.
        hint: what the reader can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross from a process to its parent; keyword-only arguments need a hand with that."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[VfctlError], args: tuple[object, ...], attributes: dict[str, object]) -> VfctlError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class InputError(VfctlError):
    """A file that the user named cannot be read or written, or does not hold what it should."""

    exit_code = 1


class MissingError(VfctlError):
    """This machine or installation lacks what was asked for: a GPU, an optional package."""

    exit_code = 1


class UsageError(VfctlError):
    """The command line or a scenario asks for something that does not exist or cannot be."""

    exit_code = 2


class GateError(VfctlError):
    """A gate failed or had no data to judge."""

    exit_code = 3


class PeerError(VfctlError):
    """The other side could not be reached, did not answer in time, or went away for good."""

    exit_code = 4


class ProtocolError(VfctlError):
    """Bytes that are not what V4 or RFC 6455 allow. The only exception that leaves a decoder.

    Args:
        message: the value found and what was expected.
        offset: byte offset of the first byte at fault, from the start of the message (or file).
    """

    exit_code = 5

    def __init__(self, message: str, *, offset: int, hint: str | None = None) -> None:
        super().__init__(f"byte {offset}: {message}", hint=hint)
        self.offset = offset
        self.reason = message

    def shifted(self, by: int) -> ProtocolError:
        """The same error, `by` bytes further on: for a message that stands inside a larger buffer."""
        return ProtocolError(self.reason, offset=self.offset + by, hint=self.hint)


class CaptureError(VfctlError):
    """A recording that is damaged or of no format that vfctl knows."""

    exit_code = 5
