/**
 * V4 in the browser: bytes to messages, every type and encoding, and what a viewer sends. No dependencies, no build step.
 * `docs/protocol.md` is the normative text; `tests/vectors/` hold this against the Python codec, bit by bit.
 *
 *     const decoder = new PositionDecoder();
 *     socket.binaryType = "arraybuffer";
 *     socket.onmessage = (event) => show(decoder.feed(decode(event.data)));
 *
 * A message is a plain object: `type` (FullGraph, PositionUpdate, …), `flags` (names), and what the type has. Nodes are a
 * `Nodes`: the records as they came, and columns that are read from them when asked for.
 * 64-bit numbers (sequence, times) are JavaScript numbers, exact below 2^53.
 */

import { inflate } from "./lz4.js";
import { NODE_BYTES, ProtocolError, viewOf } from "./wire.js";

export { MAX_INTEGER, NOWHERE, PositionDecoder } from "./compact.js";
export { ProtocolError };

export const VERSION = 4;
export const NO_NODE = 0xffffffff;
export const MAX_MESSAGE_BYTES = 256 * 2 ** 20;

const MAX_LZ4_RATIO = 255;
const EDGE_BYTES = 12;
const TRAILER_BYTES = 20;

const TYPES = {
  1: "FullGraph", 2: "PositionUpdate", 3: "NodeSelect", 4: "NodeDrag", 5: "Heartbeat", 6: "FilterUpdate", 7: "VoiceData",
  8: "Notice",
};
const LAST_RESERVED_TYPE = 15;
const FLAGS = { COMPRESSED: 0x01, COMPACT: 0x02, TIMED: 0x04, METADATA: 0x08, FINAL: 0x10, SETTLED: 0x20 };
const ALLOWED_FLAGS = { 1: 0x0d, 2: 0x27, 4: 0x10, 5: 0x10, 7: 0x04 };
const METADATA_COLUMNS = ["label", "kind", "depth", "cluster"];
const FILTER_KEYS = ["kind", "depth", "cluster", "search"];

function bytesOf(data) {
  return data instanceof Uint8Array ? data : new Uint8Array(data);
}

function hex(value, digits) {
  return "0x" + value.toString(16).padStart(digits, "0");
}

/**
 * How many bytes the message at the start of `data` needs: `{needed, whole}`. While `whole` is false, that many must be
 * there before more can be said.
 */
export function measure(data) {
  const bytes = bytesOf(data);
  const view = viewOf(bytes);
  const available = bytes.length;
  if (available < 4) return { needed: 4, whole: false };
  const [version, type, flags] = bytes;
  if (version !== VERSION) throw new ProtocolError(`version ${version}, expected ${VERSION}`, 0);
  if (type < 1 || type > LAST_RESERVED_TYPE) throw new ProtocolError(`unknown type ${hex(type, 2)}`, 1);
  if (flags & ~(ALLOWED_FLAGS[type] ?? 0)) throw new ProtocolError(`flags ${hex(flags, 2)} on type ${hex(type, 2)}`, 2);
  if ((flags & 0x03) === 0x03) throw new ProtocolError("COMPRESSED and COMPACT, expected one of them", 2);
  const trailer = flags & FLAGS.TIMED ? TRAILER_BYTES : 0;
  const bounded = (total, what, offset) => {
    if (total > MAX_MESSAGE_BYTES) throw new ProtocolError(`${what} make ${total} bytes, too many for a message`, offset);
    return { needed: total, whole: true };
  };
  const until = (needed) => ({ needed, whole: false });
  switch (TYPES[type]) {
    case "NodeSelect":
      return { needed: 8, whole: true };
    case "NodeDrag":
      return { needed: 20, whole: true };
    case "Heartbeat":
      return { needed: flags & FLAGS.FINAL ? 20 : 12, whole: true };
    case "VoiceData":
      if (available < 16) return until(16);
      return bounded(16 + 2 * view.getUint32(12, true) + trailer, "samples", 12);
    case "FullGraph":
    case "PositionUpdate":
      break;
    default:
      if (available < 8) return until(8);
      return bounded(8 + view.getUint32(4, true), "bytes", 4);
  }
  if (available < 8) return until(8);
  const nodeBytes = view.getUint32(4, true) * NODE_BYTES;
  bounded(8 + nodeBytes, "nodes", 4);
  if (flags & FLAGS.COMPACT) {
    if (available < 12) return until(12);
    return bounded(12 + view.getUint32(8, true) + trailer, "bytes", 8);
  }
  if (flags & FLAGS.COMPRESSED) {
    if (available < 16) return until(16);
    const raw = view.getUint32(8, true);
    const compressed = view.getUint32(12, true);
    const most = Math.min(MAX_MESSAGE_BYTES, compressed * MAX_LZ4_RATIO);
    if (type === 2 ? raw !== nodeBytes : raw < nodeBytes + 4) {
      throw new ProtocolError(`raw length ${raw} for ${nodeBytes} bytes of nodes`, 8);
    }
    if (raw > most) throw new ProtocolError(`raw length ${raw}, expected at most ${most}`, 8);
    return bounded(16 + compressed + trailer, "compressed bytes", 12);
  }
  let needed = 8 + nodeBytes;
  bounded(needed + trailer, "nodes", 4);
  if (type === 1) {
    if (available < needed + 4) return until(needed + 4);
    let at = needed;
    needed += 4 + view.getUint32(at, true) * EDGE_BYTES;
    bounded(needed + trailer, "edges", at);
    if (flags & FLAGS.METADATA) {
      if (available < needed + 4) return until(needed + 4);
      at = needed;
      needed += 4 + view.getUint32(at, true);
      bounded(needed + trailer, "bytes of metadata", at);
    }
  }
  return { needed: needed + trailer, whole: true };
}

