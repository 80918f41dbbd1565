/**
 * V4 in the browser: decodes every message type and encoding, and encodes what a viewer sends. No packages, no build step.
 * `docs/protocol.md` is the normative text. `tests/vectors/` hold this against the Python codec, bit by bit.
 *
 *     const positions = new PositionDecoder(); // compact.js
 *     socket.binaryType = "arraybuffer";
 *     socket.onmessage = (event) => show(positions.decode(decode(event.data)));
 *
 * 64-bit numbers (sequence, times) become JavaScript numbers, which are exact below 2^53.
 */

import { decompressBlock } from "./lz4.js";

/**
 * @typedef {"COMPRESSED" | "COMPACT" | "TIMED" | "METADATA" | "FINAL" | "SETTLED"} FlagName
 *
 * @typedef {object} Common What every message has; the last three only if it is TIMED.
 * @property {FlagName[]} flags
 * @property {number} [sequence]
 * @property {number} [timestamp_us] Unix time of the state, in µs
 * @property {number} [interval_us] time until the next state, in µs
 *
 * @typedef {object} NodeColumns Nodes by column.
 * @property {Uint32Array} ids [n]
 * @property {Float32Array} positions [3 n]: x y z of node 0, x y z of node 1, …
 * @property {Float32Array | null} velocities like `positions`; null if they were not sent
 * @property {Uint8Array} [records] [28 n]: the received or decompressed records, if there are any
 *
 * @typedef {{ sources: Uint32Array, targets: Uint32Array, weights: Float32Array }} Edges each [edges]
 * @typedef {{ label: string[], kind: string[], depth: number[], cluster: number[] }} Metadata each [n]
 * @typedef {{ kind?: string[], depth?: number[], cluster?: number[], search?: string }} Filter a missing criterion accepts every node
 * @typedef {{ notice: string, [key: string]: unknown }} NoticeContent
 *
 * @typedef {Common & { type: "FullGraph", count: number, nodes: NodeColumns, edges: Edges, metadata?: Metadata }} FullGraphMessage
 * @typedef {Common & { type: "PositionUpdate", count: number, nodes: NodeColumns, section?: undefined }} PositionUpdateMessage
 * @typedef {Common & { type: "PositionUpdate", count: number, section: Uint8Array, nodes?: undefined }} CompactUpdateMessage
 * @typedef {Common & { type: "NodeSelect", node_id: number | null }} NodeSelectMessage
 * @typedef {Common & { type: "NodeDrag", node_id: number, x: number, y: number, z: number }} NodeDragMessage
 * @typedef {Common & { type: "Heartbeat", timestamp_us: number, responder_timestamp_us?: number }} HeartbeatMessage
 * @typedef {Common & { type: "FilterUpdate", filter: Filter }} FilterUpdateMessage
 * @typedef {Common & { type: "VoiceData", stream: number, sample_rate_hz: number, pcm: Int16Array }} VoiceDataMessage
 * @typedef {Common & { type: "Notice", notice: NoticeContent }} NoticeMessage
 * @typedef {Common & { type: "Reserved", type_id: number, payload: Uint8Array }} ReservedMessage
 *
 * @typedef {NodeSelectMessage | NodeDragMessage | HeartbeatMessage | FilterUpdateMessage | VoiceDataMessage | NoticeMessage
 *   | ReservedMessage} OtherMessage messages without nodes
 * @typedef {FullGraphMessage | PositionUpdateMessage | CompactUpdateMessage | OtherMessage} Message
 */

export const VERSION = 4;
export const NO_NODE = 0xffffffff;
export const MAX_MESSAGE_BYTES = 256 * 2 ** 20;
export const HEADER_BYTES = 8;
export const NODE_BYTES = 28;

const MAX_LZ4_RATIO = 255;
const EDGE_BYTES = 12;
const TRAILER_BYTES = 20;

