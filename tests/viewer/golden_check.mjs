/**
 * Compares the viewer's decoder with the golden vectors. The tests run it in a page, without imports.
 *
 * @import { Edges, Message, NodeColumns } from "../../vfctl/viewer/protocol.js"
 */

/**
 * @typedef {typeof import("../../vfctl/viewer/protocol.js") & typeof import("../../vfctl/viewer/compact.js")} Protocol
 * @typedef {{ [key: string]: unknown }} JsonObject
 * @typedef {JsonObject & { messages?: JsonObject[], error?: { message?: number, offset: number }, canonical?: boolean }} Twin the JSON
 *   beside the bytes of a vector
 */

/**
 * @param {Protocol} protocol
 * @param {{ name: string, base64: string, twin: Twin }[]} vectors
 * @returns {string[]} the differences
 */
export function check(protocol, vectors) {
  const failures = [];
  for (const { name, base64, twin } of vectors) {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    try {
      const wrong = twin.messages || twin.error?.message !== undefined ? checkStream(protocol, bytes, twin) : checkOne(protocol, bytes, twin);
      if (wrong) failures.push(`${name}: ${wrong}`);
    } catch (error) {
      failures.push(`${name}: ${stackOf(error)}`);
    }
  }
  return failures;
}

/** @param {unknown} error */
function stackOf(error) {
  return error instanceof Error ? error.stack : String(error);
}

/**
 * @param {Protocol} protocol
 * @param {Uint8Array} bytes
 * @param {Twin} twin
 */
function checkOne(protocol, bytes, twin) {
  if (twin.error) return refusal(protocol, () => protocol.decode(bytes), twin.error.offset);
  const message = protocol.decode(bytes);
  for (let length = 0; length < bytes.length; length++) {
    const wrong = refusal(protocol, () => protocol.decode(bytes.subarray(0, length)), length);
    if (wrong) return `cut at ${length}: ${wrong}`;
  }
  const written = encoded(protocol, message);
  if (written && twin.canonical !== false && !same(written, bytes)) return "is encoded differently";
  return difference(asTwin(message), twin);
}

/**
 * @param {Protocol} protocol
 * @param {Uint8Array} bytes
 * @param {Twin} twin
 */
function checkStream(protocol, bytes, twin) {
  const decoder = new protocol.PositionDecoder();
  const messages = [...protocol.splitMessages(bytes)];
  if (twin.error) {
    const last = messages.pop();
    if (!last || messages.length !== twin.error.message) return `has ${messages.length} messages before the last`;
    for (const message of messages) decoder.decode(protocol.decode(message));
    return refusal(protocol, () => decoder.decode(protocol.decode(last)), twin.error.offset);
  }
  const twins = twin.messages ?? [];
  if (messages.length !== twins.length) return `has ${messages.length} messages`;
  for (const [index, message] of messages.entries()) {
    const wrong = difference(asTwin(decoder.decode(protocol.decode(message))), twins[index]);
    if (wrong) return `message ${index}: ${wrong}`;
  }
  return null;
}

/**
 * Why `decoding` does not throw the expected error; null if it does.
 *
 * @param {Protocol} protocol
 * @param {() => unknown} decoding
 * @param {number} offset
 */
function refusal(protocol, decoding, offset) {
  try {
    decoding();
  } catch (error) {
    if (!(error instanceof protocol.ProtocolError)) return stackOf(error);
    // A browser does not tell where a text stops being JSON or UTF-8.
    if (error.offset === offset || /not (JSON|UTF-8)/.test(error.message)) return null;
    return `${error.message}, expected at ${offset}`;
  }
  return "is decoded without an error";
}

/**
 * The message encoded again; null for what a viewer does not send.
 *
 * @param {Protocol} protocol
 * @param {Message} message
 */
function encoded(protocol, message) {
  const final = message.flags.includes("FINAL");
  switch (message.type) {
    case "NodeSelect":
      return protocol.encodeSelect(message.node_id);
    case "NodeDrag":
      return protocol.encodeDrag(message.node_id, message.x, message.y, message.z, final);
    case "Heartbeat":
      return protocol.encodeHeartbeat(message.timestamp_us, message.responder_timestamp_us);
    case "FilterUpdate":
      return protocol.encodeFilter(message.filter);
    case "VoiceData":
      return message.stream || message.flags.length ? null : protocol.encodeVoice(message.pcm, message.sample_rate_hz);
    default:
      return null;
  }
}

/**
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
function same(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** @typedef {{ nodes?: NodeColumns, edges?: Edges, pcm?: Int16Array, payload?: Uint8Array, section?: Uint8Array }} Arrays */

/**
 * A message in the form of the JSON twins.
 *
 * @param {Message} message
 * @returns {JsonObject}
 */
function asTwin(message) {
  const { nodes, edges, pcm, payload, section, ...rest } = /** @type {Message & Arrays} */ (message);
  /** @type {JsonObject} */
  const twin = rest;
  if (nodes) {
    const { ids, positions, velocities } = nodes;
    twin.nodes = Array.from(ids, (id, i) => {
      const [x, y, z] = positions.subarray(3 * i);
      const [vx, vy, vz] = velocities ? velocities.subarray(3 * i) : [0, 0, 0];
      return { id, x, y, z, vx, vy, vz };
    });
  }
  if (edges) {
    const { sources, targets, weights } = edges;
    twin.edges = Array.from(sources, (source, i) => ({ source, target: targets[i], weight: weights[i] }));
  }
  /** @param {Uint8Array} bytes */
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (pcm) Object.assign(twin, { samples: pcm.length, pcm: [...pcm] });
  if (payload) Object.assign(twin, { bytes: payload.length, hex: hex(payload) });
  if (section) Object.assign(twin, { bytes: section.length, hex: hex(section) });
  return twin;
}

const ABOUT = new Set(["comment", "canonical", "section"]);

/**
 * The first difference, or null. Floats are float32, and those that are not finite are null in the twin.
 *
 * @param {unknown} found
 * @param {unknown} twin
 * @param {string} [path]
 * @returns {string | null}
 */
function difference(found, twin, path = "") {
  if (typeof found === "number" && !Number.isFinite(found)) return twin === null ? null : `${path} is ${found}`;
  if (typeof found === "number" && typeof twin === "number") {
    return Object.is(found, twin) || Object.is(found, Math.fround(twin)) ? null : `${path} is ${found}, expected ${twin}`;
  }
  if (typeof found !== "object" || found === null || typeof twin !== "object" || twin === null) {
    return found === twin ? null : `${path} is ${found}, expected ${twin}`;
  }
  const [one, other] = [/** @type {JsonObject} */ (found), /** @type {JsonObject} */ (twin)];
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    if (path === "" && ABOUT.has(key)) continue;
    const wrong = difference(one[key], other[key], `${path}.${key}`);
    if (wrong) return wrong;
  }
  return null;
}
