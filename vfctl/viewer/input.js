/** Input on the picture: pointer gestures, keys, and the messages of a node drag. */

import { isTextInput } from "./dom.js";
import { encodeDrag } from "./protocol.js";

/**
 * @import { Point } from "./interpolation.js"
 * @import { Viewport } from "./viewport.js"
 */

const CLICK_PX = 4;
const MOUSE_SLACK_PX = 4;
const TOUCH_SLACK_PX = 18;
const ORBIT_PER_PX = 0.006;

/**
 * @typedef {object} PointerActions
 * @property {(index: number) => void} hover index of a node, or -1
 * @property {(index: number) => void} select index of a node, or -1
 * @property {(index: number, depth: number) => void} dragStart
 * @property {(x: number, y: number) => void} dragMove
 * @property {() => void} dragEnd
 * @property {() => void} redraw the camera's goal has changed
 *
 * @typedef {{ x: number, y: number, startX: number, startY: number, index: number, pans: boolean, moved: boolean }} Press
 * @typedef {{ x: number, y: number, apart: number }} Pinch
 */

/** Mouse, pen and fingers: orbit, pan, zoom, hover, click, drag a node. */
export class Pointer {
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {Viewport} */
  #viewport;
  /** @type {PointerActions} */
  #actions;
  /** @type {Map<number, Press>} */
  #pressed = new Map();
  /**
   * The offset from the cursor to the node that is dragged.
   *
   * @type {{ dx: number, dy: number } | null}
   */
  #dragged = null;
  /** @type {Pinch | null} */
  #pinch = null;
  /** @type {{ x: number, y: number } | null} */
  #mouse = null;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Viewport} viewport
   * @param {PointerActions} actions
   */
  constructor(canvas, viewport, actions) {
    this.#canvas = canvas;
    this.#viewport = viewport;
    this.#actions = actions;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event, true));
    canvas.addEventListener("pointercancel", (event) => this.#release(event, false));
    canvas.addEventListener("lostpointercapture", (event) => this.#release(event, false));
    canvas.addEventListener("pointerleave", () => {
      this.#mouse = null;
      actions.hover(-1);
    });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Looks again for the node under a mouse that rests while the nodes move. To be called in each frame. */
  updateHover() {
    if (this.#mouse && !this.#pressed.size) this.#actions.hover(this.#viewport.pick(this.#mouse.x, this.#mouse.y, MOUSE_SLACK_PX));
  }

  /** @param {PointerEvent} event */
  #press(event) {
    if (event.button > 2) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const slack = event.pointerType === "mouse" ? MOUSE_SLACK_PX : TOUCH_SLACK_PX;
    const [x, y] = [event.offsetX, event.offsetY];
    const pans = event.button !== 0 || event.shiftKey;
    const index = pans ? -1 : this.#viewport.pick(x, y, slack);
    this.#pressed.set(event.pointerId, { x, y, startX: x, startY: y, index, pans, moved: false });
    if (this.#pressed.size === 2) {
      this.#endDrag();
      for (const press of this.#pressed.values()) press.moved = true;
      this.#pinch = this.#measurePinch();
    }
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const press = this.#pressed.get(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    if (event.pointerType === "mouse") this.#mouse = { x, y };
    if (!press) return this.#actions.redraw();
    const [dx, dy] = [x - press.x, y - press.y];
    Object.assign(press, { x, y });
    if (this.#pinch) return this.#continuePinch(this.#pinch);
    if (!press.moved && Math.hypot(x - press.startX, y - press.startY) < CLICK_PX) return;
    const { camera, height } = this.#viewport;
    if (!press.moved && press.index >= 0) {
      const node = this.#viewport.locate(press.index);
      if (node) {
        this.#dragged = { dx: node.x - press.startX, dy: node.y - press.startY };
        this.#actions.dragStart(press.index, node.depth);
      }
    }
    press.moved = true;
    if (this.#dragged) this.#actions.dragMove(x + this.#dragged.dx, y + this.#dragged.dy);
    else if (press.pans) camera.pan(dx, dy, height);
    else camera.orbit(-dx * ORBIT_PER_PX, dy * ORBIT_PER_PX);
    this.#actions.redraw();
  }

  /**
   * @param {PointerEvent} event
   * @param {boolean} completed false if the browser has cancelled the gesture
   */
  #release(event, completed) {
    const press = this.#pressed.get(event.pointerId);
    if (!press) return;
    this.#pressed.delete(event.pointerId);
    this.#pinch = null;
    if (this.#dragged) this.#endDrag();
    else if (completed && !press.moved && event.button === 0) this.#actions.select(press.index);
  }

  #endDrag() {
    if (this.#dragged) this.#actions.dragEnd();
    this.#dragged = null;
  }

  /** @returns {Pinch} */
  #measurePinch() {
    const [one, other] = [...this.#pressed.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, apart: Math.hypot(one.x - other.x, one.y - other.y) };
  }

  /** @param {Pinch} before */
  #continuePinch(before) {
    const now = this.#measurePinch();
    const { camera, height } = this.#viewport;
    if (now.apart > 0) camera.zoom(before.apart / now.apart, ...this.#fromMiddle(now.x, now.y));
    camera.pan(now.x - before.x, now.y - before.y, height);
    this.#pinch = now;
    this.#actions.redraw();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    this.#viewport.camera.zoom(Math.exp(speed * lines * event.deltaY), ...this.#fromMiddle(event.offsetX, event.offsetY));
    this.#actions.redraw();
  }

  /**
   * A position on the screen, from the middle, in halves of the height, y upwards.
   *
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]}
   */
  #fromMiddle(x, y) {
    const { width, height } = this.#viewport;
    return [(2 * x - width) / height, (height - 2 * y) / height];
  }
}

const KEY_ORBIT = 0.12;
const KEY_PAN_PX = 40;
const KEY_ZOOM = 0.85;
/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * @typedef {object} KeyActions
 * @property {() => void} fit
 * @property {() => void} toggleLabels
 * @property {() => void} search
 * @property {(field: HTMLInputElement | null) => void} clear with the text field that has the focus
 * @property {() => void} redraw
 */

/**
 * Keys: arrows orbit (with Shift they pan), + and − zoom, 0 fits, L toggles labels, / searches, Esc clears.
 *
 * @param {HTMLCanvasElement} canvas
 * @param {Viewport} viewport
 * @param {KeyActions} actions
 */
export function listenToKeys(canvas, viewport, actions) {
  const { camera } = viewport;
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey) camera.pan(-KEY_PAN_PX * arrow[0], KEY_PAN_PX * arrow[1], viewport.height);
    else if (arrow) camera.orbit(KEY_ORBIT * arrow[0], KEY_ORBIT * arrow[1]);
    else if (event.key === "+" || event.key === "=") camera.zoom(KEY_ZOOM);
    else if (event.key === "-" || event.key === "_") camera.zoom(1 / KEY_ZOOM);
    else if (event.key === "0" || event.key === "Home") actions.fit();
    else if (event.key === "l" || event.key === "L") actions.toggleLabels();
    else return;
    event.preventDefault();
    actions.redraw();
  });
  document.addEventListener("keydown", (event) => {
    const field = isTextInput(event.target) ? event.target : null;
    if (event.key === "/" && !field && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      actions.search();
    } else if (event.key === "Escape") {
      actions.clear(field);
      canvas.focus({ preventScroll: true });
    }
  });
}

/** At most 25 drags a second. */
const DRAG_INTERVAL_MS = 40;
/** A node that is held still is sent again, because the server releases it after 500 ms without a drag. */
const DRAG_REPEAT_MS = 200;

/** Sends the drag of one node: its position while it is dragged, then a last one with FINAL. */
export class Drag {
  /** @type {number} */
  #node;
  /** @type {Point} */
  #position;
  /** @type {(bytes: Uint8Array<ArrayBuffer>) => void} */
  #send;
  #sentAt = -Infinity;
  #moved = false;
  #timer;

  /**
   * @param {number} node its id
   * @param {Point} position
   * @param {(bytes: Uint8Array<ArrayBuffer>) => void} send
   */
  constructor(node, position, send) {
    this.#node = node;
    this.#position = position;
    this.#send = send;
    this.#timer = setInterval(() => this.#tick(), DRAG_INTERVAL_MS);
  }

  /** @param {Point} position */
  moveTo(position) {
    this.#position = position;
    this.#moved = true;
    if (performance.now() - this.#sentAt >= DRAG_INTERVAL_MS) this.#sendPosition(false);
  }

  end() {
    clearInterval(this.#timer);
    this.#sendPosition(true);
  }

  #tick() {
    const silent_ms = performance.now() - this.#sentAt;
    if ((this.#moved && silent_ms >= DRAG_INTERVAL_MS) || silent_ms >= DRAG_REPEAT_MS) this.#sendPosition(false);
  }

  /** @param {boolean} final */
  #sendPosition(final) {
    this.#moved = false;
    this.#sentAt = performance.now();
    this.#send(encodeDrag(this.#node, ...this.#position, final));
  }
}
