/** HTML elements over the picture: labels of the nearest nodes where there is space, and rings around selected nodes. */

import { context2d } from "./dom.js";

/**
 * @import { Graph } from "./scene.js"
 * @import { ScreenPosition, Viewport } from "./viewport.js"
 */

/**
 * @typedef {object} Ring
 * @property {string} key
 * @property {number} index of the node
 * @property {"hover" | "own" | "other"} kind
 * @property {string} [colour]
 * @property {string} [name]
 */

const MAX_LABELS = 26;
const MAX_FORCED = 40;
const CANDIDATES = 100;
const HEIGHT = 18;
const MAX_WIDTH = 220;
const CHOOSE_MS = 160;
/** A label that is shown scores higher, so labels do not flicker. */
const SHOWN_BONUS = 1.3;

export class Labels {
  /** @type {HTMLElement} */
  #layer;
  /** @type {HTMLElement[]} */
  #unused = [];
  /** @type {Map<number, HTMLElement>} */
  #shown = new Map();
  #chosenAt = -Infinity;
  /** @type {Map<number, number>} */
  #widths = new Map();
  #ruler = context2d(document.createElement("canvas"));

  enabled = true;

  /** @param {HTMLElement} layer */
  constructor(layer) {
    this.#layer = layer;
    this.#ruler.font = `500 12px ${getComputedStyle(document.body).fontFamily}`;
  }

