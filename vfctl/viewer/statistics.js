/** What was received and drawn in the last minute, second by second. The caller passes the time. */

/**
 * @typedef {object} Second
 * @property {number} number
 * @property {number[]} delays_ms by two clocks
 * @property {number} least_ms the smallest of them
 * @property {number} bytes
 * @property {number} updates
 * @property {number} drawn
 * @property {number} missed
 *
 * @typedef {object} Summary
 * @property {number | null} p50_ms latency over ten seconds
 * @property {number | null} p95_ms
 * @property {number} updates_per_s in the last complete second, as the next two
 * @property {number} bytes_per_s
 * @property {number} frames_per_s
 * @property {number} missed updates in the last minute
 *
 * @typedef {{ p50_ms: number | null, p95_ms: number | null, updates: number, bytes: number, drawn: number }} PlottedSecond
 */

const SECONDS = 60;
const RECENT_S = 10;

/**
 * @param {number[]} sorted
 * @param {number} share 0.5 is the median
 */
function percentile(sorted, share) {
  if (!sorted.length) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

/**
 * @param {number} number
 * @returns {Second}
 */
function emptySecond(number) {
  return { number, delays_ms: [], least_ms: Infinity, bytes: 0, updates: 0, drawn: 0, missed: 0 };
}

export class Statistics {
  /** @type {Second[]} */
  #seconds = [];
  /** @type {number | null} */
  #sequence = null;

  /**
   * How far the server's clock is ahead, in ms; null while unknown. Delays are kept as measured by two clocks, so a better estimate
   * also corrects earlier ones.
   *
   * @type {number | null}
   */
  clock_offset_ms = null;

  /**
   * A FullGraph was received. It starts the numbering of updates anew.
   *
   * @param {number} now_ms
   * @param {number} bytes
   */
  graphReceived(now_ms, bytes) {
    this.#at(now_ms).bytes += bytes;
    this.#sequence = null;
  }

  /**
   * A PositionUpdate was received.
   *
   * @param {number} now_ms
   * @param {{ bytes: number, delay_ms?: number | null, sequence?: number }} update its delay is by two clocks
   */
  updateReceived(now_ms, { bytes, delay_ms = null, sequence }) {
    const second = this.#at(now_ms);
    second.bytes += bytes;
    second.updates++;
    if (delay_ms !== null) {
      second.delays_ms.push(delay_ms);
      second.least_ms = Math.min(second.least_ms, delay_ms);
    }
    if (sequence !== undefined) {
      if (this.#sequence !== null && sequence > this.#sequence + 1) second.missed += sequence - this.#sequence - 1;
      this.#sequence = sequence;
    }
  }

  /** @param {number} now_ms */
  frameDrawn(now_ms) {
    this.#at(now_ms).drawn++;
  }

  /**
   * @param {number} now_ms
   * @returns {Summary}
   */
  summary(now_ms) {
    const number = Math.floor(now_ms / 1000);
    const recent = this.#seconds.filter((second) => second.number > number - RECENT_S);
    const latencies = this.#latencies(recent.flatMap((second) => second.delays_ms));
    const last = this.#seconds.findLast((second) => second.number === number - 1) ?? emptySecond(number);
    return {
      p50_ms: percentile(latencies, 0.5),
      p95_ms: percentile(latencies, 0.95),
      updates_per_s: last.updates,
      bytes_per_s: last.bytes,
      frames_per_s: last.drawn,
      missed: this.#seconds.reduce((sum, second) => sum + second.missed, 0),
    };
  }

  /**
   * 60 entries, the oldest first; null for a second without data.
   *
   * @param {number} now_ms
   * @returns {(PlottedSecond | null)[]}
   */
  minute(now_ms) {
    const number = Math.floor(now_ms / 1000);
    const known = new Map(this.#seconds.map((second) => [second.number, second]));
    return Array.from({ length: SECONDS }, (_, i) => {
      const second = known.get(number - SECONDS + i);
      if (!second) return null;
      const latencies = this.#latencies(second.delays_ms);
      return {
        p50_ms: percentile(latencies, 0.5),
        p95_ms: percentile(latencies, 0.95),
        updates: second.updates,
        bytes: second.bytes,
        drawn: second.drawn,
      };
    });
  }

  /**
   * Latencies, sorted. The clock offset is uncertain by half a round trip. It is raised where a latency would be negative.
   *
   * @param {number[]} delays_ms
   */
  #latencies(delays_ms) {
    if (this.clock_offset_ms === null) return [];
    const least_ms = this.#seconds.reduce((least, second) => Math.min(least, second.least_ms), Infinity);
    const offset_ms = Math.max(this.clock_offset_ms, -least_ms);
    return delays_ms.map((delay) => delay + offset_ms).sort((a, b) => a - b);
  }

  /** @param {number} now_ms */
  #at(now_ms) {
    const number = Math.floor(now_ms / 1000);
    const last = this.#seconds.at(-1);
    if (last?.number === number) return last;
    const next = emptySecond(number);
    this.#seconds.push(next);
    while (this.#seconds[0].number < number - SECONDS) this.#seconds.shift();
    return next;
  }
}