const TYPE = { FullGraph: 1, PositionUpdate: 2, NodeSelect: 3, NodeDrag: 4, Heartbeat: 5, FilterUpdate: 6, VoiceData: 7, Notice: 8 };
const LAST_RESERVED_TYPE = 15;
/** @type {Record<FlagName, number>} */
const FLAGS = { COMPRESSED: 0x01, COMPACT: 0x02, TIMED: 0x04, METADATA: 0x08, FINAL: 0x10, SETTLED: 0x20 };
const FLAG_NAMES = /** @type {FlagName[]} */ (Object.keys(FLAGS));
/** @type {Record<number, number>} */
const ALLOWED_FLAGS = { 1: 0x0d, 2: 0x27, 4: 0x10, 5: 0x10, 7: 0x04 };
const METADATA_COLUMNS = ["cluster", "depth", "kind", "label"]; // sorted
const FILTER_KEYS = ["kind", "depth", "cluster", "search"];

/** The only error that decoding throws. `offset` is the first wrong byte, counted from the start of the message. */
export class ProtocolError extends Error {
  /**
   * @param {string} message
   * @param {number} offset
   */
  constructor(message, offset) {
    super(`byte ${offset}: ${message}`);
    this.name = "ProtocolError";
    this.offset = offset;
  }
}

/** @param {Uint8Array} bytes */
export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @param {ArrayBuffer | Uint8Array} data */
function bytesOf(data) {
  return data instanceof Uint8Array ? data : new Uint8Array(data);
}

/**
 * @param {number} value
 * @param {number} digits
 */
function hex(value, digits) {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}

// Framing.

/** @typedef {{ needed: number, whole: boolean }} Measurement */

/**
 * The length of the message at the start of `data`, as far as its first bytes tell. While `whole` is false, the length is unknown
 * until `needed` bytes are there.
 *
 * @param {ArrayBuffer | Uint8Array} data
 * @returns {Measurement}
 */
export function measure(data) {
  const bytes = bytesOf(data);
  const view = viewOf(bytes);
  const available = bytes.length;
  if (available < 4) return { needed: 4, whole: false };
  const [version, type, flags] = bytes;
  if (version !== VERSION) throw new ProtocolError(`version ${version}, expected ${VERSION}`, 0);
  if (type < 1 || type > LAST_RESERVED_TYPE) throw new ProtocolError(`unknown type ${hex(type, 2)}`, 1);
  if (flags & ~(ALLOWED_FLAGS[type] ?? 0)) throw new ProtocolError(`flags ${hex(flags, 2)} are not allowed on type ${hex(type, 2)}`, 2);
  if ((flags & 0x03) === 0x03) throw new ProtocolError("COMPRESSED and COMPACT are both set, expected at most one", 2);
  const trailer = flags & FLAGS.TIMED ? TRAILER_BYTES : 0;
  /** @type {(total: number, what: string, offset: number) => Measurement} */
  const bounded = (total, what, offset) => {
    if (total > MAX_MESSAGE_BYTES) {
      throw new ProtocolError(`the number of ${what} makes a message of ${total} bytes, the limit is ${MAX_MESSAGE_BYTES}`, offset);
    }
    return { needed: total, whole: true };
  };
  /** @type {(needed: number) => Measurement} */
  const atLeast = (needed) => ({ needed, whole: false });
  switch (type) {
    case TYPE.NodeSelect:
      return { needed: 8, whole: true };
    case TYPE.NodeDrag:
      return { needed: 20, whole: true };
    case TYPE.Heartbeat:
      return { needed: flags & FLAGS.FINAL ? 20 : 12, whole: true };
    case TYPE.VoiceData:
      if (available < 16) return atLeast(16);
      return bounded(16 + 2 * view.getUint32(12, true) + trailer, "samples", 12);
    case TYPE.FullGraph:
    case TYPE.PositionUpdate:
      break;
    default:
      if (available < 8) return atLeast(8);
      return bounded(8 + view.getUint32(4, true), "payload bytes", 4);
  }
  if (available < 8) return atLeast(8);
  const nodeBytes = view.getUint32(4, true) * NODE_BYTES;
  bounded(8 + nodeBytes, "nodes", 4);
  if (flags & FLAGS.COMPACT) {
    if (available < 12) return atLeast(12);
    return bounded(12 + view.getUint32(8, true) + trailer, "section bytes", 8);
  }
  if (flags & FLAGS.COMPRESSED) {
    if (available < 16) return atLeast(16);
    const raw = view.getUint32(8, true);
    const compressed = view.getUint32(12, true);
    const most = Math.min(MAX_MESSAGE_BYTES, compressed * MAX_LZ4_RATIO);
    if (type === TYPE.PositionUpdate ? raw !== nodeBytes : raw < nodeBytes + 4) {
      throw new ProtocolError(`uncompressed length ${raw} does not fit ${nodeBytes} bytes of nodes`, 8);
    }
    if (raw > most) throw new ProtocolError(`uncompressed length ${raw}, expected at most ${most}`, 8);
    return bounded(16 + compressed + trailer, "compressed bytes", 12);
  }
  let needed = 8 + nodeBytes;
  bounded(needed + trailer, "nodes", 4);
  if (type === TYPE.FullGraph) {
    if (available < needed + 4) return atLeast(needed + 4);
    let at = needed;
    needed += 4 + view.getUint32(at, true) * EDGE_BYTES;
    bounded(needed + trailer, "edges", at);
    if (flags & FLAGS.METADATA) {
      if (available < needed + 4) return atLeast(needed + 4);
      at = needed;
      needed += 4 + view.getUint32(at, true);
      bounded(needed + trailer, "metadata bytes", at);
    }
  }
  return { needed: needed + trailer, whole: true };
}