/** Concatenated messages, each as a Uint8Array. */
export function* splitMessages(data) {
  let rest = bytesOf(data);
  while (rest.length) {
    const { needed, whole } = measure(rest);
    if (!whole || rest.length < needed) throw new ProtocolError(`the message ends here, expected ${needed} bytes`, rest.length);
    yield rest.subarray(0, needed);
    rest = rest.subarray(needed);
  }
}

/** The one message that `data` (ArrayBuffer or Uint8Array) holds. A COMPACT section stays bytes: `PositionDecoder` reads it. */
export function decode(data) {
  const bytes = bytesOf(data);
  const { needed, whole } = measure(bytes);
  if (!whole || bytes.length < needed) throw new ProtocolError(`the message ends here, expected ${needed} bytes`, bytes.length);
  if (bytes.length > needed) throw new ProtocolError(`${bytes.length - needed} bytes too many`, needed);
  const view = viewOf(bytes);
  const flagBits = bytes[2];
  const message = {
    type: TYPES[bytes[1]] ?? "Reserved",
    flags: Object.keys(FLAGS).filter((name) => flagBits & FLAGS[name]),
  };
  if (flagBits & FLAGS.TIMED) {
    const at = bytes.length - TRAILER_BYTES;
    message.sequence = Number(view.getBigUint64(at, true));
    message.timestamp_us = Number(view.getBigUint64(at + 8, true));
    message.interval_us = view.getUint32(at + 16, true);
  }
  switch (message.type) {
    case "FullGraph":
    case "PositionUpdate":
      return Object.assign(message, decodeNodes(bytes, view, message.type, flagBits));
    case "NodeSelect": {
      const id = view.getUint32(4, true);
      return Object.assign(message, { node_id: id === NO_NODE ? null : id });
    }
    case "NodeDrag":
      return Object.assign(message, {
        node_id: view.getUint32(4, true), x: view.getFloat32(8, true), y: view.getFloat32(12, true), z: view.getFloat32(16, true),
      });
    case "Heartbeat":
      message.timestamp_us = Number(view.getBigUint64(4, true));
      if (flagBits & FLAGS.FINAL) message.responder_timestamp_us = Number(view.getBigUint64(12, true));
      return message;
    case "FilterUpdate":
      return Object.assign(message, { filter: checkedFilter(parseJson(bytes.subarray(8), 8)) });
    case "VoiceData": {
      const pcm = new Int16Array(view.getUint32(12, true));
      for (let i = 0; i < pcm.length; i++) pcm[i] = view.getInt16(16 + 2 * i, true);
      return Object.assign(message, { stream: view.getUint32(4, true), sample_rate_hz: view.getUint32(8, true), pcm });
    }
    case "Notice": {
      const notice = parseJson(bytes.subarray(8), 8);
      if (!isObject(notice) || typeof notice.notice !== "string") throw new ProtocolError("a notice without its name", 8);
      return Object.assign(message, { notice });
    }
    default:
      return Object.assign(message, { type_id: bytes[1], payload: bytes.slice(8) });
  }
}

