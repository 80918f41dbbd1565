/**
 * When the page connects, waits, tries again and gives up. Sans-IO: events and the time go in, an action comes out:
 * `{do: "open"}`, `{do: "close"}`, `{do: "wait", delay_s}` or null. The same table, delays and close codes as
 * `vfctl/client/lifecycle.py`, which has the reasons; a test runs both side by side.
 */

export const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
export const PROOF_S = 5;
export const RETRYABLE_CLOSES = new Set([1001, 1006, 1008, 1011, 1012, 1013, 1014]);

/** [state, event, next state]. An event that has no row in the present state is stale and changes nothing. */
export const TRANSITIONS = [
  ["Disconnected", "connect()", "Connecting"],
  ["Connecting", "onopen", "Connected"],
  ["Connecting", "onerror/timeout", "Disconnected"],
  ["Connecting", "onerror/timeout of a retry", "Reconnecting"],
  ["Connected", "onmessage", "Connected"],
  ["Connected", "onerror/onclose", "Reconnecting"],
  ["Connected", "onclose, not to be retried", "Disconnected"],
  ["Reconnecting", "backoff elapsed", "Connecting"],
  ["Reconnecting", "max_retries exceeded", "Disconnected"],
  ...["Disconnected", "Connecting", "Connected", "Reconnecting"].map((state) => [state, "disconnect()", "Disconnected"]),
];

const NEXT = new Map(TRANSITIONS.map(([state, event, next]) => [`${state} ${event}`, next]));
const OPEN = Object.freeze({ do: "open" });
const CLOSE = Object.freeze({ do: "close" });

export function isRetryable(closeCode) {
  return RETRYABLE_CLOSES.has(closeCode);
}

export class LifeCycle {
  state = "Disconnected";
  retries = 0;
  reconnects = 0;
  proven = false;
  #graphSeen = false;
  #openedS = 0;

  /** The user wants a connection. */
  connect() {
    if (!this.#move("connect()")) return null;
    this.retries = 0;
    return OPEN;
  }

  /** The handshake is done. Closes what nobody waits for any more. */
  opened(nowS) {
    if (!this.#move("onopen")) return this.state === "Connected" ? null : CLOSE;
    if (this.retries) this.reconnects++;
    this.proven = this.#graphSeen = false;
    this.#openedS = nowS;
    return null;
  }

  /** It could not be opened: refused, answered otherwise, timed out. */
  openFailed() {
    if (this.retries === 0) {
      this.#move("onerror/timeout");
      return null;
    }
    return this.#move("onerror/timeout of a retry") ? this.#retry() : null;
  }

  /** A message of this type has come; need not be told once `proven` is set. */
  observe(type) {
    if (type === "FullGraph") {
      this.#graphSeen = true;
    } else if (type === "PositionUpdate" && this.#graphSeen && this.#move("onmessage")) {
      this.proven = true;
      this.retries = 0;
    }
  }

  /** The open connection is gone. */
  closed(closeCode, nowS) {
    if (!isRetryable(closeCode)) {
      this.#move("onclose, not to be retried");
      return null;
    }
    if (!this.#move("onerror/onclose")) return null;
    if (nowS - this.#openedS >= PROOF_S) this.retries = 0;
    return this.#retry();
  }

  backoffElapsed() {
    return this.#move("backoff elapsed") ? OPEN : null;
  }

  /** The user wants none any more. */
  disconnect() {
    const was = this.state;
    this.#move("disconnect()");
    return was === "Disconnected" ? null : CLOSE;
  }

  #move(event) {
    const next = NEXT.get(`${this.state} ${event}`);
    if (next === undefined) return false;
    this.state = next;
    return true;
  }

  #retry() {
    if (this.retries === BACKOFF_MS.length) {
      this.#move("max_retries exceeded");
      return null;
    }
    return { do: "wait", delay_s: BACKOFF_MS[this.retries++] / 1000 };
  }
}
