/** How the connection is, in words: the pill in the header, and the notice in the middle when there is trouble. */

import { BACKOFF_MS } from "./lifecycle.js";

const TICK_MS = 200;
const TOAST_MS = 6000;

export class Status {
  #connection;
  #settled = false;
  #everConnected = false;
  #toastTimer = null;

  constructor(connection) {
    this.#connection = connection;
    connection.addEventListener("state", () => this.draw());
    const retry = document.getElementById("retry");
    retry.addEventListener("click", () => connection.connect());
    setInterval(() => connection.state === "Reconnecting" && this.draw(), TICK_MS);
  }

  set settled(settled) {
    if (settled === this.#settled) return;
    this.#settled = settled;
    this.draw();
  }

  get settled() {
    return this.#settled;
  }

  /** A sentence at the lower edge, for some seconds. */
  toast(text) {
    const toast = document.getElementById("toast");
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => (toast.hidden = true), TOAST_MS);
  }

  draw() {
    const { state, retry, retryInS } = this.#connection;
    if (state === "Connected") this.#everConnected = true;
    const [look, short, long, wait] = this.#words(state, retry, retryInS);
    const pill = document.getElementById("status");
    pill.dataset.look = look;
    say(pill.lastElementChild, short);
    const trouble = document.getElementById("trouble");
    trouble.hidden = long === null;
    say(document.getElementById("trouble-text"), long ?? "");
    say(document.getElementById("trouble-wait"), wait ?? ""); // not read aloud each second
    document.getElementById("retry").hidden = state !== "Disconnected";
  }

  #words(state, retry, retryInS) {
    switch (state) {
      case "Connected":
        return this.#settled ? ["settled", "Settled", null] : ["live", "Live", null];
      case "Connecting":
        if (retry) return ["waiting", "Reconnecting…", `The connection is lost. Attempt ${retry} of ${BACKOFF_MS.length}`, "Reconnecting…"];
        return ["waiting", "Connecting…", null];
      case "Reconnecting": {
        const wait = `Reconnecting in ${Math.ceil(retryInS ?? 0)} s`;
        return ["waiting", "Reconnecting…", `The connection is lost. Attempt ${retry} of ${BACKOFF_MS.length}`, wait];
      }
      default: {
        const why = this.#everConnected ? "The connection is lost, and the server does not come back." : "The server does not answer.";
        return ["lost", "Disconnected", why];
      }
    }
  }
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
