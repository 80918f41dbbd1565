"""The graph, its FullGraph form, generators, loaders and communities.

Gateways import this package, so it imports no loader: `vfctl.graph.loaders` and `vfctl.graph.generators` are
imported by name where they are needed.
"""

from vfctl.graph.full_graph import from_full_graph, to_full_graph
from vfctl.graph.model import KINDS, Graph, build_graph

__all__ = ["KINDS", "Graph", "build_graph", "from_full_graph", "to_full_graph"]
