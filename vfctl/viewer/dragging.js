/** What a drag sends: at most 25 places a second, one now and then while the node is held still, FINAL at the end. */

import { encodeDrag } from "./protocol.js";

const EVERY_MS = 40;
/** The server lets go after 500 ms of silence. */
const REMIND_MS = 200;

export class Drag {
  #send;
  #sentAt = -Infinity;
  #moved = false;
  #timer;

  constructor(id, place, send) {
    this.id = id;
    this.place = place;
    this.#send = send;
    this.#timer = setInterval(() => this.#tick(), EVERY_MS);
  }

  moveTo(place) {
    this.place = place;
    this.#moved = true;
    if (performance.now() - this.#sentAt >= EVERY_MS) this.#say(false);
  }

  end() {
    clearInterval(this.#timer);
    this.#say(true);
  }

  #tick() {
    const silent_ms = performance.now() - this.#sentAt;
    if ((this.#moved && silent_ms >= EVERY_MS) || silent_ms >= REMIND_MS) this.#say(false);
  }

  #say(final) {
    this.#moved = false;
    this.#sentAt = performance.now();
    this.#send(encodeDrag(this.id, ...this.place, final));
  }
}
