/** Typed access to the elements of the page. */

/**
 * The element with this id. `index.html` contains it, so a missing one is a bug in the viewer.
 *
 * @template {HTMLElement} T
 * @param {new () => T} type
 * @param {string} id
 * @returns {T}
 */
export function elementOf(type, id) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} with id "${id}"`);
  return found;
}

/** @param {string} id */
export const element = (id) => elementOf(HTMLElement, id);
/** @param {string} id */
export const button = (id) => elementOf(HTMLButtonElement, id);
/** @param {string} id */
export const input = (id) => elementOf(HTMLInputElement, id);
/** @param {string} id */
export const canvas = (id) => elementOf(HTMLCanvasElement, id);

/**
 * All elements that match a CSS selector.
 *
 * @template {HTMLElement} T
 * @param {new () => T} type
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {T[]}
 */
export function elementsOf(type, selector, root = document) {
  return [...root.querySelectorAll(selector)].flatMap((found) => (found instanceof type ? [found] : []));
}

/**
 * Change a text only if it differs, because screen readers announce every change.
 *
 * @param {Element} target
 * @param {string} text
 */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** @param {HTMLCanvasElement} target */
export function context2d(target) {
  const context = target.getContext("2d");
  if (!context) throw new Error("this browser has no 2D canvas");
  return context;
}

const TEXTLESS_INPUTS = new Set(["range", "checkbox", "radio"]);

/**
 * Whether keys that are pressed here write text.
 *
 * @param {EventTarget | null} target
 * @returns {target is HTMLInputElement}
 */
export function isTextInput(target) {
  return target instanceof HTMLInputElement && !TEXTLESS_INPUTS.has(target.type);
}