/**
 * The exact length of the message at the start of `bytes`; throws if the message is cut off.
 *
 * @param {Uint8Array} bytes
 */
function lengthOf(bytes) {
  const { needed, whole } = measure(bytes);
  if (!whole || bytes.length < needed) throw new ProtocolError(`the message ends here, expected ${needed} bytes`, bytes.length);
  return needed;
}

/**
 * Concatenated messages, one by one.
 *
 * @param {ArrayBuffer | Uint8Array} data
 * @returns {Generator<Uint8Array>}
 */
export function* splitMessages(data) {
  let rest = bytesOf(data);
  while (rest.length) {
    const length = lengthOf(rest);
    yield rest.subarray(0, length);
    rest = rest.subarray(length);
  }
}

// Decoding.

/**
 * The single message in `data`. A COMPACT update keeps its section as bytes; `PositionDecoder` in `compact.js` decodes it.
 *
 * @param {ArrayBuffer | Uint8Array} data
 * @returns {Message}
 */
export function decode(data) {
  const bytes = bytesOf(data);
  const length = lengthOf(bytes);
  if (bytes.length > length) throw new ProtocolError(`${bytes.length - length} extra bytes after the message`, length);
  const view = viewOf(bytes);
  const [, type, flagBits] = bytes;
  /** @type {Common} */
  const common = { flags: FLAG_NAMES.filter((name) => flagBits & FLAGS[name]) };
  if (flagBits & FLAGS.TIMED) {
    const at = bytes.length - TRAILER_BYTES;
    common.sequence = Number(view.getBigUint64(at, true));
    common.timestamp_us = Number(view.getBigUint64(at + 8, true));
    common.interval_us = view.getUint32(at + 16, true);
  }
  switch (type) {
    case TYPE.FullGraph:
      return decodeFullGraph(bytes, view, flagBits, common);
    case TYPE.PositionUpdate: {
      const count = view.getUint32(4, true);
      if (flagBits & FLAGS.COMPACT) {
        return { ...common, type: "PositionUpdate", count, section: bytes.slice(12, 12 + view.getUint32(8, true)) };
      }
      const { content, start } = contentOf(bytes, view, flagBits);
      return { ...common, type: "PositionUpdate", count, nodes: new Nodes(content.subarray(start, start + count * NODE_BYTES)) };
    }
    case TYPE.NodeSelect: {
      const id = view.getUint32(4, true);
      return { ...common, type: "NodeSelect", node_id: id === NO_NODE ? null : id };
    }
    case TYPE.NodeDrag: {
      const [x, y, z] = [8, 12, 16].map((at) => view.getFloat32(at, true));
      return { ...common, type: "NodeDrag", node_id: view.getUint32(4, true), x, y, z };
    }
    case TYPE.Heartbeat: {
      const timestamp_us = Number(view.getBigUint64(4, true));
      if (!(flagBits & FLAGS.FINAL)) return { ...common, type: "Heartbeat", timestamp_us };
      return { ...common, type: "Heartbeat", timestamp_us, responder_timestamp_us: Number(view.getBigUint64(12, true)) };
    }
    case TYPE.FilterUpdate:
      return { ...common, type: "FilterUpdate", filter: checkedFilter(parseJson(bytes.subarray(8), 8)) };
    case TYPE.VoiceData: {
      const pcm = new Int16Array(view.getUint32(12, true));
      for (let i = 0; i < pcm.length; i++) pcm[i] = view.getInt16(16 + 2 * i, true);
      return { ...common, type: "VoiceData", stream: view.getUint32(4, true), sample_rate_hz: view.getUint32(8, true), pcm };
    }
    case TYPE.Notice: {
      const notice = parseJson(bytes.subarray(8), 8);
      if (!isObject(notice) || typeof notice.notice !== "string") throw new ProtocolError("the notice has no name (key 'notice')", 8);
      return { ...common, type: "Notice", notice: { ...notice, notice: notice.notice } };
    }
    default:
      return { ...common, type: "Reserved", type_id: type, payload: bytes.slice(8) };
  }
}