  /** Another graph: indices now mean other nodes. */
  clear() {
    for (const index of [...this.#shown.keys()]) this.#hide(index);
    this.#chosenAt = -Infinity;
    this.#widths.clear();
  }

  /** Choose the labels again in the next frame. */
  refresh() {
    this.#chosenAt = -Infinity;
  }

  /**
   * @param {Viewport} viewport
   * @param {number[]} forced indices of the nodes that always have a label, the most important first
   * @param {number} now_ms
   * @param {{ forcedOnly: boolean }} options
   */
  draw(viewport, forced, now_ms, { forcedOnly }) {
    if (viewport.graph && now_ms - this.#chosenAt >= CHOOSE_MS) {
      this.#choose(viewport, viewport.graph, forced, forcedOnly);
      this.#chosenAt = now_ms;
    }
    for (const [index, element] of this.#shown) {
      const position = viewport.locate(index);
      element.style.visibility = position ? "" : "hidden";
      if (position) element.style.transform = beside(position, element.classList.contains("flipped"));
    }
  }

  /**
   * @param {Viewport} viewport
   * @param {Graph} graph
   * @param {number[]} forced
   * @param {boolean} forcedOnly
   */
  #choose(viewport, graph, forced, forcedOnly) {
    const { screen } = viewport;
    const wanted = forced.slice(0, MAX_FORCED);
    const must = new Set(wanted);
    if (this.enabled && !forcedOnly) wanted.push(...this.#nearest(viewport, graph, must));
    /** @type {{ left: number, right: number, top: number, bottom: number }[]} */
    const boxes = [];
    /** @type {Map<number, boolean>} */
    const keep = new Map();
    for (const index of wanted) {
      if (keep.size >= MAX_LABELS && !must.has(index)) break;
      const [x, y, depth] = screen.subarray(3 * index, 3 * index + 3);
      if (!(depth > 0)) continue;
      const [radius, size] = [viewport.radiusAt(index, depth), this.#widthOf(graph, index)];
      const flipped = x + radius + size > viewport.width - viewport.camera.insets.right;
      const left = flipped ? x - radius - 3 - size : x + radius + 3;
      const box = { left, right: left + size, top: y - HEIGHT / 2, bottom: y + HEIGHT / 2 };
      const crossing = boxes.some((other) => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom);
      if (crossing && index !== forced[0]) continue;
      boxes.push(box);
      keep.set(index, flipped);
    }
    for (const index of [...this.#shown.keys()]) if (!keep.has(index)) this.#hide(index);
    for (const [index, flipped] of keep) {
      const element = this.#shown.get(index) ?? this.#show(graph, index);
      element.classList.toggle("flipped", flipped);
      element.classList.toggle("forced", must.has(index));
    }
  }

  /**
   * The nodes that look largest, within the picture. One pass keeps the best, because sorting all nodes takes too long.
   *
   * @param {Viewport} viewport
   * @param {Graph} graph
   * @param {Set<number>} must
   */
  #nearest({ screen, width, height }, graph, must) {
    /** @type {number[]} */
    const best = [];
    /** @type {number[]} */
    const scores = [];
    for (let i = 0, at = 0; i < graph.count; i++, at += 3) {
      const depth = screen[at + 2];
      if (!(depth > 0)) continue;
      const [x, y] = [screen[at], screen[at + 1]];
      if (x < 0 || y < 8 || x > width - 20 || y > height - 8) continue;
      const score = ((1 + Math.sqrt(graph.degrees[i])) / (depth * depth)) * (this.#shown.has(i) ? SHOWN_BONUS : 1);
      if ((best.length === CANDIDATES && score <= scores[CANDIDATES - 1]) || must.has(i)) continue;
      let rank = Math.min(best.length, CANDIDATES - 1);
      for (; rank > 0 && scores[rank - 1] < score; rank--) {
        scores[rank] = scores[rank - 1];
        best[rank] = best[rank - 1];
      }
      scores[rank] = score;
      best[rank] = i;
    }
    return best;
  }

  /**
   * @param {Graph} graph
   * @param {number} index
   */
  #widthOf(graph, index) {
    let width = this.#widths.get(index);
    if (width === undefined) {
      width = Math.min(MAX_WIDTH, this.#ruler.measureText(graph.labels[index]).width) + 10;
      this.#widths.set(index, width);
    }
    return width;
  }

  /**
   * @param {Graph} graph
   * @param {number} index
   */
  #show(graph, index) {
    const element = this.#unused.pop() ?? this.#layer.appendChild(document.createElement("span"));
    element.textContent = graph.labels[index];
    element.hidden = false;
    this.#shown.set(index, element);
    return element;
  }

  /** @param {number} index */
  #hide(index) {
    const element = this.#shown.get(index);
    if (!element) return;
    element.hidden = true;
    this.#unused.push(element);
    this.#shown.delete(index);
  }
}

/**
 * To the right of the node, or to the left where a panel is in the way.
 *
 * @param {ScreenPosition} position
 * @param {boolean} flipped
 */
function beside({ x, y, radius }, flipped) {
  const across = flipped ? `calc(${(x - radius - 5).toFixed(1)}px - 100%)` : `${(x + radius + 5).toFixed(1)}px`;
  return `translate(${across}, ${(y - HEIGHT / 2).toFixed(1)}px)`;
}

export class Rings {
  /** @type {HTMLElement} */
  #layer;
  /** @type {Map<string, HTMLElement>} */
  #rings = new Map();

  /** @param {HTMLElement} layer */
  constructor(layer) {
    this.#layer = layer;
  }

  /**
   * @param {Viewport} viewport
   * @param {Ring[]} wanted
   */
  draw(viewport, wanted) {
    const keys = new Set(wanted.map(({ key }) => key));
    for (const [key, ring] of this.#rings) {
      if (keys.has(key)) continue;
      ring.remove();
      this.#rings.delete(key);
    }
    for (const { key, index, kind, colour, name } of wanted) {
      let ring = this.#rings.get(key);
      if (!ring) {
        ring = this.#layer.appendChild(document.createElement("div"));
        ring.className = `ring ${kind}`;
        this.#rings.set(key, ring);
      }
      const position = viewport.locate(index);
      ring.style.visibility = position ? "" : "hidden";
      if (!position) continue;
      const size = Math.round(2 * position.radius + (kind === "other" ? 14 : 8));
      ring.style.width = ring.style.height = `${size}px`;
      ring.style.transform = `translate(${(position.x - size / 2).toFixed(1)}px, ${(position.y - size / 2).toFixed(1)}px)`;
      if (colour) ring.style.setProperty("--colour", colour);
      if (name && ring.dataset.name !== name) ring.dataset.name = name;
    }
  }
}
