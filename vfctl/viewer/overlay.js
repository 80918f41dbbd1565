/** Figures of the connection, and the plot of the one that is chosen. */

import { drawPlot } from "./plot.js";

const EVERY_MS = 500;

export function bytesText(bytes) {
  if (bytes === null) return "–";
  const units = ["B", "kB", "MB", "GB"];
  let power = 0;
  while (bytes >= 999.5 && power < units.length - 1) {
    bytes /= 1000;
    power++;
  }
  return `${power && bytes < 99.95 ? bytes.toPrecision(bytes < 9.995 ? 2 : 3) : Math.round(bytes)} ${units[power]}/s`;
}

export function millisecondsText(value) {
  if (value === null) return "–";
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ms`;
}

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
    describe: bytesText,
  },
  frames: {
    series: (minute, colours) => [{ values: minute.map((second) => second?.drawn ?? null), colour: colours.first, filled: true }],
    describe: (value) => `${value} frames/s`,
  },
};

export class Overlay {
  #statistics;
  #connection;
  #chosen = "latency";

  constructor(statistics, connection) {
    this.#statistics = statistics;
    this.#connection = connection;
    for (const tile of document.querySelectorAll("#figures button")) {
      tile.addEventListener("click", () => {
        this.#chosen = tile.dataset.plot;
        for (const other of document.querySelectorAll("#figures button")) other.setAttribute("aria-pressed", other === tile);
        this.draw();
      });
    }
    setInterval(() => document.hidden || this.draw(), EVERY_MS);
  }

  draw() {
    const now = performance.now();
    const { p50_ms, p95_ms, updates_per_s, bytes_per_s, frames_per_s, missed } = this.#statistics.summary(now);
    const say = (id, text) => {
      const element = document.getElementById(id);
      if (element.textContent !== text) element.textContent = text;
    };
    say("p50", millisecondsText(p50_ms));
    say("p95", millisecondsText(p95_ms));
    say("updates", `${updates_per_s}/s`);
    say("bytes", bytesText(bytes_per_s));
    say("frames", `${frames_per_s}/s`);
    const { round_trip_us, clock_offset_us, reconnects } = this.#connection;
    const trip = round_trip_us === null ? "" : `round trip ${millisecondsText(round_trip_us / 1000)} · clocks ${millisecondsText(Math.abs(clock_offset_us) / 1000)} apart`;
    say("clock", [trip, missed ? `${missed} missed` : "", reconnects ? `${reconnects} reconnects` : ""].filter(Boolean).join(" · "));
    const plot = document.getElementById("plot");
    const style = getComputedStyle(plot);
    const colours = { first: style.getPropertyValue("--accent"), second: style.getPropertyValue("--second") };
    const { series, describe } = PLOTS[this.#chosen];
    const look = { text: style.getPropertyValue("--muted"), line: style.getPropertyValue("--line"), font: `11px ${style.fontFamily}` };
    drawPlot(plot, series(this.#statistics.minute(now), colours), describe, look);
    plot.setAttribute("aria-label", `${this.#chosen} of the last minute; latency P50 ${millisecondsText(p50_ms)}, P95 ${millisecondsText(p95_ms)}`);
  }
}