/**
 * The bytes that hold nodes (and edges and metadata), decompressed, and where they start and end.
 *
 * @param {Uint8Array} bytes
 * @param {DataView} view
 * @param {number} flagBits
 */
function contentOf(bytes, view, flagBits) {
  const end = bytes.length - (flagBits & FLAGS.TIMED ? TRAILER_BYTES : 0);
  if (!(flagBits & FLAGS.COMPRESSED)) return { content: bytes, start: HEADER_BYTES, end };
  const content = decompress(bytes.subarray(16, end), view.getUint32(8, true), view.getUint32(4, true));
  return { content, start: 0, end: content.length };
}

/**
 * @param {Uint8Array} bytes
 * @param {DataView} view
 * @param {number} flagBits
 * @param {Common} common
 * @returns {FullGraphMessage}
 */
function decodeFullGraph(bytes, view, flagBits, common) {
  const count = view.getUint32(4, true);
  const compressed = Boolean(flagBits & FLAGS.COMPRESSED);
  const { content, start, end } = contentOf(bytes, view, flagBits);
  const body = viewOf(content);
  let at = start + count * NODE_BYTES;
  const nodes = new Nodes(content.subarray(start, at));
  const edgeCount = body.getUint32(at, true);
  at += 4;
  if (edgeCount * EDGE_BYTES > end - at) {
    throw new ProtocolError(`${edgeCount} edges do not fit into the ${end - at} bytes that the LZ4 block has left`, 16);
  }
  /** @type {FullGraphMessage} */
  const graph = { ...common, type: "FullGraph", count, nodes, edges: readEdges(body, at, edgeCount) };
  at += edgeCount * EDGE_BYTES;
  if (flagBits & FLAGS.METADATA) {
    if (end - at < 4 || body.getUint32(at, true) !== end - at - 4) throw new ProtocolError("the metadata does not fill the LZ4 block", 16);
    graph.metadata = checkedMetadata(content.subarray(at + 4, end), count, compressed ? 16 : at + 4, compressed);
  } else if (at !== end) {
    throw new ProtocolError(`${end - at} extra bytes after the edges in the LZ4 block`, 16);
  }
  return graph;
}

/**
 * Node records as received. The columns are copies, made each time they are read.
 *
 * @implements {NodeColumns}
 */
export class Nodes {
  /** @param {Uint8Array} records [28 n] */
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

