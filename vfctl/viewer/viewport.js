/** The projection of the graph to the screen: where each node is, and which node is under the cursor. */

import { FOCAL } from "./camera.js";

/**
 * @import { Camera } from "./camera.js"
 * @import { Interpolation } from "./interpolation.js"
 * @import { Graph } from "./scene.js"
 */

/**
 * @typedef {{ x: number, y: number, depth: number, radius: number }} ScreenPosition in CSS pixels, but for the depth
 *
 * @typedef {object} View what the renderer needs to know
 * @property {Float32Array} matrix view and projection, [16]
 * @property {number} width in CSS pixels
 * @property {number} height in CSS pixels
 * @property {number} ratio device pixels for each CSS pixel
 * @property {[number, number]} fog depths at which it begins and ends
 */

const MAX_RATIO = 2;
const MIN_RADIUS_PX = 1.2;
const MAX_RADIUS_PX = 45;

export class Viewport {
  width = 1;
  height = 1;
  progress = 1;
  /** The radius of an average node, in units of the graph. */
  nodeRadius = 1;
  camera;
  states;
  /** @type {Graph | null} */
  graph = null;
  #ratio = 1;
  #matrix = new Float32Array(16);
  #screen = new Float32Array();
  #stale = true;

  /**
   * @param {Camera} camera
   * @param {Interpolation} states
   */
  constructor(camera, states) {
    this.camera = camera;
    this.states = states;
  }

  /** @param {Graph} graph */
  setGraph(graph) {
    this.graph = graph;
    this.#screen = new Float32Array(3 * graph.count);
    this.#stale = true;
  }

  /**
   * @param {number} width in CSS pixels
   * @param {number} height in CSS pixels
   */
  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.#ratio = Math.min(MAX_RATIO, devicePixelRatio || 1);
    this.#stale = true;
  }

  /**
   * The picture of a new moment. To be called first in each frame.
   *
   * @param {number} now_ms
   */
  advance(now_ms) {
    this.progress = this.states.progress(now_ms);
    this.#matrix = this.camera.matrix(this.width, this.height);
    this.#stale = true;
  }

  /**
   * Adapts the size of nodes to the radius of the layout.
   *
   * @param {number} layoutRadius in units of the graph
   */
  scaleNodes(layoutRadius) {
    this.nodeRadius = (0.17 * layoutRadius) / Math.cbrt(Math.max(1, this.graph?.count ?? 0));
  }

  /** @returns {View} */
  get view() {
    const { distance, radius } = this.camera;
    const { width, height } = this;
    return { matrix: this.#matrix, width, height, ratio: this.#ratio, fog: [distance - 0.7 * radius, distance + 1.1 * radius] };
  }

  /**
   * Where a node is on the screen; null if it is behind the viewer.
   *
   * @param {number} index
   * @returns {ScreenPosition | null}
   */
  locate(index) {
    const [x, y, z] = this.states.position(index, this.progress);
    const m = this.#matrix;
    const depth = m[3] * x + m[7] * y + m[11] * z + m[15];
    if (!(depth > 0)) return null;
    return {
      x: (0.5 + (0.5 * (m[0] * x + m[4] * y + m[8] * z + m[12])) / depth) * this.width,
      y: (0.5 - (0.5 * (m[1] * x + m[5] * y + m[9] * z + m[13])) / depth) * this.height,
      depth,
      radius: this.radiusAt(index, depth),
    };
  }

  /**
   * A node's radius in CSS pixels.
   *
   * @param {number} index
   * @param {number} depth
   */
  radiusAt(index, depth) {
    const size = this.graph?.sizeOf(index) ?? 1;
    const radius = (0.5 * size * this.nodeRadius * FOCAL * this.height) / depth;
    return Math.min(MAX_RADIUS_PX, Math.max(MIN_RADIUS_PX, radius));
  }

  /** All nodes as x, y, depth. Computed at most once a frame, and only if it is needed. */
  get screen() {
    if (this.#stale) this.states.project(this.#matrix, this.width, this.height, this.progress, this.#screen);
    this.#stale = false;
    return this.#screen;
  }

  /**
   * The node at a position on the screen: the foremost one that covers it, else the nearest within `slack`; -1 if there is none.
   *
   * @param {number} x in CSS pixels
   * @param {number} y in CSS pixels
   * @param {number} slack in CSS pixels
   */
  pick(x, y, slack) {
    if (!this.graph) return -1;
    const { screen } = this;
    let [foremost, foremostDepth] = [-1, Infinity];
    let [nearest, nearestDistance] = [-1, slack];
    const reach = MAX_RADIUS_PX + slack;
    for (let i = 0, at = 0; i < this.graph.count; i++, at += 3) {
      const [dx, dy, depth] = [screen[at] - x, screen[at + 1] - y, screen[at + 2]];
      if (!(depth > 0) || dx > reach || dx < -reach || dy > reach || dy < -reach) continue;
      const distance = Math.sqrt(dx * dx + dy * dy) - this.radiusAt(i, depth);
      if (distance <= 0 && depth < foremostDepth) [foremost, foremostDepth] = [i, depth];
      if (distance < nearestDistance) [nearest, nearestDistance] = [i, distance];
    }
    return foremost >= 0 ? foremost : nearest;
  }
}
