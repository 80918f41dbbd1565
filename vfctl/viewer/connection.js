/** The WebSocket: its life cycle, the clock of the server, and the newest state. */

import { LifeCycle } from "./lifecycle.js";
import { PositionDecoder, decode, encodeHeartbeat } from "./protocol.js";

const CONNECT_TIMEOUT_MS = 10_000;
const FIRST_HEARTBEATS_MS = [0, 100, 300, 600, 1000, 3000];
const HEARTBEAT_MS = 10_000;
const CLOCK_SAMPLES = 8;

export const nowUs = () => (performance.timeOrigin + performance.now()) * 1000;
const nowS = () => performance.now() / 1000;

/**
 * Events: `state`, `graph` {message, data}, `update` {message, data, bytes, delay_ms}, `notice` {notice}, `voice` {message},
 * `trouble` {text}. Each in `event.detail`.
 */
export class Connection extends EventTarget {
  #life = new LifeCycle();
  #socket = null;
  #timers = new Set();
  #decoder = null;
  #clock = [];
  #retryAtS = null;

  /** How far the server's clock is ahead, in µs; null before the first heartbeat is answered. */
  clock_offset_us = null;
  round_trip_us = null;

  constructor(settings) {
    super();
    this.settings = settings;
  }

  get state() {
    return this.#life.state;
  }

  /** The retry that is waited for or made now, from 1; 0 if none. */
  get retry() {
    return this.#life.retries;
  }

  get reconnects() {
    return this.#life.reconnects;
  }

  get retryInS() {
    return this.#retryAtS === null ? null : Math.max(0, this.#retryAtS - nowS());
  }

  connect() {
    this.#act(this.#life.connect());
  }

  disconnect() {
    this.#act(this.#life.disconnect());
  }

  /** With other settings. */
  reconnect(settings) {
    this.settings = settings;
    this.disconnect();
    this.connect();
  }

  /** False if it could not be sent. */
  send(bytes) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(bytes);
    return true;
  }

  #act(action) {
    this.#retryAtS = null;
    if (action?.do === "open") this.#open();
    if (action?.do === "close") this.#drop();
    if (action?.do === "wait") {
      this.#drop();
      this.#retryAtS = nowS() + action.delay_s;
      this.#after(action.delay_s * 1000, () => this.#act(this.#life.backoffElapsed()));
    }
    this.#emit("state");
  }

  #open() {
    const socket = new WebSocket(urlOf(this.settings));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#decoder = new PositionDecoder();
    const mine = (handle) => (event) => socket === this.#socket && handle(event);
    socket.onopen = mine(() => {
      this.#clearTimers();
      this.#act(this.#life.opened(nowS()));
      this.#startHeartbeats();
    });
    socket.onmessage = mine((event) => this.#receive(event.data));
    socket.onclose = mine((event) => {
      this.#drop();
      const opened = this.#life.state === "Connected";
      if (opened && event.reason) this.#emit("trouble", { text: `The server closed the connection: ${event.reason}` });
      this.#act(opened ? this.#life.closed(event.code, nowS()) : this.#life.openFailed());
    });
    this.#after(CONNECT_TIMEOUT_MS, () => {
      this.#drop();
      this.#act(this.#life.openFailed());
    });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#clearTimers();
    socket?.close();
  }

  #receive(data) {
    const arrivalUs = nowUs();
    let message;
    try {
      message = this.#decoder.feed(decode(data));
    } catch (error) {
      this.#emit("trouble", { text: `The server sent what is not V4: ${error.message}` });
      this.disconnect();
      return;
    }
    if (!this.#life.proven) this.#life.observe(message.type);
    const detail = { message, data, bytes: data.byteLength };
    switch (message.type) {
      case "FullGraph":
        return this.#emit("graph", detail);
      case "PositionUpdate":
        return this.#emit("update", { ...detail, delay_ms: delayOf(message, arrivalUs) });
      case "Heartbeat":
        return this.#heard(message, arrivalUs);
      case "Notice":
        return this.#emit("notice", { ...detail, notice: message.notice });
      case "VoiceData":
        return this.#emit("voice", detail);
    }
  }

  #startHeartbeats() {
    this.#clock = [];
    const beat = () => this.send(encodeHeartbeat(Math.round(nowUs())));
    for (const delay of FIRST_HEARTBEATS_MS) this.#after(delay, beat);
    const again = () => this.#after(HEARTBEAT_MS, () => (beat(), again()));
    again();
  }

  /** NTP's estimate, from the quickest of the last exchanges. */
  #heard(heartbeat, arrivalUs) {
    if (heartbeat.responder_timestamp_us === undefined) {
      this.send(encodeHeartbeat(heartbeat.timestamp_us, Math.round(nowUs())));
      return;
    }
    const round_trip_us = arrivalUs - heartbeat.timestamp_us;
    const offset_us = heartbeat.responder_timestamp_us - (heartbeat.timestamp_us + arrivalUs) / 2;
    this.#clock = [...this.#clock, { round_trip_us, offset_us }].slice(-CLOCK_SAMPLES);
    const best = this.#clock.reduce((one, other) => (other.round_trip_us < one.round_trip_us ? other : one));
    this.clock_offset_us = best.offset_us;
    this.round_trip_us = best.round_trip_us;
  }

  #after(delay_ms, call) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      call();
    }, delay_ms);
    this.#timers.add(timer);
  }

  #clearTimers() {
    this.#timers.forEach(clearTimeout);
    this.#timers.clear();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** From the state's time to its arrival, by two clocks; null if the state has none. */
function delayOf(message, arrivalUs) {
  return message.timestamp_us === undefined ? null : (arrivalUs - message.timestamp_us) / 1000;
}

/** Relative to the page, so that a proxy may put both behind any path. */
function urlOf({ encoding, timed }) {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = new URLSearchParams({ encoding, timed: timed ? 1 : 0, metadata: 1, voice: 1, notices: 1 });
  url.hash = "";
  return url;
}