  /** @param {number} offset of the vector in a record */
  #vectors(offset) {
    const view = viewOf(this.records);
    const vectors = new Float32Array(3 * this.count);
    for (let i = 0, at = offset; i < vectors.length; i += 3, at += NODE_BYTES) {
      for (let axis = 0; axis < 3; axis++) vectors[i + axis] = view.getFloat32(at + 4 * axis, true);
    }
    return vectors;
  }
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} count
 * @returns {Edges}
 */
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

// COMPRESSED messages: LZ4 blocks.

/**
 * The content of a COMPRESSED message: an LZ4 block. In its node part, byte 0 of all nodes comes first, then byte 1 of all nodes, …
 *
 * @param {Uint8Array} block
 * @param {number} rawLength
 * @param {number} count number of nodes
 */
function decompress(block, rawLength, count) {
  let raw;
  try {
    raw = decompressBlock(block, rawLength);
  } catch (error) {
    throw new ProtocolError(`the LZ4 block of ${block.length} bytes is damaged: ${textOf(error)}`, 16);
  }
  const content = raw.slice();
  for (let byte = 0, from = 0; byte < NODE_BYTES; byte++) {
    for (let node = 0; node < count; node++) content[node * NODE_BYTES + byte] = raw[from++];
  }
  return content;
}

// JSON in messages: metadata, filters, notices.

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * @param {Uint8Array} bytes
 * @param {number} offset
 * @returns {unknown}
 */
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
    throw new ProtocolError(`not JSON (${textOf(error)})`, offset);
  }
  if (text.includes("\\u") && hasLoneSurrogate(value)) throw new ProtocolError("a text contains half of a surrogate pair", offset);
  return value;
}

/** @param {unknown} error */
export function textOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * @param {unknown} value
 * @returns {boolean}
 */
