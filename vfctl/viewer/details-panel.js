/** The panel about the selected node. */

import { css } from "./colours.js";
import { button, element } from "./dom.js";

/**
 * @import { Rgb } from "./colours.js"
 * @import { Graph } from "./scene.js"
 */

const MAX_NEIGHBOURS = 300;

export class DetailsPanel {
  #panel = element("details");
  #label = element("node-label");
  #kind = element("node-kind");
  #depth = element("node-depth");
  #cluster = element("node-cluster");
  #id = element("node-id");
  #dot = element("node-dot");
  #hiddenNote = element("node-hidden");
  #centre = button("centre");
  #neighbourCount = element("neighbour-count");
  #neighbours = element("neighbours");
  #moreNeighbours = element("more-neighbours");
  /** @type {(id: number | null) => void} */
  #onSelect;

  /** @param {{ onSelect: (id: number | null) => void, onCentre: () => void }} handlers a node was chosen in the panel, or (null) none */
  constructor({ onSelect, onCentre }) {
    this.#onSelect = onSelect;
    button("close-details").addEventListener("click", () => onSelect(null));
    this.#centre.addEventListener("click", onCentre);
  }

  /**
   * @param {Graph} graph the whole graph
   * @param {number} index
   * @param {(index: number) => Rgb} colourOf
   * @param {(id: number) => boolean} isShown whether the filter accepts a node
   */
  show(graph, index, colourOf, isShown) {
    this.#panel.hidden = false;
    const id = graph.ids[index];
    const shown = isShown(id);
    this.#label.textContent = graph.labels[index];
    this.#kind.textContent = graph.kinds[index] || "–";
    this.#depth.textContent = String(graph.depths[index]);
    this.#cluster.textContent = String(graph.clusters[index]);
    this.#id.textContent = String(id);
    this.#dot.style.background = css(colourOf(index));
    this.#hiddenNote.hidden = shown;
    this.#centre.disabled = !shown;
    const neighbours = graph.neighbours(index);
    this.#neighbourCount.textContent = neighbours.length.toLocaleString();
    const items = neighbours.slice(0, MAX_NEIGHBOURS).map((other) => this.#item(graph, other, colourOf, isShown));
    this.#neighbours.replaceChildren(...items);
    this.#neighbours.scrollTop = 0;
    this.#moreNeighbours.hidden = neighbours.length <= MAX_NEIGHBOURS;
    this.#moreNeighbours.textContent = `${neighbours.length - MAX_NEIGHBOURS} more are not listed`;
  }

  hide() {
    this.#panel.hidden = true;
  }

  /**
   * @param {Graph} graph
   * @param {number} index
   * @param {(index: number) => Rgb} colourOf
   * @param {(id: number) => boolean} isShown
   */
  #item(graph, index, colourOf, isShown) {
    const link = document.createElement("button");
    link.type = "button";
    link.appendChild(document.createElement("i")).style.background = css(colourOf(index));
    link.appendChild(document.createElement("span")).textContent = graph.labels[index];
    link.appendChild(document.createElement("small")).textContent = graph.kinds[index];
    link.classList.toggle("absent", !isShown(graph.ids[index]));
    link.addEventListener("click", () => this.#onSelect(graph.ids[index]));
    const item = document.createElement("li");
    item.append(link);
    return item;
  }
}
