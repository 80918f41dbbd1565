/** Opens and closes the panels, and measures what they cover of the picture. */

import { element, elementsOf } from "./dom.js";

/** @import { Insets } from "./camera.js" */

export class Panels {
  #narrow = matchMedia("(max-width: 760px)");
  #buttons = elementsOf(HTMLButtonElement, "button[aria-controls]");
  #header = element("header");
  #filter = element("filter");
  #side = element("side");
  #details = element("details");
  #statistics = element("statistics");
  #foot = element("foot");
  #tools = element("tools");
  /** @type {() => void} */
  #onChange;

  /**
   * On a narrow screen all panels are closed at first, and only one is open at a time.
   *
   * @param {() => void} onChange
   */
  constructor(onChange) {
    this.#onChange = onChange;
    for (const button of this.#buttons) button.addEventListener("click", () => this.#toggle(button));
    this.#narrow.addEventListener("change", () => {
      this.#reset();
      onChange();
    });
    this.#reset();
  }

  /** Closes the panels on a narrow screen, where they cover the picture. */
  closeIfNarrow() {
    if (!this.#narrow.matches) return;
    for (const button of this.#buttons) this.#set(button, false);
    this.#onChange();
  }

  /**
   * What the panels cover of the picture, in CSS pixels.
   *
   * @param {number} width of the picture
   * @param {number} height
   * @returns {Insets}
   */
  insets(width, height) {
    if (this.#narrow.matches) {
      const [sheet = this.#tools] = elementsOf(HTMLElement, ".sheet:not([hidden])");
      const top = this.#header.getBoundingClientRect().bottom;
      return { left: 0, right: 0, top, bottom: height - sheet.getBoundingClientRect().top };
    }
    const left = this.#filter.hidden ? 0 : this.#filter.getBoundingClientRect().right;
    const right = this.#statistics.hidden && this.#details.hidden ? 0 : width - this.#side.getBoundingClientRect().left;
    return { left, right, top: 0, bottom: height - this.#foot.getBoundingClientRect().top };
  }

  /** @param {HTMLButtonElement} button */
  #toggle(button) {
    const open = button.getAttribute("aria-expanded") !== "true";
    if (open && this.#narrow.matches) for (const other of this.#buttons) this.#set(other, false);
    this.#set(button, open);
    this.#onChange();
  }

  #reset() {
    for (const button of this.#buttons) this.#set(button, !this.#narrow.matches);
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {boolean} open
   */
  #set(button, open) {
    button.setAttribute("aria-expanded", String(open));
    element(button.getAttribute("aria-controls") ?? "").hidden = !open;
  }
}
