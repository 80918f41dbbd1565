/** What is looked at: the graph, who has selected what, and what of it stands out. */

import { Graph, facetsOf } from "./graph.js";

export class Scene {
  /** All that there is, and what the filter leaves of it. */
  all = null;
  graph = null;
  facets = null;
  /** The id of the node that is selected here, or null. */
  selected = null;
  /** The index (in `graph`) of the node under the cursor, or -1. */
  hovered = -1;
  /** What others have selected: number of the client to node id. */
  others = new Map();

  /** A FullGraph; of everything, or of what a filter leaves. */
  take(message, filtered) {
    this.graph = new Graph(message);
    this.hovered = -1;
    if (filtered && this.all) return;
    this.all = this.graph;
    this.facets = facetsOf(this.graph);
    if (this.selected !== null && !this.all.indices.has(this.selected)) this.selected = null;
  }

  /** A new connection: the others' numbers mean nothing any more. */
  forgetOthers() {
    this.others.clear();
  }

  shows(id) {
    return this.graph?.indices.has(id) ?? false;
  }

  /** The index of the selected node among those that are shown, or -1. */
  get selectedIndex() {
    return this.graph?.indices.get(this.selected) ?? -1;
  }

  select(id) {
    this.selected = id;
  }

  /** A Notice that somebody has selected something, or (null) nothing any more. One's own is told, too. */
  noticed({ client, node_id, own }) {
    if (own) return;
    if (node_id === null || node_id === undefined) this.others.delete(client);
    else this.others.set(client, node_id);
  }

  /** Indices that stand out: the selected node and its neighbours. Null: all alike. */
  get matters() {
    const index = this.selectedIndex;
    return index < 0 ? null : new Set([index, ...this.graph.neighbours(index)]);
  }

  /** Indices whose labels have to be there, the most important first. */
  get labelled() {
    const index = this.selectedIndex;
    const neighbours = index < 0 ? [] : this.graph.neighbours(index).sort((a, b) => this.graph.degrees[b] - this.graph.degrees[a]);
    const others = [...this.others.values()].map((id) => this.graph.indices.get(id)).filter((other) => other !== undefined);
    return [...new Set([this.hovered, index, ...others, ...neighbours])].filter((each) => each >= 0);
  }
}
