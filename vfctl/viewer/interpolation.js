/**
 * The last two states of the graph, and the positions between them that are shown now.
 *
 * A state is a Float32Array laid out like a raw PositionUpdate: 2 words of header, then 7 words for each node (id, x y z, velocity).
 * A raw message is used without copying it. Other encodings are converted to the same layout.
 */

import { HEADER_BYTES, NODE_BYTES } from "./protocol.js";

/** @import { FullGraphMessage, PositionUpdateMessage } from "./protocol.js" */

/**
 * @typedef {[number, number, number]} Point
 * @typedef {{ centre: Point, radius: number }} Extent
 * @typedef {{ index: number, position: Point }} Held a node that is dragged here: it is shown at this position, whatever the server sends
 */

const HEADER = HEADER_BYTES / 4;
const STRIDE = NODE_BYTES / 4;
/** The word with the x of node 0. */
const X = HEADER + 1;

const DEFAULT_INTERVAL_MS = 50;
const MAX_INTERVAL_MS = 2000;
const MAX_SETTLING_MS = 250;
const SAMPLED_NODES = 2000;
/** The extent holds this share of the nodes, so a few outliers do not matter. */
const EXTENT_SHARE = 0.98;

/**
 * The state in a decoded message.
 *
 * @param {FullGraphMessage | PositionUpdateMessage} message
 * @param {ArrayBuffer} data the message as received
 */
export function stateOf({ nodes, count }, data) {
  const words = HEADER + STRIDE * count;
  const { records } = nodes;
  if (records?.buffer === data && records.byteOffset === HEADER_BYTES) return new Float32Array(data, 0, words);
  const state = new Float32Array(words);
  if (records) {
    new Uint8Array(state.buffer).set(records, HEADER_BYTES);
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

export class Interpolation {
  #arrivalMs = 0;
  #durationMs = 0;
  #settled = false;
  #previous = new Float32Array(HEADER);
  #latest = new Float32Array(HEADER);

  /** @type {Held | null} */
  held = null;

  /** The latest state. */
  get latest() {
    return this.#latest;
  }

  get count() {
    return (this.#latest.length - HEADER) / STRIDE;
  }

  /**
   * The first state of a graph.
   *
   * @param {Float32Array<ArrayBuffer>} state
   */
  begin(state) {
    this.#previous = this.#latest = state;
    this.#durationMs = 0;
    this.#settled = false;
    this.held = null;
  }

  /**
   * The next state.
   *
   * @param {Float32Array<ArrayBuffer>} state
   * @param {{ settled: boolean, interval_us?: number }} update its interval is the time until the state after it
   * @param {number} now_ms
   */
  advance(state, { settled, interval_us }, now_ms) {
    const sinceLast_ms = this.#arrivalMs ? now_ms - this.#arrivalMs : DEFAULT_INTERVAL_MS;
    const interval_ms = interval_us ? interval_us / 1000 : Math.min(sinceLast_ms, MAX_INTERVAL_MS);
    this.#previous = this.#latest;
    this.#latest = state;
    // A settled graph does not move. A state that differs nevertheless (after a seek in a replay) is shown at once.
    this.#durationMs = !settled ? interval_ms : this.#settled ? 0 : Math.min(interval_ms, MAX_SETTLING_MS);
    this.#settled = settled;
    this.#arrivalMs = now_ms;
  }

  /**
   * How far the picture is: 0 is the previous state, 1 the latest.
   *
   * @param {number} now_ms
   */
  progress(now_ms) {
    return this.#durationMs ? Math.min(1, Math.max(0, (now_ms - this.#arrivalMs) / this.#durationMs)) : 1;
  }

  /**
   * Where a node is shown, in units of the graph.
   *
   * @param {number} index
   * @param {number} progress
   * @returns {Point}
   */
  position(index, progress) {
    if (this.held?.index === index) return [...this.held.position];
    const at = X + STRIDE * index;
    /** @param {number} axis */
    const coordinate = (axis) => {
      const from = this.#previous[at + axis];
      return from + progress * (this.#latest[at + axis] - from);
    };
    return [coordinate(0), coordinate(1), coordinate(2)];
  }

  /**
   * A sphere around nearly all nodes of the latest state. Large graphs are sampled.
   *
   * @returns {Extent}
   */
  extent() {
    const latest = this.#latest;
    const step = STRIDE * Math.max(1, Math.floor(this.count / SAMPLED_NODES));
    /** @type {Point} */
    const centre = [0, 0, 0];
    const sampled = [];
    for (let at = X; at < latest.length; at += step) {
      if (Number.isFinite(latest[at] + latest[at + 1] + latest[at + 2])) sampled.push(at);
    }
    if (!sampled.length) return { centre, radius: 1 };
    for (const at of sampled) for (let axis = 0; axis < 3; axis++) centre[axis] += latest[at + axis] / sampled.length;
    const distances = Float32Array.from(sampled, (at) =>
      Math.sqrt((latest[at] - centre[0]) ** 2 + (latest[at + 1] - centre[1]) ** 2 + (latest[at + 2] - centre[2]) ** 2),
    ).sort();
    return { centre, radius: distances[Math.floor(EXTENT_SHARE * (sampled.length - 1))] || 1 };
  }

  /**
   * Projects all nodes to the screen.
   *
   * @param {Float32Array} matrix view and projection, [16], column by column
   * @param {number} width in CSS pixels
   * @param {number} height in CSS pixels
   * @param {number} progress
   * @param {Float32Array} screen the result, [3 n]: x and y in CSS pixels, then the depth (0 or less is behind the viewer)
   */
  project(matrix, width, height, progress, screen) {
    const [previous, latest, count] = [this.#previous, this.#latest, this.count];
    const [m0, m1, , m3, m4, m5, , m7, m8, m9, , m11, m12, m13, , m15] = matrix;
    for (let i = 0, at = X, to = 0; i < count; i++, at += STRIDE, to += 3) {
      const x = previous[at] + progress * (latest[at] - previous[at]);
      const y = previous[at + 1] + progress * (latest[at + 1] - previous[at + 1]);
      const z = previous[at + 2] + progress * (latest[at + 2] - previous[at + 2]);
      const w = m3 * x + m7 * y + m11 * z + m15;
      screen[to] = (0.5 + (0.5 * (m0 * x + m4 * y + m8 * z + m12)) / w) * width;
      screen[to + 1] = (0.5 - (0.5 * (m1 * x + m5 * y + m9 * z + m13)) / w) * height;
      screen[to + 2] = w;
    }
  }
}
