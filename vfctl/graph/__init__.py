"""The graph, its FullGraph form, generators, loaders and communities.

Gateways import this package, so it imports no loader: `vfctl.graph.loaders` and `vfctl.graph.generators` are
imported by name where they are needed.
"""

from vfctl.graph.model import KINDS, Graph, build_graph, from_full_graph, to_full_graph

__all__ = ["KINDS", "Graph", "build_graph", "from_full_graph", "to_full_graph"]
