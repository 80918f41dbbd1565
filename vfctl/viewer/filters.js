/** The filter panel: search, kinds, depths and clusters; with their colours it is the legend, too. */

import { categorical, css, sequential } from "./palette.js";

const DEBOUNCE_MS = 180;
const MOST_CHIPS = 200;

/** Emits `change` with the criteria of a FilterUpdate in `event.detail`, and `enter` when the search is done. */
export class Filters extends EventTarget {
  #facets = null;
  #chosen = { kind: new Set(), cluster: new Set() };
  #timer = null;
  #search = document.getElementById("search");
  #from = document.getElementById("depth-from");
  #to = document.getElementById("depth-to");
  #said = "{}";

  constructor() {
    super();
    this.#search.addEventListener("input", () => this.#soon());
    this.#search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.dispatchEvent(new Event("enter"));
    });
    for (const [slider, other, wins] of [[this.#from, this.#to, Math.max], [this.#to, this.#from, Math.min]]) {
      slider.addEventListener("input", () => {
        other.value = wins(Number(slider.value), Number(other.value));
        this.#showDepths();
        this.#soon();
      });
    }
    document.getElementById("clear-filter").addEventListener("click", () => this.clear());
  }

  /** The criteria that are set: {} is everything. */
  get criteria() {
    const criteria = {};
    for (const name of ["kind", "cluster"]) if (this.#chosen[name].size) criteria[name] = [...this.#chosen[name]];
    const depth = [Number(this.#from.value), Number(this.#to.value)];
    const [low, high] = this.#facets?.depth ?? depth;
    if (depth[0] > low || depth[1] < high) criteria.depth = depth;
    const search = this.#search.value.trim();
    if (search) criteria.search = search;
    return criteria;
  }

  clear() {
    this.#search.value = "";
    for (const name of ["kind", "cluster"]) this.#chosen[name].clear();
    this.#resetDepths();
    this.#showChips();
    this.#now();
  }

  clearSearch() {
    if (!this.#search.value) return false;
    this.#search.value = "";
    this.#now();
    return true;
  }

  /** Another graph: what there is to choose. What was chosen and is gone is not chosen any more. */
  setFacets(facets) {
    if (JSON.stringify(facets) === JSON.stringify(this.#facets)) return; // the chips stay, and the focus on one of them
    const wanted = this.criteria.depth;
    this.#facets = facets;
    for (const name of ["kind", "cluster"]) {
      const known = new Set(facets[name].map(({ value }) => value));
      this.#chosen[name] = new Set([...this.#chosen[name]].filter((value) => known.has(value)));
      this.#fill(name, facets[name]);
    }
    this.#resetDepths();
    if (wanted) [this.#from.value, this.#to.value] = wanted;
    this.#showDepths();
    this.#showChips();
  }

  /** By what nodes are coloured: the dots of its chips, or the ramp of the depths. */
  showColours(mode, dark) {
    for (const name of ["kind", "cluster"]) {
      const list = document.getElementById(`${name}s`);
      list.classList.toggle("legend", mode === name);
      list.querySelectorAll("button").forEach((chip, rank) => chip.style.setProperty("--dot", css(categorical(rank, dark))));
    }
    const ramp = document.getElementById("ramp");
    ramp.hidden = mode !== "depth";
    const stops = [0, 0.25, 0.5, 0.75, 1].map((share) => css(sequential(share, dark)));
    ramp.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  }

  #fill(name, values) {
    const list = document.getElementById(`${name}s`);
    const chips = values.slice(0, MOST_CHIPS).map(({ value, count }) => {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "chip";
      const [dot, text, number] = ["i", "span", "small"].map((tag) => chip.appendChild(document.createElement(tag)));
      dot.setAttribute("aria-hidden", "true");
      text.textContent = value === "" ? "(none)" : value;
      number.textContent = count.toLocaleString();
      chip.dataset.value = value;
      chip.addEventListener("click", () => {
        const chosen = this.#chosen[name];
        if (!chosen.delete(value)) chosen.add(value);
        this.#showChips();
        this.#soon();
      });
      return chip;
    });
    list.replaceChildren(...chips);
    if (values.length > MOST_CHIPS) list.append(`and ${values.length - MOST_CHIPS} more, not listed`);
    list.closest("section").hidden = values.length < 2;
  }

  #resetDepths() {
    const [low, high] = this.#facets?.depth ?? [0, 0];
    for (const slider of [this.#from, this.#to]) Object.assign(slider, { min: low, max: high });
    this.#from.value = low;
    this.#to.value = high;
    this.#showDepths();
    document.getElementById("depths").hidden = low === high;
  }

  #showDepths() {
    const [from, to] = [Number(this.#from.value), Number(this.#to.value)];
    document.getElementById("depth-text").textContent = from === to ? `${from}` : `${from} – ${to}`;
    const [low, high] = this.#facets?.depth ?? [0, 1];
    const track = document.getElementById("track");
    const share = (value) => `${(100 * (value - low)) / Math.max(1, high - low)}%`;
    track.style.setProperty("--from", share(from));
    track.style.setProperty("--to", share(to));
  }

  #showChips() {
    for (const name of ["kind", "cluster"]) {
      for (const chip of document.getElementById(`${name}s`).querySelectorAll("button")) {
        const value = name === "cluster" ? Number(chip.dataset.value) : chip.dataset.value;
        chip.setAttribute("aria-pressed", this.#chosen[name].has(value));
      }
    }
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#now(), DEBOUNCE_MS);
  }

  #now() {
    clearTimeout(this.#timer);
    const { criteria } = this;
    document.getElementById("clear-filter").hidden = !Object.keys(criteria).length;
    const text = JSON.stringify(criteria);
    if (text === this.#said) return;
    this.#said = text;
    this.dispatchEvent(new CustomEvent("change", { detail: criteria }));
  }
}
