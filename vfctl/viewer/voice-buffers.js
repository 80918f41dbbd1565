/** The two buffers between the audio thread and VoiceData: microphone samples to messages, and messages to the loudspeaker. */

import { Resampler } from "./resampler.js";

export const VOICE_HZ = 16_000;
const MESSAGE_SAMPLES = 320; // 20 ms

/** Cuts what a microphone records into VoiceData messages of 20 ms. */
export class Packetiser {
  /** @type {Resampler} */
  #resampler;
  #block = new Float32Array(MESSAGE_SAMPLES);
  #filled = 0;

  /** @param {number} fromHz sample rate of the microphone */
  constructor(fromHz) {
    this.#resampler = new Resampler(fromHz, VOICE_HZ);
  }

  /**
   * @param {Float32Array} samples
   * @returns {Int16Array<ArrayBuffer>[]} the messages that are complete now
   */
  push(samples) {
    this.#resampler.push(samples);
    const messages = [];
    for (;;) {
      this.#filled += this.#resampler.pull(this.#block.subarray(this.#filled));
      if (this.#filled < MESSAGE_SAMPLES) return messages;
      messages.push(toPcm(this.#block));
      this.#filled = 0;
    }
  }

  /**
   * The rest, padded with silence; null if there is none.
   *
   * @returns {Int16Array<ArrayBuffer> | null}
   */
  end() {
    if (!this.#filled) return null;
    const last = this.#block.fill(0, this.#filled);
    this.#filled = 0;
    return toPcm(last);
  }
}

/** @param {Float32Array} samples */
function toPcm(samples) {
  return Int16Array.from(samples, (sample) => Math.round(32767 * Math.min(1, Math.max(-1, sample))));
}

/** @param {Int16Array} pcm */
function fromPcm(pcm) {
  return Float32Array.from(pcm, (sample) => sample / 32768);
}

/** Speech waits this long before it is played. Jitter below it causes no gap. */
const TARGET_S = 0.06;
/** If more than this waits, the oldest samples are dropped. */
const MAX_WAITING_S = 0.2;
/** A speaker who has sent nothing for this long has ended. */
const SILENT_S = 0.3;
/** Playback is up to this much faster or slower, to follow the speaker's clock. Clocks differ by about 100 ppm. */
const MAX_DRIFT = 0.005;
/** Change of the gain with each sample, so that nothing clicks. */
const FADE = 1 / 96;
/** Longer gaps are not filled with silence. */
const MAX_FILLED_MESSAGES = 10;

/** Speech of one speaker that has not been played yet. Its clock is the number of samples that the loudspeaker has pulled. */
export class JitterBuffer {
  #toHz;
  #fromHz = 0;
  /** @type {Resampler | null} */
  #resampler = null;
  #sequence = 0;
  #playing = false;
  #waited_s = 0;
  #empty_s = 0;
  #average_s = TARGET_S;
  #gain = 0;
  #last = 0;
  #block = new Float32Array(0);

  /** late: samples dropped because they came too late; lost: messages that never came; gaps: times that nothing was there to play. */
  counts = { messages: 0, late: 0, lost: 0, gaps: 0 };

  /** @param {number} toHz sample rate of the loudspeaker */
  constructor(toHz) {
    this.#toHz = toHz;
  }

  /** Whether this speaker is heard, or was until just now. */
  get speaking() {
    return this.#resampler !== null;
  }

  get waiting_s() {
    return this.#resampler ? this.#resampler.waiting / this.#fromHz : 0;
  }

  /**
   * A message was received.
   *
   * @param {Int16Array} pcm
   * @param {number} rateHz
   * @param {number} [sequence] number in the stream, from 1; none if the connection has no timing
   */
  push(pcm, rateHz, sequence) {
    if (!(rateHz >= 8000 && rateHz <= 48_000) || !pcm.length) return;
    if (this.#resampler && sequence !== undefined && sequence !== 1 && sequence <= this.#sequence) {
      this.counts.late += pcm.length;
      return;
    }
    let resampler = this.#resampler;
    if (!resampler || rateHz !== this.#fromHz) {
      resampler = this.#begin(rateHz);
    } else if (sequence !== undefined && sequence > this.#sequence + 1) {
      const missing = sequence - this.#sequence - 1;
      this.counts.lost += missing;
      if (missing <= MAX_FILLED_MESSAGES) resampler.push(new Float32Array(missing * pcm.length));
    }
    this.#sequence = sequence ?? 0;
    this.counts.messages++;
    if (this.#empty_s) this.counts.gaps++;
    this.#empty_s = 0;
    resampler.push(fromPcm(pcm));
    if (this.waiting_s > MAX_WAITING_S) {
      const late = Math.floor((this.waiting_s - TARGET_S) * rateHz);
      this.counts.late += late;
      resampler.skip(late);
      this.#average_s = TARGET_S;
      this.#gain = 0;
    }
  }

  /**
   * Adds the next samples to `out`.
   *
   * @param {Float32Array} out
   */
  pull(out) {
    const resampler = this.#resampler;
    if (!resampler) return;
    const span_s = out.length / this.#toHz;
    if (!this.#playing) {
      if (resampler.waiting <= resampler.lookahead) {
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
    resampler.speed = 1 + MAX_DRIFT * Math.min(1, Math.max(-1, (this.#average_s - TARGET_S) / TARGET_S));
    if (this.#block.length !== out.length) this.#block = new Float32Array(out.length);
    const made = resampler.pull(this.#block);
    for (let i = 0; i < made; i++) {
      this.#gain = Math.min(1, this.#gain + FADE);
      this.#last = this.#gain * this.#block[i];
      out[i] += this.#last;
    }
    for (let i = made; i < out.length; i++) {
      this.#gain = 0;
      this.#last *= 1 - 4 * FADE;
      out[i] += this.#last;
    }
    if (made === out.length) return;
    this.#empty_s = span_s;
    this.#playing = false;
    this.#waited_s = 0;
  }

  /** @param {number} rateHz */
  #begin(rateHz) {
    this.#fromHz = rateHz;
    this.#resampler = new Resampler(rateHz, this.#toHz);
    this.#playing = false;
    this.#waited_s = 0;
    this.#empty_s = 0;
    this.#gain = 0;
    return this.#resampler;
  }

  #end() {
    this.#resampler = null;
    this.#sequence = 0;
    this.#empty_s = 0;
  }
}