function decodeNodes(bytes, view, type, flags) {
  const count = view.getUint32(4, true);
  if (flags & FLAGS.COMPACT) {
    return { count, section: bytes.slice(12, 12 + view.getUint32(8, true)) };
  }
  const compressed = Boolean(flags & FLAGS.COMPRESSED);
  let content = bytes;
  let at = 8;
  let end = bytes.length - (flags & FLAGS.TIMED ? TRAILER_BYTES : 0);
  if (compressed) {
    content = inflate(bytes.subarray(16, end), view.getUint32(8, true), count);
    at = 0;
    end = content.length;
  }
  const body = viewOf(content);
  const nodes = new Nodes(content.subarray(at, at + count * NODE_BYTES));
  if (type === "PositionUpdate") return { count, nodes };
  at += count * NODE_BYTES;
  const edgeCount = body.getUint32(at, true);
  at += 4;
  if (edgeCount * EDGE_BYTES > end - at) throw new ProtocolError(`${edgeCount} edges in ${end - at} bytes of the block`, 16);
  const graph = { count, nodes, edges: readEdges(body, at, edgeCount) };
  at += edgeCount * EDGE_BYTES;
  if (flags & FLAGS.METADATA) {
    if (end - at < 4 || body.getUint32(at, true) !== end - at - 4) throw new ProtocolError("metadata of another length", 16);
    graph.metadata = checkedMetadata(content.subarray(at + 4, end), count, compressed ? 16 : at + 4, compressed);
  } else if (at !== end) {
    throw new ProtocolError(`${end - at} bytes behind the edges of the block`, 16);
  }
  return graph;
}

/**
 * Nodes of 28 bytes: `records` Uint8Array [28 n], a view of the received or decompressed bytes. The columns are copies: `ids`
 * Uint32Array [n], `positions` and `velocities` Float32Array [3 n] as x y z x y z …
 */
export class Nodes {
  constructor(records) {
    this.records = records;
    this.count = records.length / NODE_BYTES;
  }

  get ids() {
    const view = viewOf(this.records);
    return Uint32Array.from({ length: this.count }, (_, i) => view.getUint32(i * NODE_BYTES, true));
  }

  get positions() {
    return this.#vectors(4);
  }

  get velocities() {
    return this.#vectors(16);
  }

  #vectors(offset) {
    const view = viewOf(this.records);
    const vectors = new Float32Array(3 * this.count);
    for (let i = 0, at = offset; i < vectors.length; i += 3, at += NODE_BYTES) {
      for (let axis = 0; axis < 3; axis++) vectors[i + axis] = view.getFloat32(at + 4 * axis, true);
    }
    return vectors;
  }
}

function readEdges(view, start, count) {
  const sources = new Uint32Array(count);
  const targets = new Uint32Array(count);
  const weights = new Float32Array(count);
  for (let i = 0, at = start; i < count; i++, at += EDGE_BYTES) {
    sources[i] = view.getUint32(at, true);
    targets[i] = view.getUint32(at + 4, true);
    weights[i] = view.getFloat32(at + 8, true);
  }
  return { sources, targets, weights };
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LONE_SURROGATE = /\p{Surrogate}/u;

function parseJson(bytes, offset) {
  let text;
  try {
    text = UTF8.decode(bytes);
  } catch {
    throw new ProtocolError("not UTF-8, expected JSON text", offset);
  }
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ProtocolError(`not JSON (${error.message})`, offset);
  }
  if (text.includes("\\u") && hasLoneSurrogate(value)) throw new ProtocolError("half of a surrogate pair in a text", offset);
  return value;
}

