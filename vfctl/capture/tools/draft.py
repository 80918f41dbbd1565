"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vfctl.capture.recording.output_file import EXISTS_HINT, is_no_file
from vfctl.errors import InputError


def check_free(path: Path, *, overwrite: bool) -> None:
    """See early whether a file may be written there; nothing is created.

    Raises:
        InputError: it exists and may not be replaced, is a folder, or has no folder to be in.
    """
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a directory")
    if path.exists() and not overwrite and not is_no_file(path):
        raise InputError(f"{path} already exists", hint=EXISTS_HINT)
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK) and not is_no_file(path):
        raise InputError(f"cannot write {path}: permission denied")


@contextmanager
def draft_of(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Where to write what becomes `path` at the end of the block; what was there stays until then.

    An exception, Ctrl-C too, leaves everything as it was. A device or a named pipe is written to directly.

    Raises:
        InputError: as for `check_free`, also if the file has come in the meantime; or for an OSError of the block.
    """
    check_free(path, overwrite=overwrite)
    # With its suffix, by which formats are told; hidden, since nobody should open it.
    draft = None if is_no_file(path) else path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft or path
        if draft:
            check_free(path, overwrite=overwrite)
            draft.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        if draft:
            draft.unlink(missing_ok=True)
