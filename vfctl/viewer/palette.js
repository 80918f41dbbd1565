/** Colours, mixed in OKLCH so that those of one list are equally light, in light and in dark. */

const HUES = [258, 48, 158, 350, 205, 95, 305, 25, 130, 230, 280, 70];

/** OKLCH to sRGB, three numbers from 0 to 1 (Ottosson, 2020). */
export function oklch(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const [a, b] = [chroma * Math.cos(angle), chroma * Math.sin(angle)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map((value) => {
    const clipped = Math.min(1, Math.max(0, value));
    return clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055;
  });
}

export function css(rgb) {
  return `rgb(${rgb.map((value) => Math.round(255 * value)).join(" ")})`;
}

/** The colour number `rank` of a list without an order. */
export function categorical(rank, dark) {
  const round = Math.floor(rank / HUES.length);
  const hue = HUES[rank % HUES.length] + 14 * round;
  const lightness = (dark ? 0.76 : 0.62) + [0, -0.1, 0.06][round % 3];
  return oklch(lightness, dark ? 0.135 : 0.165, hue);
}

/** A colour from near (0) to far (1). */
export function sequential(share, dark) {
  return oklch((dark ? 0.84 : 0.72) - 0.26 * share, dark ? 0.14 : 0.17, 70 + 235 * share);
}

/** What another client's marks are drawn in. */
export function personal(client, dark) {
  return oklch(dark ? 0.8 : 0.58, 0.17, (client * 137.508 + 20) % 360);
}

/**
 * A function from node index to colour, by `mode`: cluster, kind or depth. Ranks come from the facets of the whole graph,
 * so a filter changes no colour.
 */
export function colouring(mode, graph, facets, dark) {
  if (mode === "depth") {
    const [low, high] = facets.depth;
    const colours = new Map();
    for (let depth = low; depth <= high && depth < low + 4096; depth++) {
      colours.set(depth, sequential((depth - low) / Math.max(1, high - low), dark));
    }
    return (index) => colours.get(graph.depths[index]) ?? sequential(1, dark);
  }
  const ranks = new Map(facets[mode].map(({ value }, rank) => [value, categorical(rank, dark)]));
  const values = mode === "kind" ? graph.kinds : graph.clusters;
  const other = categorical(0, dark);
  return (index) => ranks.get(values[index]) ?? other;
}

const FAINT = 0.2;

/** The bytes for `Renderer.setPaint`. `matters` is a Set of indices to stress, or null: all. */
export function paintOf(graph, colourOf, matters) {
  const bytes = new ArrayBuffer(8 * graph.count);
  const [paint, sizes] = [new Uint8Array(bytes), new Float32Array(bytes)];
  for (let i = 0; i < graph.count; i++) {
    const colour = colourOf(i);
    for (let part = 0; part < 3; part++) paint[8 * i + part] = Math.round(255 * colour[part]);
    paint[8 * i + 3] = Math.round(255 * (matters === null || matters.has(i) ? 1 : FAINT));
    sizes[2 * i + 1] = sizeOf(graph, i);
  }
  return paint;
}

/** A node's size, in units of an ordinary one: the better linked, the larger. */
export function sizeOf(graph, index) {
  const mean = Math.max(1, (2 * graph.edgeCount) / Math.max(1, graph.count));
  return Math.min(3.2, 0.62 + 0.42 * Math.sqrt(graph.degrees[index] / mean));
}
