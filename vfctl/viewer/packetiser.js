/** What a microphone gives, cut into the messages that VoiceData has: 20 ms of s16 each. */

import { Resampler } from "./resampler.js";

export const VOICE_HZ = 16_000;
export const MESSAGE_SAMPLES = 320;

export class Packetiser {
  #resampler;
  #block = new Float32Array(MESSAGE_SAMPLES);
  #filled = 0;

  constructor(fromHz) {
    this.#resampler = new Resampler(fromHz, VOICE_HZ);
  }

  /** Float samples come in, whole messages (Int16Array) go out. */
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

  /** The rest, filled up with silence; null if there is none. */
  end() {
    if (!this.#filled) return null;
    const last = this.#block.fill(0, this.#filled);
    this.#filled = 0;
    return toPcm(last);
  }
}

export function toPcm(samples) {
  return Int16Array.from(samples, (sample) => Math.round(32767 * Math.min(1, Math.max(-1, sample))));
}

export function fromPcm(pcm) {
  return Float32Array.from(pcm, (sample) => sample / 32768);
}
