/** Colours of nodes and clients, mixed in OKLCH so that all colours of a list are equally light; and the light or dark theme. */

/** @import { Facets, Graph } from "./scene.js" */

/**
 * @typedef {[number, number, number]} Rgb from 0 to 1
 * @typedef {"cluster" | "kind" | "depth"} ColourBy
 * @typedef {{ dark: boolean, background: Rgb, neutral: Rgb, haze: number }} Theme what WebGL needs to know of the style sheet
 */

const HUES = [258, 48, 158, 350, 205, 95, 305, 25, 130, 230, 280, 70];
const LIGHTNESS_STEPS = [0, -0.1, 0.06];
const MAX_DEPTHS = 4096;
/** Alpha of nodes that do not stand out. */
const FAINT = 0.2;

/**
 * OKLCH to sRGB (Ottosson, 2020).
 *
 * @param {number} lightness
 * @param {number} chroma
 * @param {number} hue in degrees
 * @returns {Rgb}
 */
function oklch(lightness, chroma, hue) {
  const angle = (hue * Math.PI) / 180;
  const [a, b] = [chroma * Math.cos(angle), chroma * Math.sin(angle)];
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  /** @param {number} linear */
  const encoded = (linear) => {
    const clipped = Math.min(1, Math.max(0, linear));
    return clipped <= 0.0031308 ? 12.92 * clipped : 1.055 * clipped ** (1 / 2.4) - 0.055;
  };
  return [
    encoded(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    encoded(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    encoded(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** @param {Rgb} rgb */
export function css(rgb) {
  return `rgb(${rgb.map((value) => Math.round(255 * value)).join(" ")})`;
}

/**
 * The colour of the entry number `rank` of a list without an order.
 *
 * @param {number} rank
 * @param {boolean} dark
 */
export function categorical(rank, dark) {
  const repeat = Math.floor(rank / HUES.length);
  const hue = HUES[rank % HUES.length] + 14 * repeat;
  const lightness = (dark ? 0.76 : 0.62) + LIGHTNESS_STEPS[repeat % LIGHTNESS_STEPS.length];
  return oklch(lightness, dark ? 0.135 : 0.165, hue);
}

/**
 * A colour of the ramp from the lowest value (0) to the highest (1).
 *
 * @param {number} share
 * @param {boolean} dark
 */
export function sequential(share, dark) {
  return oklch((dark ? 0.84 : 0.72) - 0.26 * share, dark ? 0.14 : 0.17, 70 + 235 * share);
}

/**
 * The colour of another client's selection.
 *
 * @param {number} client
 * @param {boolean} dark
 */
export function clientColour(client, dark) {
  return oklch(dark ? 0.8 : 0.58, 0.17, (client * 137.508 + 20) % 360);
}

/**
 * A function from node index to colour. Colours depend on the facets of the whole graph, so a filter changes none.
 *
 * @param {ColourBy} mode
 * @param {Graph} graph
 * @param {Facets} facets
 * @param {boolean} dark
 * @returns {(index: number) => Rgb}
 */
export function colouring(mode, graph, facets, dark) {
  if (mode === "depth") {
    const [low, high] = facets.depth;
    /** @type {Map<number, Rgb>} */
    const colours = new Map();
    for (let depth = low; depth <= high && depth < low + MAX_DEPTHS; depth++) {
      colours.set(depth, sequential((depth - low) / Math.max(1, high - low), dark));
    }
    return (index) => colours.get(graph.depths[index]) ?? sequential(1, dark);
  }
  /** @type {Map<string | number, Rgb>} */
  const colours = new Map();
  for (const [rank, { value }] of facets[mode].entries()) colours.set(value, categorical(rank, dark));
  const values = mode === "kind" ? graph.kinds : graph.clusters;
  const other = categorical(0, dark);
  return (index) => colours.get(values[index]) ?? other;
}

/**
 * Colours and sizes of all nodes for `Renderer.setPaint`, 8 bytes a node: RGBA, then the size as float32.
 *
 * @param {Graph} graph
 * @param {(index: number) => Rgb} colourOf
 * @param {Set<number> | null} emphasised indices of the nodes that stand out; null: all alike
 */
export function paintOf(graph, colourOf, emphasised) {
  const bytes = new ArrayBuffer(8 * graph.count);
  const [paint, sizes] = [new Uint8Array(bytes), new Float32Array(bytes)];
  for (let i = 0; i < graph.count; i++) {
    const colour = colourOf(i);
    for (let part = 0; part < 3; part++) paint[8 * i + part] = Math.round(255 * colour[part]);
    paint[8 * i + 3] = Math.round(255 * (emphasised === null || emphasised.has(i) ? 1 : FAINT));
    sizes[2 * i + 1] = graph.sizeOf(i);
  }
  return paint;
}

/** The theme that the user's system asks for. */
export class SystemTheme {
  #darkScheme = matchMedia("(prefers-color-scheme: dark)");
  #current = this.#read();

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#darkScheme.addEventListener("change", () => {
      this.#current = this.#read();
      onChange();
    });
  }

  get current() {
    return this.#current;
  }

  /** @returns {Theme} */
  #read() {
    const style = getComputedStyle(document.documentElement);
    /**
     * @param {string} name of a CSS variable, written #rrggbb
     * @returns {Rgb}
     */
    const rgb = (name) => {
      const colour = parseInt(style.getPropertyValue(name).trim().slice(1), 16);
      return [(colour >> 16) / 255, ((colour >> 8) & 255) / 255, (colour & 255) / 255];
    };
    const dark = this.#darkScheme.matches;
    return { dark, background: rgb("--ground"), neutral: rgb("--edge"), haze: dark ? 0.62 : 0.68 };
  }
}
