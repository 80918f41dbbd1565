/** The state of the connection in words: the pill in the header, the notice when there is trouble, and short messages. */

import { button, element, setText } from "./dom.js";
import { BACKOFF_MS } from "./lifecycle.js";

/** @import { Connection } from "./connection.js" */

/**
 * @typedef {object} StatusTexts
 * @property {string} look name in the style sheet
 * @property {string} short for the pill
 * @property {string} [trouble] for the notice; none without it
 * @property {string} [wait]
 */

const REFRESH_MS = 200;
const TOAST_MS = 6000;

export class Status {
  /** @type {Connection} */
  #connection;
  #settled = false;
  #everConnected = false;
  #toastTimer = 0;
  #pill = element("status");
  #pillText = element("status-text");
  #trouble = element("trouble");
  #troubleText = element("trouble-text");
  #troubleWait = element("trouble-wait");
  #retry = button("retry");
  #toast = element("toast");

  /** @param {Connection} connection */
  constructor(connection) {
    this.#connection = connection;
    this.#retry.addEventListener("click", () => connection.connect());
    setInterval(() => {
      if (connection.state === "Reconnecting") this.refresh();
    }, REFRESH_MS);
  }

  /** Whether the layout has settled. */
  get settled() {
    return this.#settled;
  }

  set settled(settled) {
    if (settled === this.#settled) return;
    this.#settled = settled;
    this.refresh();
  }

  /**
   * Shows a sentence at the lower edge for some seconds.
   *
   * @param {string} text
   */
  toast(text) {
    this.#toast.textContent = text;
    this.#toast.hidden = false;
    clearTimeout(this.#toastTimer);
    this.#toastTimer = setTimeout(() => (this.#toast.hidden = true), TOAST_MS);
  }

  refresh() {
    if (this.#connection.state === "Connected") this.#everConnected = true;
    const { look, short, trouble, wait } = this.#texts();
    this.#pill.dataset.look = look;
    setText(this.#pillText, short);
    this.#trouble.hidden = trouble === undefined;
    setText(this.#troubleText, trouble ?? "");
    setText(this.#troubleWait, wait ?? ""); // not announced, because it changes every second
    this.#retry.hidden = this.#connection.state !== "Disconnected";
  }

  /** @returns {StatusTexts} */
  #texts() {
    const { state, retry, retryInS } = this.#connection;
    const trouble = `Connection lost. Attempt ${retry} of ${BACKOFF_MS.length}.`;
    switch (state) {
      case "Connected":
        return this.#settled ? { look: "settled", short: "Settled" } : { look: "live", short: "Live" };
      case "Connecting":
        if (!retry) return { look: "waiting", short: "Connecting…" };
        return { look: "waiting", short: "Reconnecting…", trouble, wait: "Reconnecting…" };
      case "Reconnecting":
        return { look: "waiting", short: "Reconnecting…", trouble, wait: `Reconnecting in ${Math.ceil(retryInS ?? 0)} s` };
      case "Disconnected":
        if (!this.#everConnected) return { look: "lost", short: "Disconnected", trouble: "The server does not answer." };
        return { look: "lost", short: "Disconnected", trouble: "Connection lost. The server does not answer." };
    }
  }
}
