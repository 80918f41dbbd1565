/** Changes the sample rate with a windowed sinc (Smith, "Digital Audio Resampling"), block by block, at a speed that can change. */

const ZERO_CROSSINGS = 12;
const PHASES = 256;

export class Resampler {
  #ratio;
  #kernel;
  #half;
  #samples;
  #position;

  /** How much faster than recorded. */
  speed = 1;

  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    this.#ratio = fromHz / toHz;
    const cutoff = Math.min(1, toHz / fromHz) * 0.94;
    this.#half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.#kernel = kernelOf(cutoff, this.#half);
    this.#samples = new Float32Array(this.#half);
    this.#position = this.#half;
  }

  /** The number of samples that were pushed and not consumed yet. */
  get waiting() {
    return Math.max(0, this.#samples.length - this.#position);
  }

  /** The number of samples after a position that its value depends on. */
  get lookahead() {
    return this.#half;
  }

  /** @param {Float32Array} samples at the first rate */
  push(samples) {
    const consumed = Math.max(0, Math.floor(this.#position) - this.#half);
    const kept = this.#samples.subarray(consumed);
    const all = new Float32Array(kept.length + samples.length);
    all.set(kept);
    all.set(samples, kept.length);
    this.#samples = all;
    this.#position -= consumed;
  }

  /** @param {number} count samples at the first rate to drop */
  skip(count) {
    this.#position = Math.min(this.#position + count, this.#samples.length);
  }

  /**
   * Fills `out` with samples at the second rate.
   *
   * @param {Float32Array} out
   * @returns {number} how many there were
   */
  pull(out) {
    const kernel = this.#kernel;
    const half = this.#half;
    const samples = this.#samples;
    const step = this.#ratio * this.speed;
    let made = 0;
    for (; made < out.length; made++) {
      const whole = Math.floor(this.#position);
      if (whole + half >= samples.length) break;
      const phase = (this.#position - whole) * PHASES;
      let sum = 0;
      for (let tap = 1 - half; tap <= half; tap++) {
        const at = Math.abs(tap * PHASES - phase);
        const before = Math.floor(at);
        const value = kernel[before] + (at - before) * (kernel[before + 1] - kernel[before]);
        sum += samples[whole + tap] * value;
      }
      out[made] = sum;
      this.#position += step;
    }
    return made;
  }
}

/**
 * One wing of the sinc with a Blackman window, PHASES values for each sample.
 *
 * @param {number} cutoff
 * @param {number} half
 */
function kernelOf(cutoff, half) {
  const kernel = new Float32Array(half * PHASES + 2);
  for (let i = 0; i <= half * PHASES; i++) {
    const x = i / PHASES;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * cutoff * x) / (Math.PI * cutoff * x);
    const at = (Math.PI * x) / half;
    kernel[i] = cutoff * sinc * (0.42 + 0.5 * Math.cos(at) + 0.08 * Math.cos(2 * at));
  }
  return kernel;
}
