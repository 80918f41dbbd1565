/** The time bar of a replay, over `GET` and `PATCH /replay`. A live server has no replay, and the bar stays hidden. */

import { button, element, elementOf, input } from "./dom.js";

/**
 * @typedef {object} ReplayState
 * @property {number} position_s
 * @property {number | null} duration_s null while unknown
 * @property {number} speed
 * @property {boolean} paused
 * @property {boolean} ended
 */

const POLL_MS = 500;

export class TimeBar {
  #bar = element("timebar");
  #position = input("position");
  #elapsed = element("elapsed");
  #duration = element("duration");
  #play = button("play");
  #speed = elementOf(HTMLSelectElement, "speed");
  /** Whether the user moves the slider now. */
  #sliding = false;

  /** Shows the bar, if the server has a replay. */
  async start() {
    const first = await this.#request();
    if (!first) return;
    let latest = first;
    this.#bar.hidden = false;
    this.#show(first);
    /** @param {Partial<ReplayState>} changes */
    const change = async (changes) => {
      const state = await this.#request(changes);
      if (!state) return;
      latest = state;
      this.#show(state);
    };
    this.#position.addEventListener("input", () => {
      this.#sliding = true;
      this.#elapsed.textContent = clockText(this.#position.valueAsNumber);
    });
    this.#position.addEventListener("change", async () => {
      await change({ position_s: this.#position.valueAsNumber });
      this.#sliding = false;
    });
    this.#play.addEventListener("click", () => change(latest.ended ? { position_s: 0, paused: false } : { paused: !latest.paused }));
    this.#speed.addEventListener("change", () => change({ speed: Number(this.#speed.value) }));
    setInterval(async () => {
      if (document.hidden || this.#sliding) return;
      const state = await this.#request();
      if (!state || this.#sliding) return;
      latest = state;
      this.#show(state);
    }, POLL_MS);
  }

  /** @param {ReplayState} state */
  #show({ position_s, duration_s, speed, paused, ended }) {
    this.#position.max = String(duration_s ?? Math.max(position_s, Number(this.#position.max)));
    if (!this.#sliding) this.#position.value = String(position_s);
    this.#position.setAttribute("aria-valuetext", clockText(position_s));
    this.#elapsed.textContent = clockText(this.#sliding ? this.#position.valueAsNumber : position_s);
    this.#duration.textContent = duration_s === null ? "…" : clockText(duration_s);
    const playing = !paused && !ended;
    this.#play.dataset.look = playing ? "playing" : "paused";
    this.#play.setAttribute("aria-label", playing ? "Pause" : "Play");
    if (document.activeElement === this.#speed) return;
    this.#speed.value = [...this.#speed.options].find(({ value }) => Number(value) === speed)?.value ?? "";
  }

  /**
   * The replay's state, after `changes` if there are any; null if there is no replay, or if the server refuses the change.
   *
   * @param {Partial<ReplayState>} [changes]
   * @returns {Promise<ReplayState | null>}
   */
  async #request(changes) {
    try {
      const answer = await fetch("replay", changes ? { method: "PATCH", body: JSON.stringify(changes) } : {});
      if (answer.ok) return await answer.json();
      const { error } = await answer.json();
      if (changes) this.#bar.title = error;
    } catch {
      // The server does not answer, which the status of the connection shows.
    }
    return null;
  }
}

/** @param {number} seconds */
export function clockText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${parts.join(":")}` : parts.join(":");
}
