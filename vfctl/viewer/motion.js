/**
 * The last two states, and where between them the picture stands.
 *
 * A state is a Float32Array laid out as a raw PositionUpdate: 2 words of header, then 7 words a node (id, x y z, velocity).
 * A raw message is one without any copying. What came in another encoding is put into the same form.
 */

export const HEADER_BYTES = 8;
export const NODE_BYTES = 28;
const HEADER = 2;
const STRIDE = 7;
/** The first coordinate of node 0; that of node i is STRIDE × i further on. */
const X = 3;

const DEFAULT_INTERVAL_MS = 50;
const LONGEST_REST_MS = 250;
const SAMPLED = 2000;

/** The state of a decoded message with nodes; `data` is what it came as. */
export function stateOf(message, data) {
  const { nodes, count } = message;
  const words = HEADER + STRIDE * count;
  if (nodes.records?.buffer === data && nodes.records.byteOffset === HEADER_BYTES) return new Float32Array(data, 0, words);
  const state = new Float32Array(words);
  if (nodes.records) {
    new Uint8Array(state.buffer).set(nodes.records, HEADER_BYTES);
  } else {
    const { positions } = nodes;
    for (let i = 0, at = X, from = 0; i < count; i++, at += STRIDE, from += 3) {
      state[at] = positions[from];
      state[at + 1] = positions[from + 1];
      state[at + 2] = positions[from + 2];
    }
  }
  return state;
}

export class Motion {
  #arrivalMs = 0;
  #durationMs = 0;
  #rested = false;

  previous = null;
  latest = null;
  /** A node that is held here, whatever the server says of it: its index and place. */
  held = null;

  /** The first state of a graph. */
  begin(state) {
    this.previous = this.latest = state;
    this.#durationMs = 0;
    this.#rested = false;
    this.held = null;
  }

  /** The next state; `interval_us` is the time until the one after it, if known. */
  advance(state, { settled, interval_us }, now_ms) {
    const apart_ms = this.#arrivalMs ? now_ms - this.#arrivalMs : DEFAULT_INTERVAL_MS;
    const interval_ms = interval_us ? interval_us / 1000 : Math.min(apart_ms, 2000);
    this.previous = this.latest;
    this.latest = state;
    // At rest nothing moves; a state that is other than the one before (a replay's seek) is shown at once.
    this.#durationMs = !settled ? interval_ms : this.#rested ? 0 : Math.min(interval_ms, LONGEST_REST_MS);
    this.#rested = settled;
    this.#arrivalMs = now_ms;
  }

  /** 0 is the previous state, 1 the latest. */
  progress(now_ms) {
    return this.#durationMs ? Math.min(1, Math.max(0, (now_ms - this.#arrivalMs) / this.#durationMs)) : 1;
  }

  /** Where node `index` is seen, into `place`. */
  position(index, t, place = [0, 0, 0]) {
    if (this.held?.index === index) return Object.assign(place, this.held.place);
    const at = X + STRIDE * index;
    for (let axis = 0; axis < 3; axis++) {
      const from = this.previous[at + axis];
      place[axis] = from + t * (this.latest[at + axis] - from);
    }
    return place;
  }

  get count() {
    return this.latest ? (this.latest.length - HEADER) / STRIDE : 0;
  }

  /** Centre and radius of nearly all nodes: a few that are far out do not count. Large graphs are sampled. */
  extent() {
    const { latest, count } = this;
    const step = STRIDE * Math.max(1, Math.floor(count / SAMPLED));
    const centre = [0, 0, 0];
    const found = [];
    for (let at = X; at < latest.length; at += step) {
      if (Number.isFinite(latest[at] + latest[at + 1] + latest[at + 2])) found.push(at);
    }
    if (!found.length) return { centre, radius: 1 };
    for (const at of found) for (let axis = 0; axis < 3; axis++) centre[axis] += latest[at + axis] / found.length;
    const distances = Float32Array.from(found, (at) =>
      Math.sqrt((latest[at] - centre[0]) ** 2 + (latest[at + 1] - centre[1]) ** 2 + (latest[at + 2] - centre[2]) ** 2),
    ).sort();
    return { centre, radius: distances[Math.floor(0.98 * (found.length - 1))] || 1 };
  }

  /**
   * All nodes on the screen, into `screen`: x and y in CSS pixels, then the depth (0 or less is behind the viewer).
   */
  project(matrix, width, height, t, screen) {
    const { previous, latest, count } = this;
    const [m0, m1, , m3, m4, m5, , m7, m8, m9, , m11, m12, m13, , m15] = matrix;
    for (let i = 0, at = X, to = 0; i < count; i++, at += STRIDE, to += 3) {
      const x = previous[at] + t * (latest[at] - previous[at]);
      const y = previous[at + 1] + t * (latest[at + 1] - previous[at + 1]);
      const z = previous[at + 2] + t * (latest[at + 2] - previous[at + 2]);
      const w = m3 * x + m7 * y + m11 * z + m15;
      screen[to] = (0.5 + (0.5 * (m0 * x + m4 * y + m8 * z + m12)) / w) * width;
      screen[to + 1] = (0.5 - (0.5 * (m1 * x + m5 * y + m9 * z + m13)) / w) * height;
      screen[to + 2] = w;
    }
  }
}
