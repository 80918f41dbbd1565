/** The panel of statistics: metrics of the connection, and the plot of one of them over the last minute. */

import { canvas, context2d, element, elementsOf, setText } from "./dom.js";

/**
 * @import { Connection } from "./connection.js"
 * @import { PlottedSecond, Statistics } from "./statistics.js"
 */

/**
 * @typedef {{ values: (number | null)[], colour: string, filled?: boolean }} Series 60 values, the oldest first
 * @typedef {{ first: string, second: string }} SeriesColours
 * @typedef {object} Plot
 * @property {(minute: (PlottedSecond | null)[], colours: SeriesColours) => Series[]} series the first is drawn behind the others
 * @property {(value: number) => string} describe writes a value with its unit
 */

const REFRESH_MS = 500;
const GRID_SHARES = [0, 0.5, 1];

/** @type {Record<string, Plot>} */
const PLOTS = {
  latency: {
    series: (minute, colours) => [
      { values: minute.map((second) => second?.p95_ms ?? null), colour: colours.second, filled: true },
      { values: minute.map((second) => second?.p50_ms ?? null), colour: colours.first },
    ],
    describe: (value) => millisecondsText(value),
  },
  updates: {
    series: (minute, colours) => [{ values: minute.map((second) => second?.updates ?? null), colour: colours.first, filled: true }],
    describe: (value) => `${value} updates/s`,
  },
  bytes: {
    series: (minute, colours) => [{ values: minute.map((second) => second?.bytes ?? null), colour: colours.first, filled: true }],
    describe: (value) => byteRateText(value),
  },
  frames: {
    series: (minute, colours) => [{ values: minute.map((second) => second?.drawn ?? null), colour: colours.first, filled: true }],
    describe: (value) => `${value} frames/s`,
  },
};

export class StatisticsPanel {
  /** @type {Statistics} */
  #statistics;
  /** @type {Connection} */
  #connection;
  #plotted = "latency";
  #plot = canvas("plot");
  #texts = {
    p50: element("p50"),
    p95: element("p95"),
    updates: element("updates"),
    bytes: element("bytes"),
    frames: element("frames"),
    clock: element("clock"),
  };

  /**
   * @param {Statistics} statistics
   * @param {Connection} connection
   */
  constructor(statistics, connection) {
    this.#statistics = statistics;
    this.#connection = connection;
    const tiles = elementsOf(HTMLButtonElement, "#metrics button");
    for (const tile of tiles) {
      tile.addEventListener("click", () => {
        this.#plotted = tile.dataset.plot ?? "latency";
        for (const other of tiles) other.setAttribute("aria-pressed", String(other === tile));
        this.refresh();
      });
    }
    setInterval(() => {
      if (!document.hidden) this.refresh();
    }, REFRESH_MS);
  }

  refresh() {
    const now = performance.now();
    const { p50_ms, p95_ms, updates_per_s, bytes_per_s, frames_per_s, missed } = this.#statistics.summary(now);
    setText(this.#texts.p50, millisecondsText(p50_ms));
    setText(this.#texts.p95, millisecondsText(p95_ms));
    setText(this.#texts.updates, `${updates_per_s}/s`);
    setText(this.#texts.bytes, byteRateText(bytes_per_s));
    setText(this.#texts.frames, `${frames_per_s}/s`);
    setText(this.#texts.clock, this.#clockText(missed));
    const style = getComputedStyle(this.#plot);
    const colours = { first: style.getPropertyValue("--accent"), second: style.getPropertyValue("--second") };
    const { series, describe } = PLOTS[this.#plotted];
    const look = { text: style.getPropertyValue("--muted"), line: style.getPropertyValue("--line"), font: `11px ${style.fontFamily}` };
    drawPlot(this.#plot, series(this.#statistics.minute(now), colours), describe, look);
    const latency = `latency P50 ${millisecondsText(p50_ms)}, P95 ${millisecondsText(p95_ms)}`;
    this.#plot.setAttribute("aria-label", `Plot of ${this.#plotted} over the last minute. Now: ${latency}`);
  }

  /** @param {number} missed */
  #clockText(missed) {
    const { round_trip_us, clock_offset_us, reconnects } = this.#connection;
    const parts = [];
    if (round_trip_us !== null) parts.push(`Round trip ${millisecondsText(round_trip_us / 1000)}`);
    if (clock_offset_us !== null) parts.push(`clock offset ${millisecondsText(Math.abs(clock_offset_us) / 1000)}`);
    if (missed) parts.push(`${missed} updates missed`);
    if (reconnects) parts.push(`${reconnects} reconnects`);
    return parts.join(" · ");
  }
}

/** @param {number} bytes_per_s */
export function byteRateText(bytes_per_s) {
  const units = ["B", "kB", "MB", "GB"];
  let value = bytes_per_s;
  let power = 0;
  while (value >= 999.5 && power < units.length - 1) {
    value /= 1000;
    power++;
  }
  return `${power && value < 99.95 ? value.toPrecision(value < 9.995 ? 2 : 3) : Math.round(value)} ${units[power]}/s`;
}

/** @param {number | null} value */
export function millisecondsText(value) {
  if (value === null) return "–";
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

/**
 * @param {HTMLCanvasElement} target
 * @param {Series[]} series
 * @param {(value: number) => string} describe
 * @param {{ text: string, line: string, font: string }} look
 */
function drawPlot(target, series, describe, { text, line, font }) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [target.clientWidth, target.clientHeight];
  if (!width) return;
  Object.assign(target, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  const context = context2d(target);
  context.scale(ratio, ratio);
  const top = niceAbove(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const [left, right, upper, lower] = [0, width, 14, height - 14];
  /** @param {number} i */
  const x = (i) => left + ((right - left) * i) / 59;
  /** @param {number} value */
  const y = (value) => lower - ((lower - upper) * value) / top;
  context.lineWidth = 1;
  context.strokeStyle = line;
  for (const share of GRID_SHARES) {
    context.beginPath();
    context.moveTo(left, Math.round(y(share * top)) + 0.5);
    context.lineTo(right, Math.round(y(share * top)) + 0.5);
    context.stroke();
  }
  for (const { values, colour, filled } of series) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    for (const { start, run } of runs(values)) {
      context.beginPath();
      run.forEach((value, i) => context.lineTo(x(start + i), y(value)));
      if (run.length === 1) context.lineTo(x(start) + 1, y(run[0]));
      context.stroke();
      if (!filled) continue;
      context.lineTo(x(start + run.length - 1), lower);
      context.lineTo(x(start), lower);
      context.globalAlpha = 0.16;
      context.fill();
      context.globalAlpha = 1;
    }
  }
  context.font = font;
  context.fillStyle = text;
  context.textBaseline = "alphabetic";
  context.fillText(describe(top), left, upper - 4);
  context.fillText("60 s ago", left, height - 2);
  context.textAlign = "right";
  context.fillText("now", right, height - 2);
}

/**
 * Consecutive values without a gap, and the index of the first.
 *
 * @param {(number | null)[]} values
 */
function runs(values) {
  /** @type {{ start: number, run: number[] }[]} */
  const found = [];
  values.forEach((value, i) => {
    if (value === null) return;
    const last = found.at(-1);
    if (last && last.start + last.run.length === i) last.run.push(value);
    else found.push({ start: i, run: [value] });
  });
  return found;
}

/**
 * The smallest 1, 2 or 5 times a power of ten that is not below `value`.
 *
 * @param {number} value
 */
export function niceAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5].map((step) => step * power).find((step) => step >= value * 0.999) ?? 10 * power;
}
