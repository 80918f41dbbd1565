"""Writes files whole or not at all.

Every command that writes a result uses this module, so that links, long names, devices and permissions
are treated the same everywhere. `-` for stdout is the caller's business.
"""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vfctl.errors import InputError

EXISTS_HINT: Final = "choose another name or remove it; --overwrite replaces it"

_LONGEST_SUFFIX: Final = 16
"""Bytes. A draft keeps a suffix up to this length because file formats are chosen by it. A draft's name must fit
wherever the target's does, and a file system may allow 255 bytes."""

_numbers: Final = itertools.count()


def is_special(path: Path) -> bool:
    """Return whether `path` is a device, a named pipe or a socket: it is written to directly, never replaced."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Check before the work that its result can be written. Nothing is created or changed.

    Args:
        path: a symbolic link stands for what it points to.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: the file exists and may not be replaced, or it is a directory, or its directory is missing or
            read-only, or the name is too long.
    """
    try:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            mode = None
        if mode is not None:
            if stat.S_ISDIR(mode):
                raise InputError(f"cannot write {path}: it is a directory")
            if not overwrite and stat.S_ISREG(mode):
                raise InputError(f"{path} already exists", hint=EXISTS_HINT)
            if not os.access(path, os.W_OK):
                raise InputError(f"cannot write {path}: permission denied")
            if not stat.S_ISREG(mode):
                return
        directory = _target_of(path).parent
        if not directory.is_dir():
            raise InputError(f"cannot write {path}: there is no directory {directory}", hint=f"mkdir -p {directory}")
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from None


@contextmanager
def replacing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the path of an empty draft that becomes `path` when the block ends.

    An exception, Ctrl-C included, removes the draft and leaves everything as it was. A symbolic link stays a link:
    the file that it points to is replaced. A replaced file keeps its permissions. A device or a named pipe has no
    draft: its own path is yielded, to be written to directly.

    Args:
        path: what to write.
        overwrite: whether an existing file may be replaced.

    Raises:
        InputError: see `check_writable`. Also if the file appeared during the block and may not be replaced, and in
            place of any OSError that leaves the block.
    """
    check_writable(path, overwrite=overwrite)
    if is_special(path):
        try:
            yield path
        except OSError as error:
            raise _cannot_write(path, error) from None
        return
    target = _target_of(path)
    draft = target.with_name(_draft_name(target))
    try:
        _create_like(target, draft)
        yield draft
        check_writable(path, overwrite=overwrite)
        draft.replace(target)
    except OSError as error:
        raise _cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all. An existing file is replaced, and stays as it is until then.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path, overwrite=True) as draft:
        draft.write_bytes(content)


def _target_of(path: Path) -> Path:
    """The file behind any symbolic links, such as /dev/stdout; it need not exist."""
    return Path(os.path.realpath(path))


def _draft_name(target: Path) -> str:
    """A hidden name of this process alone."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
    return f".vfctl-{os.getpid()}-{next(_numbers)}{suffix}"


def _create_like(target: Path, draft: Path) -> None:
    """Create the draft with the permissions of the file that it replaces, or the usual ones."""
    try:
        mode = stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        draft.touch(exist_ok=False)
    else:
        draft.touch(mode=0o600, exist_ok=False)
        draft.chmod(mode)


def _cannot_write(path: Path, error: OSError | ValueError) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else None
    return InputError(f"cannot write {path}: {reason or error}")
