/** What the user can choose: colours, encoding, timing. The choice is kept in the page's URL, so that it can be shared. */

import { elementsOf, input } from "./dom.js";

/** @import { ColourBy } from "./colours.js" */

/** @type {ColourBy[]} the first is the default */
const COLOURS = ["cluster", "kind", "depth"];
const ENCODINGS = ["raw", "lz4", "compact"];

/**
 * @template {string} T
 * @param {T[]} choices the first is the default
 * @param {string | null} value
 */
const oneOf = (choices, value) => choices.find((choice) => choice === value) ?? choices[0];

export class Settings {
  /** @type {ColourBy} */
  colour;
  /** @type {string} */
  encoding;
  /** Whether states have their time, which latency needs. */
  timed;

  /**
   * Reads the URL, and fills the controls.
   *
   * @param {{ onColour: () => void, onConnection: () => void }} handlers the colours changed; the page has to connect again
   */
  constructor({ onColour, onConnection }) {
    const query = new URLSearchParams(location.search);
    this.colour = oneOf(COLOURS, query.get("colour"));
    this.encoding = oneOf(ENCODINGS, query.get("encoding"));
    this.timed = query.get("timed") !== "0";
    listen("colour", this.colour, (value) => {
      this.colour = oneOf(COLOURS, value);
      this.#write();
      onColour();
    });
    listen("encoding", this.encoding, (value) => {
      this.encoding = value;
      this.#write();
      onConnection();
    });
    const timed = input("timed");
    timed.checked = this.timed;
    timed.addEventListener("change", () => {
      this.timed = timed.checked;
      this.#write();
      onConnection();
    });
  }

  /**
   * Hides the encodings that the server does not offer.
   *
   * @param {string[]} [encodings] all, if it does not say
   */
  offerEncodings(encodings) {
    for (const radio of radios("encoding")) {
      radio.disabled = encodings?.includes(radio.value) === false;
      const label = radio.closest("label");
      if (label) label.hidden = radio.disabled;
    }
  }

  #write() {
    const query = new URLSearchParams();
    if (this.encoding !== ENCODINGS[0]) query.set("encoding", this.encoding);
    if (!this.timed) query.set("timed", "0");
    if (this.colour !== COLOURS[0]) query.set("colour", this.colour);
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
  }
}

/** @param {string} name of a group of radio buttons */
function radios(name) {
  return elementsOf(HTMLInputElement, `input[name="${name}"]`);
}

/**
 * @param {string} name
 * @param {string} chosen
 * @param {(value: string) => void} onChange
 */
function listen(name, chosen, onChange) {
  for (const radio of radios(name)) {
    radio.checked = radio.value === chosen;
    radio.addEventListener("change", () => {
      if (radio.checked) onChange(radio.value);
    });
  }
}
