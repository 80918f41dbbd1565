/**
 * When the page connects, waits, retries and gives up. It does no I/O: events and the time go in, an action comes out.
 * States, delays and close codes are those of `vfctl/client/lifecycle.py`, which gives the reasons. A test compares both.
 */

/**
 * @typedef {"Disconnected" | "Connecting" | "Connected" | "Reconnecting"} ConnectionState
 * @typedef {{ do: "open" } | { do: "close" } | { do: "wait", delay_s: number }} Action what the owner of the socket has to do
 */

export const BACKOFF_MS = [500, 1000, 2000, 4000, 8000];
export const PROOF_S = 5;
export const RETRYABLE_CLOSES = new Set([1001, 1006, 1008, 1011, 1012, 1013, 1014]);

/**
 * Rows of state, event and next state. An event without a row for the current state came too late and changes nothing.
 *
 * @type {[ConnectionState, string, ConnectionState][]}
 */
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
  ["Disconnected", "disconnect()", "Disconnected"],
  ["Connecting", "disconnect()", "Disconnected"],
  ["Connected", "disconnect()", "Disconnected"],
  ["Reconnecting", "disconnect()", "Disconnected"],
];

const NEXT = new Map(TRANSITIONS.map(([state, event, next]) => [`${state} ${event}`, next]));
/** @type {Action} */
const OPEN = Object.freeze({ do: "open" });
/** @type {Action} */
const CLOSE = Object.freeze({ do: "close" });

/** @param {number} closeCode of a WebSocket */
export function isRetryable(closeCode) {
  return RETRYABLE_CLOSES.has(closeCode);
}

export class LifeCycle {
  /** @type {ConnectionState} */
  state = "Disconnected";
  retries = 0;
  reconnects = 0;
  proven = false;
  #graphSeen = false;
  #openedS = 0;

  /**
   * The user wants a connection.
   *
   * @returns {Action | null}
   */
  connect() {
    if (!this.#move("connect()")) return null;
    this.retries = 0;
    return OPEN;
  }

  /**
   * The handshake is done. A socket that is no longer wanted is closed.
   *
   * @param {number} nowS
   * @returns {Action | null}
   */
  opened(nowS) {
    if (!this.#move("onopen")) return this.state === "Connected" ? null : CLOSE;
    if (this.retries) this.reconnects++;
    this.proven = this.#graphSeen = false;
    this.#openedS = nowS;
    return null;
  }

  /**
   * The socket did not open: refused, rejected or timed out.
   *
   * @returns {Action | null}
   */
  openFailed() {
    if (this.retries === 0) {
      this.#move("onerror/timeout");
      return null;
    }
    return this.#move("onerror/timeout of a retry") ? this.#retry() : null;
  }

  /**
   * A message of this type was received. Once `proven` is set, no further calls are needed.
   *
   * @param {string} type
   */
  observe(type) {
    if (type === "FullGraph") {
      this.#graphSeen = true;
    } else if (type === "PositionUpdate" && this.#graphSeen && this.#move("onmessage")) {
      this.proven = true;
      this.retries = 0;
    }
  }

  /**
   * The open connection is lost.
   *
   * @param {number} closeCode
   * @param {number} nowS
   * @returns {Action | null}
   */
  closed(closeCode, nowS) {
    if (!isRetryable(closeCode)) {
      this.#move("onclose, not to be retried");
      return null;
    }
    if (!this.#move("onerror/onclose")) return null;
    if (nowS - this.#openedS >= PROOF_S) this.retries = 0;
    return this.#retry();
  }

  /** @returns {Action | null} */
  backoffElapsed() {
    return this.#move("backoff elapsed") ? OPEN : null;
  }

  /**
   * The user no longer wants a connection.
   *
   * @returns {Action | null}
   */
  disconnect() {
    const was = this.state;
    this.#move("disconnect()");
    return was === "Disconnected" ? null : CLOSE;
  }

  /** @param {string} event */
  #move(event) {
    const next = NEXT.get(`${this.state} ${event}`);
    if (next === undefined) return false;
    this.state = next;
    return true;
  }

  /** @returns {Action | null} */
  #retry() {
    if (this.retries === BACKOFF_MS.length) {
      this.#move("max_retries exceeded");
      return null;
    }
    return { do: "wait", delay_s: BACKOFF_MS[this.retries++] / 1000 };
  }
}
