/** What one speaker has said and has not been heard yet. Its clock is the loudspeaker's: the samples that are pulled. */

import { fromPcm } from "./packetiser.js";
import { Resampler } from "./resampler.js";

/** Speech waits so long before it is heard; what comes less unevenly than that has no gaps. */
export const TARGET_S = 0.06;
/** More than this waits after a hold-up: what is too late to be heard is left out. */
export const MOST_S = 0.2;
/** A speaker from whom nothing has come for so long has ended. */
export const SILENT_S = 0.3;
/** Two clocks differ by some 100 ppm; ten times that is caught up, and nobody hears it. */
const MOST_DRIFT = 0.005;
const FADE = 1 / 96;
const MOST_MISSING = 10;

export class JitterBuffer {
  #toHz;
  #fromHz = 0;
  #resampler = null;
  #sequence = 0;
  #playing = false;
  #waited_s = 0;
  #empty_s = 0;
  #average_s = TARGET_S;
  #gain = 0;
  #last = 0;
  #block = new Float32Array(0);

  /** late: samples left out because they came too late; lost: messages that never came; gaps: times that there was nothing. */
  counts = { messages: 0, late: 0, lost: 0, gaps: 0 };

  constructor(toHz) {
    this.#toHz = toHz;
  }

  /** Whether there is anything to hear of this speaker, or has been just now. */
  get speaking() {
    return this.#resampler !== null;
  }

  get waiting_s() {
    return this.#resampler ? this.#resampler.waiting / this.#fromHz : 0;
  }

  /** A message: Int16Array, its rate, and its number in the stream (undefined if untimed). */
  push(pcm, rateHz, sequence) {
    if (!(rateHz >= 8000 && rateHz <= 48_000) || !pcm.length) return;
    if (this.#resampler && sequence !== undefined && sequence !== 1 && sequence <= this.#sequence) {
      this.counts.late += pcm.length;
      return;
    }
    if (!this.#resampler || rateHz !== this.#fromHz) this.#begin(rateHz);
    else if (sequence > this.#sequence + 1) {
      const missing = sequence - this.#sequence - 1;
      this.counts.lost += missing;
      if (missing <= MOST_MISSING) this.#resampler.push(new Float32Array(missing * pcm.length));
    }
    this.#sequence = sequence ?? 0;
    this.counts.messages++;
    if (this.#empty_s) this.counts.gaps++;
    this.#empty_s = 0;
    this.#resampler.push(fromPcm(pcm));
    if (this.waiting_s > MOST_S) {
      const late = Math.floor((this.waiting_s - TARGET_S) * rateHz);
      this.counts.late += late;
      this.#resampler.skip(late);
      this.#average_s = TARGET_S;
      this.#gain = 0;
    }
  }

  /** Add the next samples to `out`. */
  pull(out) {
    if (!this.#resampler) return;
    const span_s = out.length / this.#toHz;
    if (!this.#playing) {
      if (this.#resampler.waiting <= this.#resampler.reach) {
        this.#empty_s += span_s;
        if (this.#empty_s > SILENT_S) this.#end();
        return;
      }
      this.#waited_s += span_s;
      if (this.waiting_s < TARGET_S && this.#waited_s < TARGET_S) return;
      this.#playing = true;
      this.#average_s = this.waiting_s;
    }
    this.#average_s += 0.02 * (this.waiting_s - this.#average_s);
    this.#resampler.speed = 1 + MOST_DRIFT * Math.min(1, Math.max(-1, (this.#average_s - TARGET_S) / TARGET_S));
    if (this.#block.length !== out.length) this.#block = new Float32Array(out.length);
    const made = this.#resampler.pull(this.#block);
    for (let i = 0; i < made; i++) {
      this.#gain = Math.min(1, this.#gain + FADE);
      this.#last = this.#gain * this.#block[i];
      out[i] += this.#last;
    }
    for (let i = made; i < out.length; i++) {
      this.#gain = 0;
      this.#last *= 1 - 4 * FADE; // no click
      out[i] += this.#last;
    }
    if (made === out.length) return;
    this.#empty_s = span_s;
    this.#playing = false;
    this.#waited_s = 0;
  }

  #begin(rateHz) {
    this.#fromHz = rateHz;
    this.#resampler = new Resampler(rateHz, this.#toHz);
    this.#playing = false;
    this.#waited_s = 0;
    this.#empty_s = 0;
    this.#gain = 0;
  }

  #end() {
    this.#resampler = null;
    this.#sequence = 0;
    this.#empty_s = 0;
  }
}
