/** Where each node is on the screen now, and which one is under the cursor. */

import { FOCAL } from "./camera.js";
import { sizeOf } from "./palette.js";

const LARGEST_RATIO = 2;

export class Stage {
  width = 1;
  height = 1;
  ratio = 1;
  progress = 1;
  #screen = new Float32Array();
  #stale = true;

  /** A node's radius, in units of the graph, and what it glides to. */
  unit = 1;

  constructor(camera, motion) {
    this.camera = camera;
    this.motion = motion;
    this.graph = null;
  }

  setGraph(graph) {
    this.graph = graph;
    this.#screen = new Float32Array(3 * graph.count);
    this.#stale = true;
  }

  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
    this.ratio = Math.min(LARGEST_RATIO, devicePixelRatio || 1);
    this.#stale = true;
  }

  /** To be called once for each picture, before all else. */
  advance(now_ms) {
    this.progress = this.motion.progress(now_ms);
    this.matrix = this.camera.matrix(this.width, this.height);
    this.#stale = true;
  }

  /** How large nodes are, for a layout of this radius. */
  unitFor(radius) {
    return (0.17 * radius) / Math.cbrt(Math.max(1, this.graph.count));
  }

  get view() {
    const { distance, radius } = this.camera;
    const fog = [distance - 0.7 * radius, distance + 1.1 * radius];
    return { matrix: this.matrix, width: this.width, height: this.height, ratio: this.ratio, fog };
  }

  /** Its place in CSS pixels, depth and radius on the screen; null if it is behind the viewer. */
  locate(index) {
    const [x, y, z] = this.motion.position(index, this.progress);
    const m = this.matrix;
    const depth = m[3] * x + m[7] * y + m[11] * z + m[15];
    if (!(depth > 0)) return null;
    return {
      x: (0.5 + (0.5 * (m[0] * x + m[4] * y + m[8] * z + m[12])) / depth) * this.width,
      y: (0.5 - (0.5 * (m[1] * x + m[5] * y + m[9] * z + m[13])) / depth) * this.height,
      depth,
      radius: this.radiusAt(index, depth),
    };
  }

  radiusAt(index, depth) {
    const radius = (0.5 * sizeOf(this.graph, index) * this.unit * FOCAL * this.height) / depth;
    return Math.min(45, Math.max(1.2, radius));
  }

  /** All nodes as x, y, depth. Worked out once a picture, and only if somebody asks. */
  get screen() {
    if (this.#stale) this.motion.project(this.matrix, this.width, this.height, this.progress, this.#screen);
    this.#stale = false;
    return this.#screen;
  }

  /** The index of the foremost node at a place in CSS pixels, else of the nearest within `slack` pixels; -1 if none. */
  pick(x, y, slack) {
    if (!this.graph) return -1;
    const { screen } = this;
    let [found, foundDepth] = [-1, Infinity];
    let [near, nearest] = [-1, slack];
    const reach = 45 + slack;
    for (let i = 0, at = 0; i < this.graph.count; i++, at += 3) {
      const [dx, dy, depth] = [screen[at] - x, screen[at + 1] - y, screen[at + 2]];
      if (!(depth > 0) || dx > reach || dx < -reach || dy > reach || dy < -reach) continue;
      const away = Math.sqrt(dx * dx + dy * dy) - this.radiusAt(i, depth);
      if (away <= 0 && depth < foundDepth) [found, foundDepth] = [i, depth];
      if (away < nearest) [near, nearest] = [i, away];
    }
    return found >= 0 ? found : near;
  }
}
