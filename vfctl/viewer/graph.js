/** What a FullGraph says beside the positions: who is there and who is linked. Nodes are known by their index in it. */

export class Graph {
  /** A decoded FullGraph. */
  constructor(message) {
    const { metadata = {} } = message;
    this.ids = message.nodes.ids;
    this.count = this.ids.length;
    this.indices = new Map(Array.from(this.ids, (id, i) => [id, i]));
    this.labels = metadata.label ?? Array.from(this.ids, (id) => `node ${id}`);
    this.kinds = metadata.kind ?? new Array(this.count).fill("");
    this.depths = metadata.depth ?? new Array(this.count).fill(0);
    this.clusters = metadata.cluster ?? new Array(this.count).fill(0);
    this.edges = this.#edgesOf(message.edges);
    this.edgeCount = this.edges.length / 2;
    this.degrees = new Uint32Array(this.count);
    for (const end of this.edges) this.degrees[end]++;
    this.#link();
  }

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

  /** Who is linked with whom, as one array: those of node i from starts[i] to starts[i + 1]. */
  #link() {
    this.starts = new Uint32Array(this.count + 1);
    for (let i = 0; i < this.count; i++) this.starts[i + 1] = this.starts[i] + this.degrees[i];
    this.linked = new Uint32Array(this.edges.length);
    const next = this.starts.slice();
    for (let i = 0; i < this.edges.length; i += 2) {
      const [one, other] = [this.edges[i], this.edges[i + 1]];
      this.linked[next[one]++] = other;
      this.linked[next[other]++] = one;
    }
  }

  /** Indices of the nodes that are linked with this one, each once. */
  neighbours(index) {
    return [...new Set(this.linked.subarray(this.starts[index], this.starts[index + 1]))];
  }

  /** The edges of one node, as pairs of indices. */
  edgesAt(index) {
    return Uint32Array.from(this.neighbours(index).flatMap((other) => [index, other]));
  }
}

/** What there is to filter by: kinds and clusters, the most frequent first, and the range of depths. */
export function facetsOf(graph) {
  const counted = (values) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)).map(([value, count]) => ({ value, count }));
  };
  let [low, high] = [Infinity, -Infinity];
  for (const depth of graph.depths) [low, high] = [Math.min(low, depth), Math.max(high, depth)];
  return {
    kind: counted(graph.kinds),
    cluster: counted(graph.clusters),
    depth: graph.count ? [low, high] : [0, 0],
  };
}
