"""Chooses the device that the physics computes on, once in a process, and keeps compiled programs between starts."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any, Final, Literal, get_args

from vfctl.errors import MissingError, UsageError

Device = Literal["auto", "cpu", "gpu"]

DEVICES: Final[tuple[Device, ...]] = get_args(Device)
"""The choices. `auto` is a GPU if JAX finds one that works, else the CPU; it honours JAX_PLATFORMS."""

_INSTALL: Final = (
    "pip install 'vfctl[cuda]' brings JAX for NVIDIA GPUs; their driver (525 or newer) is there if nvidia-smi lists one"
)


def use_device(wanted: Device = "auto") -> str:
    """Make JAX compute on `wanted` from now on.

    A process has one device. After JAX has been used, another one cannot be chosen.

    Returns:
        The name of the device, see `device_name`.

    Raises:
        MissingError: JAX finds no usable GPU, or computes on another device already.
        UsageError: the device is unknown.
    """
    if wanted not in DEVICES:
        raise UsageError(f"unknown device {wanted!r}", hint=f"the devices are {', '.join(DEVICES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA reads this when it is loaded; it hides warnings
    import jax

    config: Any = jax.config  # which has no types
    if wanted == "cpu":
        config.update("jax_platforms", "cpu")
    elif wanted == "gpu":
        config.update("jax_platforms", None)  # JAX prefers a GPU
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # AssertionError if JAX_PLATFORMS names no existing platform
        reason = " ".join(str(error).split()) or f"JAX_PLATFORMS={config.jax_platforms} and there is none such"
        if wanted == "gpu" or config.jax_platforms:
            raise MissingError(f"JAX cannot use the requested device: {reason}", hint=_INSTALL) from None
        logging.getLogger(__name__).warning("the GPU cannot be used, computing on the CPU: %s", reason)
        config.update("jax_platforms", "cpu")
        found = jax.default_backend()
    if wanted == "gpu" and found != "gpu":
        raise MissingError(f"JAX finds no usable GPU, only: {found}", hint=_INSTALL)
    if wanted == "cpu" and found != "cpu":
        raise MissingError(f"this process computes on {device_name()} already, so it cannot use the CPU")
    return device_name()


def device_name() -> str:
    """The device that JAX computes on, for people: `cpu`, or for example `gpu (NVIDIA H100 80GB HBM3)`."""
    import jax

    first = jax.devices()[0]
    return first.platform if first.device_kind == first.platform else f"{first.platform} ({first.device_kind})"


log = logging.getLogger(__name__)

_MAX_ENTRIES: Final = 500
"""Files of about 100 KB. Each size of graph needs three. JAX itself deletes none."""


def cache_directory() -> Path:
    """The directory for compiled programs: `vfctl/jax` in the user's cache directory (XDG Base Directory
    Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # "If an implementation encounters a relative path […] it should consider the path invalid and ignore it."
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "vfctl" / "jax"


def keep_compiled() -> Path | None:
    """Keep what JAX compiles for the next start. Compiling a step takes a second, reading it back a tenth.

    Nothing changes if the user has set JAX_COMPILATION_CACHE_DIR or disabled the cache.

    Returns:
        The directory, or None if JAX's own setting stays or the directory cannot be written to.
    """
    import jax

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
    # With a damaged entry or a full disk JAX compiles again. The user need not know.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)
    return directory


def _prune(directory: Path) -> None:
    """Delete the oldest entries if there are too many."""
    entries = sorted(directory.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[: max(0, len(entries) - _MAX_ENTRIES)]:
        entry.unlink(missing_ok=True)
