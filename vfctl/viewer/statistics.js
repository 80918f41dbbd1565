/** What came and what was drawn in the last minute, second by second. Pure: the time is told. */

const SECONDS = 60;
const RECENT_S = 10;

export function percentile(sorted, share) {
  if (!sorted.length) return null;
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}

function emptySecond(number) {
  return { number, delays_ms: [], least_ms: Infinity, bytes: 0, updates: 0, drawn: 0, missed: 0 };
}

export class Statistics {
  #seconds = [];

  /**
   * How far the server's clock is ahead, in ms; null: not known yet. What is kept are delays by two clocks, so that a better
   * estimate also corrects those that came before it.
   */
  clock_offset_ms = null;
  #sequence = null;

  /** A PositionUpdate or FullGraph; its delay by two clocks in ms, or null, and its sequence, or undefined. */
  received(now_ms, { bytes, delay_ms = null, sequence, restarts = false }) {
    const second = this.#at(now_ms);
    second.bytes += bytes;
    if (restarts) {
      this.#sequence = null;
      return;
    }
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

  drawn(now_ms) {
    this.#at(now_ms).drawn++;
  }

  /** The last whole seconds' rates, and the percentiles of the last ten seconds. */
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

  /** 60 entries, the oldest first; null where nothing was counted. */
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

  /** An estimate is off by up to half its round trip; that nothing came before it was sent bounds it from below. */
  #latencies(delays_ms) {
    if (this.clock_offset_ms === null) return [];
    const least_ms = this.#seconds.reduce((least, second) => Math.min(least, second.least_ms), Infinity);
    const offset_ms = Math.max(this.clock_offset_ms, -least_ms);
    return delays_ms.map((delay) => delay + offset_ms).sort((a, b) => a - b);
  }

  #at(now_ms) {
    const number = Math.floor(now_ms / 1000);
    let last = this.#seconds.at(-1);
    if (last?.number !== number) {
      last = emptySecond(number);
      this.#seconds.push(last);
      while (this.#seconds[0].number < number - SECONDS) this.#seconds.shift();
    }
    return last;
  }
}
