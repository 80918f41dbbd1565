"""Gateways import vfctl.graph: it must stay light."""

import subprocess
import sys

import pytest

HEAVY = ("networkx", "rdflib", "scipy", "jax", "asyncio", "socket", "vfctl.graph.loaders")


def loaded_modules(code):
    listing = "import sys; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-c", f"{code}\n{listing}"], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.processes
def test_the_package_imports_no_loader_and_nothing_heavy():
    modules = loaded_modules("import vfctl.graph")
    assert "vfctl.graph.model" in modules
    assert modules.isdisjoint(HEAVY)


@pytest.mark.processes
@pytest.mark.parametrize(
    "code",
    [
        "import vfctl.graph, vfctl.graph.loaders as b; b.bundled_graph()",
        "from vfctl.graph.generators import generate; generate('random', 50, 1)",
        "from vfctl.graph.model import to_node_link; import vfctl.graph.loaders",
    ],
)
def test_bundled_graph_generators_and_node_link_need_neither_networkx_nor_rdflib(code):
    assert loaded_modules(code).isdisjoint(("networkx", "rdflib"))
