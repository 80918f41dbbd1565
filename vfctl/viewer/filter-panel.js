/** The filter panel: search, kinds, depths and clusters. Its colours are the legend of the picture. */

import { categorical, css, sequential } from "./colours.js";
import { button, element, elementsOf, input } from "./dom.js";

/**
 * @import { ColourBy } from "./colours.js"
 * @import { Filter } from "./protocol.js"
 * @import { Facets } from "./scene.js"
 */

const DEBOUNCE_MS = 180;
const MAX_CHIPS = 200;
const RAMP_STOPS = [0, 0.25, 0.5, 0.75, 1];

/** Values of one column as buttons that can be pressed: a node passes if its value is one of those, or if none is pressed. */
class Chips {
  /** @type {HTMLElement} */
  #list;
  /** @type {(text: string) => string | number} */
  #parse;
  /** @type {() => void} */
  #onChange;
  /** @type {Set<string | number>} */
  #chosen = new Set();

  /**
   * @param {HTMLElement} list
   * @param {(text: string) => string | number} parse
   * @param {() => void} onChange
   */
  constructor(list, parse, onChange) {
    this.#list = list;
    this.#parse = parse;
    this.#onChange = onChange;
  }

  get chosen() {
    return [...this.#chosen];
  }

  clear() {
    this.#chosen.clear();
    this.#show();
  }

  /**
   * Other values. What was chosen and no longer exists is dropped.
   *
   * @param {{ value: string | number, count: number }[]} values
   */
  fill(values) {
    const known = new Set(values.map(({ value }) => value));
    this.#chosen = new Set(this.chosen.filter((value) => known.has(value)));
    this.#list.replaceChildren(...values.slice(0, MAX_CHIPS).map(({ value, count }) => this.#chip(value, count)));
    if (values.length > MAX_CHIPS) this.#list.append(`${values.length - MAX_CHIPS} more are not listed`);
    const section = this.#list.closest("section");
    if (section) section.hidden = values.length < 2;
    this.#show();
  }

  /**
   * @param {boolean} legend whether nodes have the colours of these values
   * @param {boolean} dark
   */
  showColours(legend, dark) {
    this.#list.classList.toggle("legend", legend);
    this.#chips().forEach((chip, rank) => chip.style.setProperty("--dot", css(categorical(rank, dark))));
  }

  #chips() {
    return elementsOf(HTMLButtonElement, "button", this.#list);
  }

  /**
   * @param {string | number} value
   * @param {number} count
   */
  #chip(value, count) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    const [dot, text, number] = ["i", "span", "small"].map((tag) => chip.appendChild(document.createElement(tag)));
    dot.setAttribute("aria-hidden", "true");
    text.textContent = value === "" ? "(none)" : String(value);
    number.textContent = count.toLocaleString();
    chip.dataset.value = String(value);
    chip.addEventListener("click", () => {
      if (!this.#chosen.delete(value)) this.#chosen.add(value);
      this.#show();
      this.#onChange();
    });
    return chip;
  }

  #show() {
    for (const chip of this.#chips()) {
      const value = this.#parse(chip.dataset.value ?? "");
      chip.setAttribute("aria-pressed", String(this.#chosen.has(value)));
    }
  }
}

export class FilterPanel {
  #search = input("search");
  #depths = element("depths");
  #depthText = element("depth-text");
  #from = input("depth-from");
  #to = input("depth-to");
  #track = element("track");
  #ramp = element("ramp");
  #clear = button("clear-filter");
  #kinds;
  #clusters;
  /** @type {(criteria: Filter) => void} */
  #onChange;
  /** @type {Facets | null} */
  #facets = null;
  #timer = 0;
  #emitted = "{}";

  /**
   * @param {{ onChange: (criteria: Filter) => void, onEnter: () => void }} handlers other criteria; Enter was pressed in the search
   */
  constructor({ onChange, onEnter }) {
    this.#onChange = onChange;
    this.#kinds = new Chips(element("kinds"), String, () => this.#emitSoon());
    this.#clusters = new Chips(element("clusters"), Number, () => this.#emitSoon());
    this.#search.addEventListener("input", () => this.#emitSoon());
    this.#search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") onEnter();
    });
    this.#from.addEventListener("input", () => this.#moveSlider(this.#to, Math.max(this.#from.valueAsNumber, this.#to.valueAsNumber)));
    this.#to.addEventListener("input", () => this.#moveSlider(this.#from, Math.min(this.#from.valueAsNumber, this.#to.valueAsNumber)));
    this.#clear.addEventListener("click", () => this.#clearAll());
  }

