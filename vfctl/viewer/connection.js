/** The WebSocket: when it connects, what it receives, and the estimate of the server's clock. */

import { PositionDecoder } from "./compact.js";
import { LifeCycle } from "./lifecycle.js";
import { decode, encodeHeartbeat, textOf } from "./protocol.js";

/**
 * @import { Action } from "./lifecycle.js"
 * @import { FullGraphMessage, HeartbeatMessage, NoticeContent, PositionUpdateMessage, VoiceDataMessage } from "./protocol.js"
 */

/**
 * @typedef {{ encoding: string, timed: boolean }} ConnectionSettings
 *
 * @typedef {object} Handlers What the owner does with what happens on the connection.
 * @property {() => void} onState the state changed
 * @property {(message: FullGraphMessage, data: ArrayBuffer) => void} onGraph
 * @property {(message: PositionUpdateMessage, data: ArrayBuffer, delay_ms: number | null) => void} onUpdate with the time from the
 *   state to its arrival, by two clocks; null if the state has no time
 * @property {(notice: NoticeContent) => void} onNotice
 * @property {(message: VoiceDataMessage) => void} onVoice
 * @property {(text: string) => void} onTrouble a sentence for the user
 */

const CONNECT_TIMEOUT_MS = 10_000;
const FIRST_HEARTBEATS_MS = [0, 100, 300, 600, 1000, 3000];
const HEARTBEAT_MS = 10_000;
const CLOCK_SAMPLES = 8;

const nowUs = () => (performance.timeOrigin + performance.now()) * 1000;
const nowS = () => performance.now() / 1000;

export class Connection {
  #life = new LifeCycle();
  /** @type {ConnectionSettings} */
  #settings;
  /** @type {Handlers} */
  #handlers;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Set<number>} */
  #timers = new Set();
  #decoder = new PositionDecoder();
  /** @type {{ round_trip_us: number, offset_us: number }[]} */
  #clockSamples = [];
  /** @type {number | null} */
  #retryAtS = null;

  /**
   * How far the server's clock is ahead, in µs; null before the first heartbeat is answered.
   *
   * @type {number | null}
   */
  clock_offset_us = null;
  /** @type {number | null} */
  round_trip_us = null;

  /**
   * @param {ConnectionSettings} settings
   * @param {Handlers} handlers
   */
  constructor(settings, handlers) {
    this.#settings = { ...settings };
    this.#handlers = handlers;
  }

  get state() {
    return this.#life.state;
  }

  get encoding() {
    return this.#settings.encoding;
  }

  /** The number of the current retry, from 1; 0 if there is none. */
  get retry() {
    return this.#life.retries;
  }

  get reconnects() {
    return this.#life.reconnects;
  }

  /** Seconds until the next attempt; null if none is scheduled. */
  get retryInS() {
    return this.#retryAtS === null ? null : Math.max(0, this.#retryAtS - nowS());
  }

  connect() {
    this.#perform(this.#life.connect());
  }

  disconnect() {
    this.#perform(this.#life.disconnect());
  }

  /**
   * Connect again with other settings.
   *
   * @param {ConnectionSettings} settings
   */
  reconnect(settings) {
    this.#settings = { ...settings };
    this.disconnect();
    this.connect();
  }

