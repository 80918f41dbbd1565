/** Mouse, pen and fingers on the picture: orbit, pan, zoom, hover, click, drag a node. */

const CLICK_PX = 4;
const MOUSE_SLACK_PX = 4;
const TOUCH_SLACK_PX = 18;
const ORBIT_PER_PX = 0.006;

/**
 * `act`: hover(index), select(index or -1), grab(index, depth), move(x, y), release(), look() after the camera's goal has changed.
 */
export class Pointer {
  #canvas;
  #stage;
  #act;
  #down = new Map();
  #grabbed = null;
  #pinch = null;
  #seen = null;

  constructor(canvas, stage, act) {
    this.#canvas = canvas;
    this.#stage = stage;
    this.#act = act;
    const on = (type, handle) => canvas.addEventListener(type, handle);
    on("pointerdown", (event) => this.#press(event));
    on("pointermove", (event) => this.#moveTo(event));
    on("pointerup", (event) => this.#release(event, true));
    on("pointercancel", (event) => this.#release(event, false));
    on("lostpointercapture", (event) => this.#release(event, false));
    on("pointerleave", () => {
      this.#seen = null;
      act.hover(-1);
    });
    on("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** What is under a mouse that rests while the nodes move; to be called with each picture. */
  hoverAgain() {
    if (this.#seen && !this.#down.size) this.#act.hover(this.#stage.pick(this.#seen.x, this.#seen.y, MOUSE_SLACK_PX));
  }

  get busy() {
    return this.#down.size > 0;
  }

  #press(event) {
    if (event.button > 2) return;
    this.#canvas.setPointerCapture(event.pointerId);
    const slack = event.pointerType === "mouse" ? MOUSE_SLACK_PX : TOUCH_SLACK_PX;
    const [x, y] = [event.offsetX, event.offsetY];
    const index = event.button === 0 && !event.shiftKey ? this.#stage.pick(x, y, slack) : -1;
    this.#down.set(event.pointerId, { x, y, startX: x, startY: y, index, pans: event.button !== 0 || event.shiftKey, moved: false });
    if (this.#down.size === 2) {
      this.#letGo();
      for (const finger of this.#down.values()) finger.moved = true;
      this.#pinch = this.#spread();
    }
  }

  #moveTo(event) {
    const finger = this.#down.get(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    if (!finger) {
      if (event.pointerType === "mouse") this.#seen = { x, y };
      this.#act.look();
      return;
    }
    const [dx, dy] = [x - finger.x, y - finger.y];
    Object.assign(finger, { x, y });
    if (event.pointerType === "mouse") this.#seen = { x, y };
    if (this.#pinch) return this.#pinchOn();
    if (!finger.moved && Math.hypot(x - finger.startX, y - finger.startY) < CLICK_PX) return;
    const { camera, height } = this.#stage;
    if (!finger.moved && finger.index >= 0) {
      const place = this.#stage.locate(finger.index);
      if (place) {
        this.#grabbed = { dx: place.x - finger.startX, dy: place.y - finger.startY };
        this.#act.grab(finger.index, place.depth);
      }
    }
    finger.moved = true;
    if (this.#grabbed) this.#act.move(x + this.#grabbed.dx, y + this.#grabbed.dy);
    else if (finger.pans) camera.pan(dx, dy, height);
    else camera.orbit(-dx * ORBIT_PER_PX, dy * ORBIT_PER_PX);
    this.#act.look();
  }

  #release(event, meant) {
    const finger = this.#down.get(event.pointerId);
    if (!finger) return;
    this.#down.delete(event.pointerId);
    this.#pinch = null;
    if (this.#grabbed) this.#letGo();
    else if (meant && !finger.moved && event.button === 0) this.#act.select(finger.index);
  }

  #letGo() {
    if (this.#grabbed) this.#act.release();
    this.#grabbed = null;
  }

  #spread() {
    const [one, other] = [...this.#down.values()];
    return { x: (one.x + other.x) / 2, y: (one.y + other.y) / 2, apart: Math.hypot(one.x - other.x, one.y - other.y) };
  }

  #pinchOn() {
    const now = this.#spread();
    const { camera, width, height } = this.#stage;
    if (now.apart > 0) camera.zoom(this.#pinch.apart / now.apart, ...fromMiddle(now.x, now.y, width, height));
    camera.pan(now.x - this.#pinch.x, now.y - this.#pinch.y, height);
    this.#pinch = now;
    this.#act.look();
  }

  #wheel(event) {
    event.preventDefault();
    const { camera, width, height } = this.#stage;
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
    const speed = event.ctrlKey ? 0.01 : 0.0016;
    camera.zoom(Math.exp(speed * lines * event.deltaY), ...fromMiddle(event.offsetX, event.offsetY, width, height));
    this.#act.look();
  }
}

/** In halves of the height, y upwards. */
function fromMiddle(x, y, width, height) {
  return [(2 * x - width) / height, (height - 2 * y) / height];
}
