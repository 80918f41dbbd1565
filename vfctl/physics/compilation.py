"""What JAX has compiled is kept between starts: compiling a step takes about a second, reading it back a tenth."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final

import jax

log = logging.getLogger(__name__)

_MAX_ENTRIES: Final = 500
"""Files, some 100 KB each, of which every size of graph leaves three. JAX itself would keep all for ever."""


def cache_directory() -> Path:
    """Where it is kept: `vfctl/jax` in the user's cache directory, as the XDG Base Directory Specification has it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # "If an implementation encounters a relative path […] it should consider the path invalid and ignore it."
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "vfctl" / "jax"


def keep_compiled() -> Path | None:
    """Use the cache from now on, unless the user has told JAX of one (JAX_COMPILATION_CACHE_DIR) or wants none.

    Returns:
        The directory, or None if JAX's own setting stays or there is no directory that can be written to.
    """
    config: Any = jax.config  # which has no types
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return None
    try:
        directory = cache_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        _prune(directory)
    except (OSError, RuntimeError) as error:  # the latter if there is no home directory
        log.debug("nothing compiled is kept: %s", error)
        return None
    config.update("jax_compilation_cache_dir", str(directory))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # A damaged entry or a full disk: it is compiled again, and the user can do nothing about it.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)
    return directory


def _prune(directory: Path) -> None:
    """Delete the entries that were used the longest ago, if there are too many."""
    entries = sorted(directory.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[: max(0, len(entries) - _MAX_ENTRIES)]:
        entry.unlink(missing_ok=True)
