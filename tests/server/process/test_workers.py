"""How many gateways a server starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vfctl.server.capacity import MAX_WORKERS, client_capacity, workers_for


@pytest.mark.parametrize(
    ("max_clients", "descriptors", "cores", "workers"),
    [
        (50_000, 20_000, 2, 3),  # the limit of open files asks for them, the cores do not
        (1_000, 20_000, 2, 1),
        (19_000, 20_000, 2, 2),  # would fit into one, but not evenly
        (1, 16, 1, 1),
        (50_000, 2**20, 1, 1),
        (50_000, 2**20, 2, 1),
        (50_000, 2**20, 8, 7),  # one core is left to the physics
        (50_000, 2**20, 64, 10),  # more would have little to do
        (1_000, 2**20, 64, 1),
        (50_000, 20_000, 64, 10),
        (50_000, 256, 64, MAX_WORKERS),
    ],
)
def test_the_choice(max_clients: int, descriptors: int, cores: int, workers: int) -> None:
    assert workers_for(max_clients, descriptors=descriptors, cores=cores) == workers


@given(st.integers(1, 200_000), st.integers(2_000, 2**20), st.integers(1, 256))
def test_they_hold_all_clients_even_if_those_come_unevenly(max_clients: int, descriptors: int, cores: int) -> None:
    workers = workers_for(max_clients, descriptors=descriptors, cores=cores)
    assert 1 <= workers <= MAX_WORKERS
    if workers < MAX_WORKERS:
        assert max_clients / workers <= 0.95 * client_capacity(descriptors)
