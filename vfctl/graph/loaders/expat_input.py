"""XML by expat: its errors as ours, and entities that multiply refused."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from vfctl.errors import InputError

_MAX_GROWTH = 16
"""Ontologies abbreviate their namespaces by entities, `&pizza;Margherita`, and grow to some three times their size.
Expat's own limit is a hundredfold, from 8 MB on."""

_FREE_CHARACTERS = 2**20


def parse_xml(path: Path, parser: expat.XMLParserType, data: bytes) -> None:
    """Give the whole document to a parser whose handlers are set.

    Raises:
        InputError: not well-formed (says where), or in an encoding that cannot be read; and what handlers raise.
    """
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        place = f"line {error.lineno}, column {error.offset + 1}"
        raise InputError(f"{path}: {place}: not XML ({expat.ErrorString(error.code)})") from None
    except (LookupError, ValueError) as error:  # an encoding that Python lacks, or cannot give to expat
        raise InputError(f"{path}: XML in an encoding that cannot be read ({error})") from None


def refuse_xml_bomb(path: Path, data: bytes) -> None:
    """Unfold the entities, keeping nothing, and stop where a document outgrows its file by far.

    For parsers that cannot be stopped: rdflib's would take hours.

    Raises:
        InputError: as for `parse_xml`, or more than 16 times as many characters as the file has bytes, the first
            million free.
    """
    left = _FREE_CHARACTERS + _MAX_GROWTH * len(data)

    def count(text: str) -> None:
        nonlocal left
        left -= len(text)
        if left < 0:
            raise InputError(
                f"{path}: line {parser.CurrentLineNumber}: the entities of this XML unfold to more than"
                f" {_MAX_GROWTH} times the file's size"
            )

    def count_attributes(_: str, attributes: dict[str, str]) -> None:
        for value in attributes.values():
            count(value)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.CharacterDataHandler = count
    parser.StartElementHandler = count_attributes
    parse_xml(path, parser, data)
