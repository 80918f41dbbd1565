"""Which device the physics computes on: chosen once in a process, before JAX has looked for devices itself."""

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
"""What can be asked for. `auto` is a GPU where JAX finds one that works, else the CPU; it honours JAX_PLATFORMS."""

_INSTALL: Final = (
    "pip install 'vfctl[cuda]' brings JAX for NVIDIA GPUs; their driver (525 or newer) is there if nvidia-smi lists one"
)


def use_device(wanted: Device = "auto") -> str:
    """Make JAX compute on `wanted` from now on.

    A process has one device. Once JAX has been used, asking for another one than it uses is an error.

    Returns:
        Its name, see `device_name`.

    Raises:
        MissingError: there is no GPU that JAX can use, or JAX computes on another device already.
        UsageError: there is no such device.
    """
    if wanted not in DEVICES:
        raise UsageError(f"there is no device {wanted!r}", hint=f"the devices are {', '.join(DEVICES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # XLA's own warnings; read when it is loaded
    import jax

    config: Any = jax.config  # which has no types
    if wanted == "cpu":
        config.update("jax_platforms", "cpu")
    elif wanted == "gpu":
        config.update("jax_platforms", None)  # of those that are there, JAX takes a GPU first
    try:
        found = jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter if JAX_PLATFORMS names only what is not there
        reason = " ".join(str(error).split()) or f"JAX_PLATFORMS={config.jax_platforms} and there is none such"
        if wanted == "gpu" or config.jax_platforms:
            raise MissingError(f"JAX cannot use the device that it was told to: {reason}", hint=_INSTALL) from None
        logging.getLogger(__name__).warning("the GPU cannot be used, computing on the CPU: %s", reason)
        config.update("jax_platforms", "cpu")
        found = jax.default_backend()
    if wanted == "gpu" and found != "gpu":
        raise MissingError(f"there is no GPU that JAX can use here, only: {found}", hint=_INSTALL)
    if wanted == "cpu" and found != "cpu":
        raise MissingError(f"this process computes on {device_name()} already, the CPU was asked for")
    return device_name()


def device_name() -> str:
    """The device that JAX computes on, for people: `cpu`, or such as `gpu (NVIDIA H100 80GB HBM3)`."""
    import jax

    first = jax.devices()[0]
    return first.platform if first.device_kind == first.platform else f"{first.platform} ({first.device_kind})"


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
    # A damaged entry or a full disk: it is compiled again, and the user can do nothing about it.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)
    return directory


def _prune(directory: Path) -> None:
    """Delete the entries that were used the longest ago, if there are too many."""
    entries = sorted(directory.iterdir(), key=lambda entry: entry.stat().st_mtime)
    for entry in entries[: max(0, len(entries) - _MAX_ENTRIES)]:
        entry.unlink(missing_ok=True)
