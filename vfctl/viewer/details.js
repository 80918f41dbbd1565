/** The panel about one node. */

import { css } from "./palette.js";

const MOST_NEIGHBOURS = 300;

export class Details {
  #panel = document.getElementById("details");
  #onSelect;

  /** `onSelect(id)`: another node has been chosen here, null for none; `onCentre()`. */
  constructor(onSelect, onCentre) {
    this.#onSelect = onSelect;
    document.getElementById("close-details").addEventListener("click", () => onSelect(null));
    document.getElementById("centre").addEventListener("click", onCentre);
  }

  /** `graph` is the whole graph, `shown(id)` whether the filter lets a node through. */
  show(graph, index, colourOf, shown) {
    this.#panel.hidden = false;
    const id = graph.ids[index];
    const put = (name, text) => (document.getElementById(name).textContent = text);
    put("node-label", graph.labels[index]);
    put("node-kind", graph.kinds[index] || "–");
    put("node-depth", graph.depths[index]);
    put("node-cluster", graph.clusters[index]);
    put("node-id", id);
    document.getElementById("node-dot").style.background = css(colourOf(index));
    document.getElementById("node-hidden").hidden = shown(id);
    document.getElementById("centre").disabled = !shown(id);
    const neighbours = graph.neighbours(index).sort((a, b) => graph.degrees[b] - graph.degrees[a]);
    put("neighbour-count", neighbours.length.toLocaleString());
    const items = neighbours.slice(0, MOST_NEIGHBOURS).map((other) => {
      const button = document.createElement("button");
      button.type = "button";
      const dot = button.appendChild(document.createElement("i"));
      dot.style.background = css(colourOf(other));
      button.appendChild(document.createElement("span")).textContent = graph.labels[other];
      button.appendChild(document.createElement("small")).textContent = graph.kinds[other];
      button.classList.toggle("absent", !shown(graph.ids[other]));
      button.addEventListener("click", () => this.#onSelect(graph.ids[other]));
      const item = document.createElement("li");
      item.append(button);
      return item;
    });
    const list = document.getElementById("neighbours");
    list.replaceChildren(...items);
    list.scrollTop = 0;
    const rest = document.getElementById("more-neighbours");
    rest.hidden = neighbours.length <= MOST_NEIGHBOURS;
    rest.textContent = `and ${neighbours.length - MOST_NEIGHBOURS} more`;
  }

  hide() {
    this.#panel.hidden = true;
  }
}
