/** A camera that orbits a point. Movements are goals that it glides to. */

const FIELD_OF_VIEW = (42 * Math.PI) / 180;
export const FOCAL = 1 / Math.tan(FIELD_OF_VIEW / 2);
const STEEPEST = Math.PI / 2 - 0.02;
const GLIDE_MS = 90;
const NEAR = 0.005;

const mixed = (one, other, share) => one + (other - one) * share;

export class Camera {
  #goal = { target: [0, 0, 0], yaw: 0.5, pitch: 0.35, distance: 10 };
  #now = structuredClone(this.#goal);
  #radius = 1;

  /** Whether the person has turned or moved it, so that it does not follow the layout any more. */
  taken = false;
  /** What the picture leaves free for panels, in CSS pixels. */
  insets = { left: 0, right: 0, top: 0, bottom: 0 };

  constructor(reducedMotion = false) {
    this.glide_ms = reducedMotion ? 0 : GLIDE_MS;
  }

  orbit(yaw, pitch) {
    this.taken = true;
    this.#goal.yaw += yaw;
    this.#goal.pitch = Math.min(STEEPEST, Math.max(-STEEPEST, this.#goal.pitch + pitch));
  }

  /** By so many CSS pixels, at the depth of the target. */
  pan(dx, dy, height) {
    this.taken = true;
    const { right, up } = this.axes();
    const scale = (2 * this.#goal.distance) / (FOCAL * height);
    for (let axis = 0; axis < 3; axis++) this.#goal.target[axis] += scale * (up[axis] * dy - right[axis] * dx);
  }

  /** Closer by `factor` (< 1) or away; the point under the cursor (from the middle, in halves of the height) stays. */
  zoom(factor, x = 0, y = 0) {
    this.taken = true;
    const before = this.#goal.distance;
    this.#goal.distance = Math.min(20 * this.#radius, Math.max(0.02 * this.#radius, before * factor));
    const { right, up } = this.axes();
    const shift = (before - this.#goal.distance) / FOCAL;
    for (let axis = 0; axis < 3; axis++) this.#goal.target[axis] += shift * (right[axis] * x + up[axis] * y);
  }

  /** Look at all of a sphere. */
  fit({ centre, radius }, width, height, { at_once = false } = {}) {
    const { left, right, top, bottom } = this.insets;
    const free = Math.max(160, Math.min(width - left - right, height - top - bottom));
    this.#radius = radius;
    this.#goal.target = [...centre];
    this.#goal.distance = (0.98 * radius * FOCAL * height) / free;
    if (at_once) this.#now = structuredClone(this.#goal);
  }

  /** Turn to a point without changing the distance much. */
  centre(place) {
    this.taken = true;
    this.#goal.target = [...place];
  }

  get distance() {
    return this.#now.distance;
  }

  get radius() {
    return this.#radius;
  }

  /** Glide on; whether it still moves. */
  update(elapsed_ms) {
    const share = this.glide_ms ? 1 - Math.exp(-elapsed_ms / this.glide_ms) : 1;
    const [now, goal] = [this.#now, this.#goal];
    let left = Math.abs(goal.distance - now.distance) / goal.distance + Math.abs(goal.yaw - now.yaw) + Math.abs(goal.pitch - now.pitch);
    for (let axis = 0; axis < 3; axis++) left += Math.abs(goal.target[axis] - now.target[axis]) / goal.distance;
    if (left < 1e-4) {
      this.#now = structuredClone(goal);
      return false;
    }
    for (const name of ["yaw", "pitch", "distance"]) now[name] = mixed(now[name], goal[name], share);
    now.target = now.target.map((value, axis) => mixed(value, goal.target[axis], share));
    return true;
  }

  /** Unit vectors of the view, and the eye. */
  axes() {
    const { yaw, pitch, distance, target } = this.#now;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const forward = [-sy * cp, -sp, -cy * cp];
    const right = [cy, 0, -sy];
    const up = [-sy * sp, cp, -cy * sp];
    return { right, up, forward, eye: target.map((value, axis) => value - distance * forward[axis]) };
  }

  /** View and projection in one, column by column; w is the depth. The middle lies in what panels leave free. */
  matrix(width, height) {
    const { right, up, forward, eye } = this.axes();
    const { distance } = this.#now;
    const [near, far] = [NEAR * distance, distance + 40 * this.#radius];
    const dot = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    const [sx, sy] = [(FOCAL * height) / width, FOCAL];
    const shiftX = (this.insets.left - this.insets.right) / width;
    const shiftY = (this.insets.bottom - this.insets.top) / height;
    const depth = (far + near) / (far - near);
    const out = new Float32Array(16);
    for (let axis = 0; axis < 3; axis++) {
      out[4 * axis] = sx * right[axis] + shiftX * forward[axis];
      out[4 * axis + 1] = sy * up[axis] + shiftY * forward[axis];
      out[4 * axis + 2] = depth * forward[axis];
      out[4 * axis + 3] = forward[axis];
    }
    out[12] = sx * dot(right) + shiftX * dot(forward);
    out[13] = sy * dot(up) + shiftY * dot(forward);
    out[14] = depth * dot(forward) - (2 * far * near) / (far - near);
    out[15] = dot(forward);
    return out;
  }

  /** The point at `depth` under a place on the screen. */
  unproject(x, y, depth, width, height) {
    const { right, up, forward, eye } = this.axes();
    const shiftX = (this.insets.left - this.insets.right) / width;
    const shiftY = (this.insets.bottom - this.insets.top) / height;
    const across = ((2 * x) / width - 1 - shiftX) * (depth * width) / (FOCAL * height);
    const upwards = ((1 - (2 * y) / height - shiftY) * depth) / FOCAL;
    return eye.map((value, axis) => value + right[axis] * across + up[axis] * upwards + forward[axis] * depth);
  }
}
