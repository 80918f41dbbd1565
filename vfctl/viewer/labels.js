/** Labels of the nearest nodes, where there is room; and rings around those that are selected, here or by others. */

const MOST = 26;
const CANDIDATES = 100;
const FORCED_MOST = 40;
const HEIGHT = 18;
const CHOOSE_MS = 160;
const LOYALTY = 1.3;

export class Labels {
  #layer;
  #free = [];
  #shown = new Map();
  #chosenAt = -Infinity;
  #widths = new Map();
  #ruler = document.createElement("canvas").getContext("2d");

  enabled = true;

  constructor(layer) {
    this.#layer = layer;
    this.#ruler.font = `500 12px ${getComputedStyle(document.body).fontFamily}`;
  }

  /** Another graph: indices mean others. */
  clear() {
    for (const index of [...this.#shown.keys()]) this.#release(index);
    this.#chosenAt = -Infinity;
    this.#widths.clear();
  }

  /** Choose again with the next picture. */
  refresh() {
    this.#chosenAt = -Infinity;
  }

  /** `forced`: indices that always have theirs, the most important first; with `alone` no others have one. */
  draw(stage, forced, now_ms, { alone = false } = {}) {
    if (now_ms - this.#chosenAt >= CHOOSE_MS) {
      this.#choose(stage, forced, alone);
      this.#chosenAt = now_ms;
    }
    for (const [index, element] of this.#shown) {
      const place = stage.locate(index);
      if (!place) {
        element.style.visibility = "hidden";
        continue;
      }
      element.style.visibility = "";
      element.style.transform = at(place, element.classList.contains("flipped"));
    }
  }

  #choose(stage, forced, alone) {
    const { graph, screen } = stage;
    const wanted = forced.slice(0, FORCED_MOST);
    const must = new Set(wanted);
    if (this.enabled && !alone) wanted.push(...this.#nearest(stage, must));
    const boxes = [];
    const keep = new Map();
    for (const index of wanted) {
      if (keep.size >= MOST && !must.has(index)) break;
      const [x, y, depth] = screen.subarray(3 * index, 3 * index + 3);
      if (!(depth > 0)) continue;
      const [radius, size] = [stage.radiusAt(index, depth), this.#width(graph, index)];
      const flipped = x + radius + size > stage.width - stage.camera.insets.right;
      const left = flipped ? x - radius - 3 - size : x + radius + 3;
      const box = { left, right: left + size, top: y - HEIGHT / 2, bottom: y + HEIGHT / 2 };
      const crossing = boxes.some((other) => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom);
      if (crossing && index !== forced[0]) continue;
      boxes.push(box);
      keep.set(index, flipped);
    }
    for (const index of [...this.#shown.keys()]) if (!keep.has(index)) this.#release(index);
    for (const [index, flipped] of keep) {
      const element = this.#shown.get(index) ?? this.#take(graph, index);
      element.classList.toggle("flipped", flipped);
      element.classList.toggle("forced", must.has(index));
    }
  }

  /** Those that look largest, within the picture. */
  #nearest({ graph, screen, width, height }, must) {
    const best = [];
    const scores = [];
    for (let i = 0, at = 0; i < graph.count; i++, at += 3) {
      const depth = screen[at + 2];
      if (!(depth > 0)) continue;
      const [x, y] = [screen[at], screen[at + 1]];
      if (x < 0 || y < 8 || x > width - 20 || y > height - 8) continue;
      const score = ((1 + Math.sqrt(graph.degrees[i])) / (depth * depth)) * (this.#shown.has(i) ? LOYALTY : 1);
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

  #width(graph, index) {
    let width = this.#widths.get(index);
    if (width === undefined) {
      width = Math.min(220, this.#ruler.measureText(graph.labels[index]).width) + 10;
      this.#widths.set(index, width);
    }
    return width;
  }

  #take(graph, index) {
    const element = this.#free.pop() ?? this.#layer.appendChild(document.createElement("span"));
    element.textContent = graph.labels[index];
    element.hidden = false;
    this.#shown.set(index, element);
    return element;
  }

  #release(index) {
    const element = this.#shown.get(index);
    element.hidden = true;
    this.#free.push(element);
    this.#shown.delete(index);
  }
}

/** Right of its node, or left of it where a panel is in the way. */
function at({ x, y, radius }, flipped) {
  const across = flipped ? `calc(${(x - radius - 5).toFixed(1)}px - 100%)` : `${(x + radius + 5).toFixed(1)}px`;
  return `translate(${across}, ${(y - HEIGHT / 2).toFixed(1)}px)`;
}

export class Rings {
  #layer;
  #rings = new Map();

  constructor(layer) {
    this.#layer = layer;
  }

  /** `wanted`: [{key, index, kind: "hover" | "own" | "other", colour, name}]. */
  draw(stage, wanted) {
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
      const place = stage.locate(index);
      ring.style.visibility = place ? "" : "hidden";
      if (!place) continue;
      const size = Math.round(2 * place.radius + (kind === "other" ? 14 : 8));
      ring.style.width = ring.style.height = `${size}px`;
      ring.style.transform = `translate(${(place.x - size / 2).toFixed(1)}px, ${(place.y - size / 2).toFixed(1)}px)`;
      if (colour) ring.style.setProperty("--colour", colour);
      if (name && ring.dataset.name !== name) ring.dataset.name = name;
    }
  }
}
