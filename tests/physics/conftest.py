"""JAX at its strictest: no silent broadcasting between ranks or change of dtype. And nothing in the user's cache."""

import tempfile

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    """A directory for what is compiled that lasts as long as the run."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", directory)
        yield directory