function hasLoneSurrogate(value) {
  if (typeof value === "string") return LONE_SURROGATE.test(value);
  if (Array.isArray(value)) return value.some(hasLoneSurrogate);
  return isObject(value) && Object.entries(value).some(([key, inner]) => LONE_SURROGATE.test(key) || hasLoneSurrogate(inner));
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @template T
 * @param {unknown} value
 * @param {(each: unknown) => each is T} fits
 * @returns {value is T[]}
 */
function isListOf(value, fits) {
  return Array.isArray(value) && value.every(fits);
}

/**
 * @param {unknown} value
 * @returns {value is string}
 */
function isText(value) {
  return typeof value === "string";
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isInteger(value) {
  return Number.isInteger(value);
}

/**
 * @param {unknown} value
 * @returns {value is number}
 */
function isInt32(value) {
  return typeof value === "number" && value === (value | 0);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} count
 * @param {number} offset
 * @param {boolean} compressed
 * @returns {Metadata}
 */
function checkedMetadata(bytes, count, offset, compressed) {
  let columns;
  try {
    columns = parseJson(bytes, offset);
  } catch (error) {
    throw compressed ? new ProtocolError(textOf(error), 16) : error;
  }
  if (!isObject(columns) || Object.keys(columns).sort().join() !== METADATA_COLUMNS.join()) {
    throw new ProtocolError(`the metadata has other columns, expected ${METADATA_COLUMNS.join(", ")}`, offset);
  }
  /** @type {<T>(name: string, fits: (value: unknown) => value is T, what: string) => T[]} */
  const column = (name, fits, what) => {
    const values = columns[name];
    if (!isListOf(values, fits) || values.length !== count) {
      throw new ProtocolError(`the metadata column ${name} is not a list of ${count} ${what}`, offset);
    }
    return values;
  };
  return {
    label: column("label", isText, "texts"),
    kind: column("kind", isText, "texts"),
    depth: column("depth", isInt32, "integers"),
    cluster: column("cluster", isInt32, "integers"),
  };
}

/**
 * A filter with only the criteria that are set, its lists sorted.
 *
 * @param {unknown} criteria
 * @returns {Filter}
 */
function checkedFilter(criteria) {
  /** @param {string} why */
  const refused = (why) => new ProtocolError(why, 8);
  if (!isObject(criteria)) throw refused("the filter is not a JSON object");
  const unknown = Object.keys(criteria).find((key) => !FILTER_KEYS.includes(key));
  if (unknown !== undefined) throw refused(`unknown filter key ${JSON.stringify(unknown.slice(0, 40))}`);
  const { kind = null, depth = null, cluster = null, search = null } = criteria;
  /** @type {Filter} */
  const filter = {};
  if (kind !== null) {
    if (!isListOf(kind, isText)) throw refused("'kind' is not a list of texts");
    filter.kind = [...new Set(kind)].sort();
  }
  if (depth !== null) {
    if (!isListOf(depth, isInteger) || depth.length !== 2) throw refused("'depth' is not a list of two integers");
    filter.depth = depth;
  }
  if (cluster !== null) {
    if (!isListOf(cluster, isInteger)) throw refused("'cluster' is not a list of integers");
    filter.cluster = [...new Set(cluster)].sort((one, other) => one - other);
  }
  if (search !== null && !isText(search)) throw refused("'search' is not a text");
  if (search) filter.search = search;
  return filter;
}

// Encoding: what a viewer sends.

/**
 * @param {number} type
 * @param {number} flags
 * @param {number} length of what follows the first four bytes
 */
function newMessage(type, flags, length) {
  const bytes = new Uint8Array(4 + length);
  bytes.set([VERSION, type, flags]);
  return { bytes, view: viewOf(bytes) };
}

/**
 * NodeSelect; null clears the selection.
 *
 * @param {number | null} nodeId
 */
export function encodeSelect(nodeId) {
  const { bytes, view } = newMessage(TYPE.NodeSelect, 0, 4);
  view.setUint32(4, nodeId ?? NO_NODE, true);
  return bytes;
}

/**
 * NodeDrag: the server holds the node at this position until a drag with `final`, or 500 ms after the last drag.
 *
 * @param {number} nodeId
 * @param {number} x
 * @param {number} y
 * @param {number} z
 * @param {boolean} [final]
 */
export function encodeDrag(nodeId, x, y, z, final = false) {
  const { bytes, view } = newMessage(TYPE.NodeDrag, final ? FLAGS.FINAL : 0, 16);
  view.setUint32(4, nodeId, true);
  [x, y, z].forEach((value, axis) => view.setFloat32(8 + 4 * axis, value, true));
  return bytes;
}

/**
 * Heartbeat: a request or, with the responder's time, the reply to one. Unix times in µs.
 *
 * @param {number} timestampUs
 * @param {number | null} [responderTimestampUs]
 */
export function encodeHeartbeat(timestampUs, responderTimestampUs = null) {
  const reply = responderTimestampUs !== null;
  const { bytes, view } = newMessage(TYPE.Heartbeat, reply ? FLAGS.FINAL : 0, reply ? 16 : 8);
  view.setBigUint64(4, BigInt(timestampUs), true);
  if (reply) view.setBigUint64(12, BigInt(responderTimestampUs), true);
  return bytes;
}

/**
 * FilterUpdate; `{}` accepts every node.
 *
 * @param {Filter} criteria
 */
export function encodeFilter(criteria) {
  const text = new TextEncoder().encode(JSON.stringify(criteria));
  const { bytes, view } = newMessage(TYPE.FilterUpdate, 0, 4 + text.length);
  view.setUint32(4, text.length, true);
  bytes.set(text, 8);
  return bytes;
}

/**
 * VoiceData: mono samples of 16 bits.
 *
 * @param {Int16Array} samples
 * @param {number} sampleRateHz
 */
export function encodeVoice(samples, sampleRateHz) {
  const { bytes, view } = newMessage(TYPE.VoiceData, 0, 12 + 2 * samples.length);
  view.setUint32(8, sampleRateHz, true);
  view.setUint32(12, samples.length, true);
  samples.forEach((sample, i) => view.setInt16(16 + 2 * i, sample, true));
  return bytes;
}
