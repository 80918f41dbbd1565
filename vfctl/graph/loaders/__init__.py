"""Read graph files: node-link JSON, GraphML, edge lists, and ontologies as Turtle, N-Triples or RDF/XML."""

from __future__ import annotations

import codecs
from importlib import resources
from pathlib import Path

from vfctl.errors import InputError
from vfctl.graph.loaders.detect import detect_format
from vfctl.graph.loaders.edge_list import load_edge_list
from vfctl.graph.loaders.graphml import load_graphml, refuse_xml_bomb
from vfctl.graph.loaders.node_link import load_node_link
from vfctl.graph.model import Graph

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_COMPRESSED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}


def load_graph(path: Path | str) -> Graph:
    """Read the graph of a file. The format is detected from the content and the extension.

    `vfctl.graph.loaders.builder` has the rules for ids, edges, kinds, depths and clusters, which are the same for all
    formats. What is dropped or changed is logged as a warning.

    Raises:
        InputError: the file cannot be read, or is not a graph. Names the file and, where possible, the line or element.
    """
    path = Path(path)
    data = _read(path)
    text, problem = _decode(data)
    name = detect_format(path, data, text)
    if name == "graphml":
        return load_graphml(path, data)
    if name == "rdf-xml":
        from vfctl.graph.loaders.rdf import load_rdf  # only here, because it loads rdflib

        refuse_xml_bomb(path, data)
        return load_rdf(path, data, "xml")
    if text is None:
        raise InputError(f"{path}: {problem}, expected UTF-8 text")
    if name == "turtle":
        from vfctl.graph.loaders.rdf import load_rdf

        return load_rdf(path, text, "turtle")
    return load_node_link(path, text) if name == "node-link" else load_edge_list(path, text)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: is not a regular file", hint="pipes and devices may never end; save it first")
        data = path.read_bytes()
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory, expected a graph file") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:  # a null character in the name
        raise InputError(f"{str(path)!r}: cannot be a file name ({error})") from None
    if not data.strip():
        raise InputError(f"{path}: is empty")
    for magic, compression in _COMPRESSED.items():
        if data.startswith(magic):
            raise InputError(f"{path}: is compressed ({compression})", hint="decompress it first")
    return data


def _decode(data: bytes) -> tuple[str | None, str]:
    """The text, or None and the reason."""
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        return None, f"byte {error.start} is not {error.encoding.upper()} ({error.reason})"
    at = text.find("\0")
    return (text, "") if at < 0 else (None, f"a null character at character {at}")


_FILE = "data/bundled.json"


def bundled_graph() -> Graph:
    """Return the graph that is served when none is named: the knowledge graph of a fictitious ocean institute.

    It is connected and has 316 nodes: classes at depths 0 to 5, their individuals and properties, in seven clusters. It
    is read from node-link JSON, so that neither networkx nor rdflib is loaded.
    """
    text = resources.files("vfctl.graph").joinpath(_FILE).read_text(encoding="utf-8")
    return load_node_link(Path(_FILE), text)