function hasLoneSurrogate(value) {
  if (typeof value === "string") return LONE_SURROGATE.test(value);
  if (Array.isArray(value)) return value.some(hasLoneSurrogate);
  return isObject(value) && Object.entries(value).some(([key, inner]) => LONE_SURROGATE.test(key) || hasLoneSurrogate(inner));
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function listOf(value, fits) {
  return Array.isArray(value) && value.every(fits);
}

const isText = (value) => typeof value === "string";
const isInteger = (value) => Number.isInteger(value);

function checkedMetadata(bytes, count, offset, compressed) {
  let columns;
  try {
    columns = parseJson(bytes, offset);
  } catch (error) {
    throw compressed ? new ProtocolError(error.message, 16) : error;
  }
  const named = isObject(columns) && Object.keys(columns).length === METADATA_COLUMNS.length;
  if (!named || !METADATA_COLUMNS.every((name) => name in columns)) throw new ProtocolError("metadata of other columns", offset);
  for (const name of METADATA_COLUMNS) {
    const fits = name === "label" || name === "kind" ? isText : (value) => value === (value | 0);
    if (!listOf(columns[name], fits) || columns[name].length !== count) {
      throw new ProtocolError(`metadata column ${name} is not what it should be for ${count} nodes`, offset);
    }
  }
  return columns;
}

/** A filter with only the criteria that are set, lists sorted. */
function checkedFilter(criteria) {
  const refuse = (why) => new ProtocolError(why, 8);
  if (!isObject(criteria)) throw refuse("a filter is a JSON object");
  const unknown = Object.keys(criteria).find((key) => !FILTER_KEYS.includes(key));
  if (unknown !== undefined) throw refuse(`unknown filter key ${JSON.stringify(unknown.slice(0, 40))}`);
  const { kind = null, depth = null, cluster = null, search = null } = criteria;
  const filter = {};
  if (kind !== null) {
    if (!listOf(kind, isText)) throw refuse("'kind' takes a list of texts");
    filter.kind = [...new Set(kind)].sort();
  }
  if (depth !== null) {
    if (!listOf(depth, isInteger) || depth.length !== 2) throw refuse("'depth' takes two integers");
    filter.depth = depth;
  }
  if (cluster !== null) {
    if (!listOf(cluster, isInteger)) throw refuse("'cluster' takes a list of integers");
    filter.cluster = [...new Set(cluster)].sort((one, other) => one - other);
  }
  if (search !== null && !isText(search)) throw refuse("'search' takes a text");
  if (search) filter.search = search;
  return filter;
}

// What a viewer sends.

function packet(type, flags, length) {
  const bytes = new Uint8Array(4 + length);
  bytes.set([VERSION, type, flags]);
  return { bytes, view: viewOf(bytes) };
}

/** NodeSelect; null clears the selection. */
export function encodeSelect(nodeId) {
  const { bytes, view } = packet(3, 0, 4);
  view.setUint32(4, nodeId ?? NO_NODE, true);
  return bytes;
}

/** NodeDrag: the node is held there until `final`, or 500 ms after the last drag. */
export function encodeDrag(nodeId, x, y, z, final = false) {
  const { bytes, view } = packet(4, final ? FLAGS.FINAL : 0, 16);
  view.setUint32(4, nodeId, true);
  [x, y, z].forEach((value, axis) => view.setFloat32(8 + 4 * axis, value, true));
  return bytes;
}

/** Heartbeat: a request or, with the request's time and one's own, the reply. Unix times in µs. */
export function encodeHeartbeat(timestampUs, responderTimestampUs = null) {
  const reply = responderTimestampUs !== null;
  const { bytes, view } = packet(5, reply ? FLAGS.FINAL : 0, reply ? 16 : 8);
  view.setBigUint64(4, BigInt(timestampUs), true);
  if (reply) view.setBigUint64(12, BigInt(responderTimestampUs), true);
  return bytes;
}

/** FilterUpdate; `{}` clears. */
export function encodeFilter(criteria) {
  const text = new TextEncoder().encode(JSON.stringify(criteria));
  const { bytes, view } = packet(6, 0, 4 + text.length);
  view.setUint32(4, text.length, true);
  bytes.set(text, 8);
  return bytes;
}

/** VoiceData: an Int16Array of mono samples. */
export function encodeVoice(samples, sampleRateHz) {
  const { bytes, view } = packet(7, 0, 12 + 2 * samples.length);
  view.setUint32(8, sampleRateHz, true);
  view.setUint32(12, samples.length, true);
  samples.forEach((sample, i) => view.setInt16(16 + 2 * i, sample, true));
  return bytes;
}
