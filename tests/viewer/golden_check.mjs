// Holds the viewer's protocol.js against the golden vectors; runs in node and in a browser.

/** `vectors`: [{name, base64, twin}]. Returns what is wrong, as texts. */
export function check(protocol, vectors) {
  const failures = [];
  for (const { name, base64, twin } of vectors) {
    const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
    try {
      const wrong = twin.messages || twin.error?.message !== undefined ? checkStream(protocol, bytes, twin) : checkOne(protocol, bytes, twin);
      if (wrong) failures.push(`${name}: ${wrong}`);
    } catch (error) {
      failures.push(`${name}: ${error.stack}`);
    }
  }
  return failures;
}

function checkOne(protocol, bytes, twin) {
  if (twin.error) return refusal(protocol, () => protocol.decode(bytes), twin.error.offset);
  const message = protocol.decode(bytes);
  for (let length = 0; length < bytes.length; length++) {
    const wrong = refusal(protocol, () => protocol.decode(bytes.subarray(0, length)), length);
    if (wrong) return `cut at ${length}: ${wrong}`;
  }
  const written = rewritten(protocol, message);
  if (written && twin.canonical !== false && !same(written, bytes)) return "is written otherwise";
  return difference(asTwin(message), twin);
}

function checkStream(protocol, bytes, twin) {
  const decoder = new protocol.PositionDecoder();
  const messages = [...protocol.splitMessages(bytes)];
  if (twin.error) {
    if (messages.length !== twin.error.message + 1) return `has ${messages.length} messages`;
    const last = messages.pop();
    for (const message of messages) decoder.feed(protocol.decode(message));
    return refusal(protocol, () => decoder.feed(protocol.decode(last)), twin.error.offset);
  }
  if (messages.length !== twin.messages.length) return `has ${messages.length} messages`;
  for (const [index, message] of messages.entries()) {
    const wrong = difference(asTwin(decoder.feed(protocol.decode(message))), twin.messages[index]);
    if (wrong) return `message ${index}: ${wrong}`;
  }
  return null;
}

function refusal(protocol, decoding, offset) {
  try {
    decoding();
  } catch (error) {
    if (!(error instanceof protocol.ProtocolError)) return error.stack;
    // Where exactly a text stops being JSON or UTF-8, a browser does not say.
    if (error.offset === offset || /not (JSON|UTF-8)/.test(error.message)) return null;
    return `${error.message}, expected at ${offset}`;
  }
  return "is not refused";
}

function rewritten(protocol, message) {
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

function same(one, other) {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** A message in the form of the JSON twins. */
function asTwin(message) {
  const { nodes, edges, pcm, payload, section, ...twin } = message;
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
  const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (pcm) Object.assign(twin, { samples: pcm.length, pcm: [...pcm] });
  if (payload) Object.assign(twin, { bytes: payload.length, hex: hex(payload) });
  if (section) Object.assign(twin, { bytes: section.length, hex: hex(section) });
  return twin;
}

const ABOUT = new Set(["comment", "canonical", "section"]);

/** The first place where they differ, or null. Floats are float32, and those that are not finite are null in the twin. */
function difference(found, twin, path = "") {
  if (typeof found === "number" && !Number.isFinite(found)) return twin === null ? null : `${path} is ${found}`;
  if (typeof found === "number" && typeof twin === "number") {
    return Object.is(found, twin) || Object.is(found, Math.fround(twin)) ? null : `${path} is ${found}, expected ${twin}`;
  }
  if (typeof found !== "object" || found === null || twin === null) {
    return found === twin ? null : `${path} is ${found}, expected ${twin}`;
  }
  for (const key of new Set([...Object.keys(found), ...Object.keys(twin)])) {
    if (path === "" && ABOUT.has(key)) continue;
    const wrong = difference(found[key], twin[key], `${path}.${key}`);
    if (wrong) return wrong;
  }
  return null;
}