  /**
   * False if there is no open connection.
   *
   * @param {Uint8Array<ArrayBuffer>} bytes
   */
  send(bytes) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(bytes);
    return true;
  }

  /** @param {Action | null} action */
  #perform(action) {
    this.#retryAtS = null;
    if (action?.do === "open") this.#open();
    if (action?.do === "close") this.#drop();
    if (action?.do === "wait") {
      this.#drop();
      this.#retryAtS = nowS() + action.delay_s;
      this.#after(action.delay_s * 1000, () => this.#perform(this.#life.backoffElapsed()));
    }
    this.#handlers.onState();
  }

  #open() {
    const socket = new WebSocket(urlOf(this.#settings));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#decoder = new PositionDecoder();
    socket.onopen = () => {
      if (socket !== this.#socket) return;
      this.#clearTimers();
      this.#perform(this.#life.opened(nowS()));
      this.#startHeartbeats();
    };
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(event.data);
    };
    socket.onclose = (event) => {
      if (socket !== this.#socket) return;
      this.#drop();
      const opened = this.#life.state === "Connected";
      if (opened && event.reason) this.#handlers.onTrouble(`The server closed the connection: ${event.reason}`);
      this.#perform(opened ? this.#life.closed(event.code, nowS()) : this.#life.openFailed());
    };
    this.#after(CONNECT_TIMEOUT_MS, () => {
      this.#drop();
      this.#perform(this.#life.openFailed());
    });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    this.#clearTimers();
    socket?.close();
  }

  /** @param {ArrayBuffer} data */
  #receive(data) {
    const arrivalUs = nowUs();
    let message;
    try {
      message = this.#decoder.decode(decode(data));
    } catch (error) {
      this.#handlers.onTrouble(`The server sent an invalid V4 message: ${textOf(error)}`);
      this.disconnect();
      return;
    }
    if (!this.#life.proven) this.#life.observe(message.type);
    switch (message.type) {
      case "FullGraph":
        return this.#handlers.onGraph(message, data);
      case "PositionUpdate": {
        const sent_us = message.timestamp_us;
        return this.#handlers.onUpdate(message, data, sent_us === undefined ? null : (arrivalUs - sent_us) / 1000);
      }
      case "Heartbeat":
        return this.#onHeartbeat(message, arrivalUs);
      case "Notice":
        return this.#handlers.onNotice(message.notice);
      case "VoiceData":
        return this.#handlers.onVoice(message);
    }
  }

  #startHeartbeats() {
    this.#clockSamples = [];
    const beat = () => this.send(encodeHeartbeat(Math.round(nowUs())));
    for (const delay of FIRST_HEARTBEATS_MS) this.#after(delay, beat);
    const repeat = () => {
      this.#after(HEARTBEAT_MS, () => {
        beat();
        repeat();
      });
    };
    repeat();
  }

  /**
   * Estimates the clock offset as NTP does, from the sample with the shortest round trip.
   *
   * @param {HeartbeatMessage} heartbeat
   * @param {number} arrivalUs
   */
  #onHeartbeat(heartbeat, arrivalUs) {
    if (heartbeat.responder_timestamp_us === undefined) {
      this.send(encodeHeartbeat(heartbeat.timestamp_us, Math.round(nowUs())));
      return;
    }
    const round_trip_us = arrivalUs - heartbeat.timestamp_us;
    const offset_us = heartbeat.responder_timestamp_us - (heartbeat.timestamp_us + arrivalUs) / 2;
    this.#clockSamples = [...this.#clockSamples, { round_trip_us, offset_us }].slice(-CLOCK_SAMPLES);
    const best = this.#clockSamples.reduce((one, other) => (other.round_trip_us < one.round_trip_us ? other : one));
    this.clock_offset_us = best.offset_us;
    this.round_trip_us = best.round_trip_us;
  }

  /**
   * @param {number} delay_ms
   * @param {() => void} call
   */
  #after(delay_ms, call) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      call();
    }, delay_ms);
    this.#timers.add(timer);
  }

  #clearTimers() {
    this.#timers.forEach((timer) => clearTimeout(timer));
    this.#timers.clear();
  }
}

/**
 * The WebSocket's URL is relative to the page, so that a proxy can serve both under any path.
 *
 * @param {ConnectionSettings} settings
 */
function urlOf({ encoding, timed }) {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = String(new URLSearchParams({ encoding, timed: timed ? "1" : "0", metadata: "1", voice: "1", notices: "1" }));
  url.hash = "";
  return url;
}
