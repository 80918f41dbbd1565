/** What is shown: the graph, what the filter leaves of it, and who has selected which node. Nodes are known by their index. */

/** @import { Edges, FullGraphMessage, NoticeContent } from "./protocol.js" */

/**
 * @template T
 * @typedef {{ value: T, count: number }[]} Counted values and how often each occurs, the most frequent first
 */
/** @typedef {{ kind: Counted<string>, cluster: Counted<number>, depth: [number, number] }} Facets what one can filter by */

export class Graph {
  /** @param {FullGraphMessage} message */
  constructor(message) {
    this.ids = message.nodes.ids;
    this.count = this.ids.length;
    this.indices = new Map(Array.from(this.ids, (id, i) => [id, i]));
    this.labels = message.metadata?.label ?? Array.from(this.ids, (id) => `node ${id}`);
    this.kinds = message.metadata?.kind ?? new Array(this.count).fill("");
    this.depths = message.metadata?.depth ?? new Array(this.count).fill(0);
    this.clusters = message.metadata?.cluster ?? new Array(this.count).fill(0);
    /** Uint32Array [2 edges]: source and target index of edge 0, of edge 1, … */
    this.edges = this.#edgesOf(message.edges);
    this.edgeCount = this.edges.length / 2;
    this.degrees = new Uint32Array(this.count);
    for (const end of this.edges) this.degrees[end]++;
    /** The neighbours of node i are `linked` from starts[i] up to starts[i + 1]. */
    this.starts = new Uint32Array(this.count + 1);
    this.linked = new Uint32Array(this.edges.length);
    this.#link();
  }

  /** @param {Edges} edges */
  #edgesOf({ sources, targets }) {
    const ends = new Uint32Array(2 * sources.length);
    let at = 0;
    for (let i = 0; i < sources.length; i++) {
      const source = this.indices.get(sources[i]);
      const target = this.indices.get(targets[i]);
      if (source === undefined || target === undefined) continue;
      ends[at++] = source;
      ends[at++] = target;
    }
    return ends.subarray(0, at);
  }

  #link() {
    for (let i = 0; i < this.count; i++) this.starts[i + 1] = this.starts[i] + this.degrees[i];
    const next = this.starts.slice();
    for (let i = 0; i < this.edges.length; i += 2) {
      const [one, other] = [this.edges[i], this.edges[i + 1]];
      this.linked[next[one]++] = other;
      this.linked[next[other]++] = one;
    }
  }

  /**
   * Indices of the nodes that share an edge with this one, each once, those with most edges first.
   *
   * @param {number} index
   */
  neighbours(index) {
    const found = new Set(this.linked.subarray(this.starts[index], this.starts[index + 1]));
    return [...found].sort((one, other) => this.degrees[other] - this.degrees[one]);
  }

  /**
   * The edges of one node, as pairs of indices.
   *
   * @param {number} index
   */
  edgesAt(index) {
    return Uint32Array.from(this.neighbours(index).flatMap((other) => [index, other]));
  }

  /**
   * A node's size, in units of an average one: nodes with more edges are larger.
   *
   * @param {number} index
   */
  sizeOf(index) {
    const mean = Math.max(1, (2 * this.edgeCount) / Math.max(1, this.count));
    return Math.min(3.2, 0.62 + 0.42 * Math.sqrt(this.degrees[index] / mean));
  }
}

/**
 * @template {string | number} T
 * @param {T[]} values
 * @returns {Counted<T>}
 */
function counted(values) {
  /** @type {Map<T, number>} */
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([value, count]) => ({ value, count }));
}

/**
 * @param {Graph} graph
 * @returns {Facets}
 */
function facetsOf(graph) {
  let [low, high] = [Infinity, -Infinity];
  for (const depth of graph.depths) [low, high] = [Math.min(low, depth), Math.max(high, depth)];
  return { kind: counted(graph.kinds), cluster: counted(graph.clusters), depth: graph.count ? [low, high] : [0, 0] };
}

export class Scene {
  /**
   * The whole graph, of which `graph` is what the filter leaves; null before the first FullGraph.
   *
   * @type {Graph | null}
   */
  whole = null;
  /** @type {Graph | null} */
  graph = null;
  /** @type {Facets | null} */
  facets = null;
  /**
   * The id of the node that is selected on this page.
   *
   * @type {number | null}
   */
  selected = null;
  /** The index (in `graph`) of the node under the cursor, or -1. */
  hovered = -1;
  /**
   * What other clients have selected: node ids by the number of the client.
   *
   * @type {Map<number, number>}
   */
  others = new Map();

  /**
   * @param {FullGraphMessage} message
   * @param {boolean} filtered whether a filter may have left nodes out
   */
  setGraph(message, filtered) {
    const graph = new Graph(message);
    this.graph = graph;
    this.hovered = -1;
    if (filtered && this.whole) return graph;
    this.whole = graph;
    this.facets = facetsOf(graph);
    if (this.selected !== null && !graph.indices.has(this.selected)) this.selected = null;
    return graph;
  }

  /** After a reconnect, clients have other numbers. */
  clearOthers() {
    this.others.clear();
  }

  /** @param {number} id */
  shows(id) {
    return this.graph?.indices.has(id) ?? false;
  }

  /**
   * The index of this node among those that are shown, or -1.
   *
   * @param {number | null} id
   */
  indexOf(id) {
    return id === null ? -1 : (this.graph?.indices.get(id) ?? -1);
  }

  /** The index of the selected node among those that are shown, or -1. */
  get selectedIndex() {
    return this.indexOf(this.selected);
  }

  /** @param {NoticeContent} notice "selection": a client has selected a node, or (null) none. */
  applySelection({ client, node_id, own }) {
    if (own || typeof client !== "number") return;
    if (typeof node_id === "number") this.others.set(client, node_id);
    else this.others.delete(client);
  }

  /**
   * Indices of the selected node and its neighbours, which stand out; null without a selection.
   *
   * @returns {Set<number> | null}
   */
  get emphasised() {
    const index = this.selectedIndex;
    return this.graph && index >= 0 ? new Set([index, ...this.graph.neighbours(index)]) : null;
  }

  /** Indices of the nodes that always have a label, the most important first. */
  get labelled() {
    const index = this.selectedIndex;
    const neighbours = this.graph && index >= 0 ? this.graph.neighbours(index) : [];
    const others = [...this.others.values()].map((id) => this.indexOf(id));
    return [...new Set([this.hovered, index, ...others, ...neighbours])].filter((each) => each >= 0);
  }
}