  /**
   * The criteria that are set; {} accepts every node.
   *
   * @returns {Filter}
   */
  get criteria() {
    /** @type {Filter} */
    const criteria = {};
    const [kinds, clusters] = [this.#kinds.chosen, this.#clusters.chosen];
    if (kinds.length) criteria.kind = kinds.map(String);
    if (clusters.length) criteria.cluster = clusters.map(Number);
    const depth = [this.#from.valueAsNumber, this.#to.valueAsNumber];
    const [low, high] = this.#facets?.depth ?? depth;
    if (depth[0] > low || depth[1] < high) criteria.depth = depth;
    const search = this.#search.value.trim();
    if (search) criteria.search = search;
    return criteria;
  }

  /** Whether any criterion is set. */
  get active() {
    return Object.keys(this.criteria).length > 0;
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  /**
   * If this field is the search and contains a text, clear it.
   *
   * @param {HTMLInputElement | null} field
   * @returns {boolean} whether there was a text
   */
  clearSearch(field) {
    if (field !== this.#search || !field.value) return false;
    field.value = "";
    this.#emit();
    return true;
  }

  /**
   * Another graph: other values to choose from.
   *
   * @param {Facets} facets
   */
  setFacets(facets) {
    // If nothing differs, the chips stay as they are, and so does the focus on one of them.
    if (JSON.stringify(facets) === JSON.stringify(this.#facets)) return;
    const depth = this.criteria.depth;
    this.#facets = facets;
    this.#kinds.fill(facets.kind);
    this.#clusters.fill(facets.cluster);
    this.#resetDepths();
    if (depth) [this.#from.value, this.#to.value] = depth.map(String);
    this.#showDepths();
  }

  /**
   * @param {ColourBy} mode
   * @param {boolean} dark
   */
  showColours(mode, dark) {
    this.#kinds.showColours(mode === "kind", dark);
    this.#clusters.showColours(mode === "cluster", dark);
    this.#ramp.hidden = mode !== "depth";
    const stops = RAMP_STOPS.map((share) => css(sequential(share, dark)));
    this.#ramp.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  }

  #clearAll() {
    this.#search.value = "";
    this.#kinds.clear();
    this.#clusters.clear();
    this.#resetDepths();
    this.#emit();
  }

  /**
   * One slider was moved, and pushes the other.
   *
   * @param {HTMLInputElement} other
   * @param {number} value
   */
  #moveSlider(other, value) {
    other.value = String(value);
    this.#showDepths();
    this.#emitSoon();
  }

  #resetDepths() {
    const [low, high] = (this.#facets?.depth ?? [0, 0]).map(String);
    for (const slider of [this.#from, this.#to]) Object.assign(slider, { min: low, max: high });
    this.#from.value = low;
    this.#to.value = high;
    this.#showDepths();
    this.#depths.hidden = low === high;
  }

  #showDepths() {
    const [from, to] = [this.#from.valueAsNumber, this.#to.valueAsNumber];
    this.#depthText.textContent = from === to ? `${from}` : `${from} – ${to}`;
    const [low, high] = this.#facets?.depth ?? [0, 1];
    /** @param {number} value */
    const share = (value) => `${(100 * (value - low)) / Math.max(1, high - low)}%`;
    this.#track.style.setProperty("--from", share(from));
    this.#track.style.setProperty("--to", share(to));
  }

  #emitSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#emit(), DEBOUNCE_MS);
  }

  #emit() {
    clearTimeout(this.#timer);
    const { criteria } = this;
    this.#clear.hidden = !this.active;
    const text = JSON.stringify(criteria);
    if (text === this.#emitted) return;
    this.#emitted = text;
    this.#onChange(criteria);
  }
}
