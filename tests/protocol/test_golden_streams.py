"""The golden streams, read by this codec: COMPACT frames and what stands before them, and what a decoder refuses."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from vfctl.errors import ProtocolError
from vfctl.protocol import MessageSplitter, PositionDecoder, decode

VECTORS = Path(__file__).parent.parent / "vectors"
TWINS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(VECTORS.glob("streams/*.json"))}
VALID = [name for name, twin in TWINS.items() if "error" not in twin]
INVALID = [name for name, twin in TWINS.items() if "error" in twin]


def load(module: str):
    spec = importlib.util.spec_from_file_location(module, VECTORS / f"{module}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def messages(name: str) -> list[bytes]:
    splitter = MessageSplitter()
    split = list(splitter.split((VECTORS / "streams" / f"{name}.bin").read_bytes()))
    splitter.finish()
    return split


def test_the_committed_files_are_what_the_generator_writes():
    generate = load("generate")
    names = set()
    for name, buffer, twin in generate.golden_streams():
        names.add(name)
        assert (VECTORS / "streams" / f"{name}.json").read_text(encoding="utf-8") == generate.as_text(twin), name
        if all("COMPRESSED" not in message["flags"] for message in twin.get("messages", [])):
            assert (VECTORS / "streams" / f"{name}.bin").read_bytes() == buffer, name
    assert {path.stem for path in VECTORS.glob("streams/*.bin")} == names == set(TWINS)


@pytest.mark.parametrize("name", VALID)
def test_a_stream_says_what_its_twin_says(name):
    generate = load("generate")
    decoder = PositionDecoder()
    twins = TWINS[name]["messages"]
    for payload, twin in zip(messages(name), twins, strict=True):
        said = generate.to_json(decoder.decode(decode(payload)))
        assert said == {key: value for key, value in twin.items() if key != "section"}


def test_the_streams_have_every_kind_of_frame():
    frames = [message for name in VALID for message in TWINS[name]["messages"] if "section" in message]
    kinds = {(frame["section"]["key"], bool(frame["section"]["span"])) for frame in frames}
    assert kinds == {(True, False), (True, True), (False, False), (False, True)}
    uneven = [frame for frame in frames if 0 < frame["section"].get("back", 0) != frame["section"]["span"] > 0]
    assert uneven
    assert any(frame["section"].get("back") == 0 for frame in frames)
    assert any(node["y"] is None for frame in frames for node in frame["nodes"])
    assert any(not frame["nodes"] for frame in frames)


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_stream_is_refused_at_its_last_message_where_it_is_wrong(name):
    error = TWINS[name]["error"]
    decoder = PositionDecoder()
    *before, last = messages(name)
    assert len(before) == error["message"]
    for payload in before:
        decoder.decode(decode(payload))
    with pytest.raises(ProtocolError) as caught:
        decoder.decode(decode(last))
    assert caught.value.offset == error["offset"]
