/** A camera that orbits a point. Each movement sets a goal, and the camera glides to it. */

/** @import { Extent, Point } from "./interpolation.js" */

/**
 * @typedef {{ target: Point, yaw: number, pitch: number, distance: number }} Pose
 * @typedef {{ left: number, right: number, top: number, bottom: number }} Insets what panels cover, in CSS pixels
 */

const FIELD_OF_VIEW = (42 * Math.PI) / 180;
export const FOCAL = 1 / Math.tan(FIELD_OF_VIEW / 2);
const MAX_PITCH = Math.PI / 2 - 0.02;
const GLIDE_MS = 90;
const NEAR = 0.005;

/**
 * @param {number} from
 * @param {number} to
 * @param {number} share
 */
const mix = (from, to, share) => from + (to - from) * share;

/**
 * @param {Point} point
 * @param {(value: number, axis: number) => number} change
 * @returns {Point}
 */
const mapPoint = ([x, y, z], change) => [change(x, 0), change(y, 1), change(z, 2)];

export class Camera {
  /** @type {Pose} */
  #goal = { target: [0, 0, 0], yaw: 0.5, pitch: 0.35, distance: 10 };
  /** @type {Pose} */
  #pose = structuredClone(this.#goal);
  #radius = 1;
  #glide_ms;

  /** Whether the user has moved the camera. It then no longer follows the layout. */
  moved = false;
  /** @type {Insets} */
  insets = { left: 0, right: 0, top: 0, bottom: 0 };

  constructor(reducedMotion = false) {
    this.#glide_ms = reducedMotion ? 0 : GLIDE_MS;
  }

  /**
   * @param {number} yaw in radians
   * @param {number} pitch in radians
   */
  orbit(yaw, pitch) {
    this.moved = true;
    this.#goal.yaw += yaw;
    this.#goal.pitch = Math.min(MAX_PITCH, Math.max(-MAX_PITCH, this.#goal.pitch + pitch));
  }

  /**
   * @param {number} dx in CSS pixels at the depth of the target
   * @param {number} dy in CSS pixels at the depth of the target
   * @param {number} height of the picture, in CSS pixels
   */
  pan(dx, dy, height) {
    this.moved = true;
    const { right, up } = this.#axes();
    const scale = (2 * this.#goal.distance) / (FOCAL * height);
    this.#goal.target = mapPoint(this.#goal.target, (value, axis) => value + scale * (up[axis] * dy - right[axis] * dx));
  }

  /**
   * Zoom while the point under the cursor stays where it is.
   *
   * @param {number} factor of the distance; less than 1 is closer
   * @param {number} [x] of the cursor, from the middle, in halves of the picture's height
   * @param {number} [y] of the cursor, upwards
   */
  zoom(factor, x = 0, y = 0) {
    this.moved = true;
    const before = this.#goal.distance;
    this.#goal.distance = Math.min(20 * this.#radius, Math.max(0.02 * this.#radius, before * factor));
    const { right, up } = this.#axes();
    const shift = (before - this.#goal.distance) / FOCAL;
    this.#goal.target = mapPoint(this.#goal.target, (value, axis) => value + shift * (right[axis] * x + up[axis] * y));
  }

  /**
   * Show all of a sphere.
   *
   * @param {Extent} extent
   * @param {number} width of the picture, in CSS pixels
   * @param {number} height
   * @param {{ at_once?: boolean }} [options]
   */
  fit({ centre, radius }, width, height, { at_once = false } = {}) {
    const { left, right, top, bottom } = this.insets;
    const free = Math.max(160, Math.min(width - left - right, height - top - bottom));
    this.#radius = radius;
    this.#goal.target = [...centre];
    this.#goal.distance = (0.98 * radius * FOCAL * height) / free;
    if (at_once) this.#pose = structuredClone(this.#goal);
  }

  /**
   * Look at a point from the same distance and direction.
   *
   * @param {Point} point
   */
  centre(point) {
    this.moved = true;
    this.#goal.target = [...point];
  }

  get distance() {
    return this.#pose.distance;
  }

  /** The radius of what it was fitted to. */
  get radius() {
    return this.#radius;
  }

  /**
   * Glide on.
   *
   * @param {number} elapsed_ms
   * @returns {boolean} whether it still moves
   */
  update(elapsed_ms) {
    const share = this.#glide_ms ? 1 - Math.exp(-elapsed_ms / this.#glide_ms) : 1;
    const [pose, goal] = [this.#pose, this.#goal];
    let left = Math.abs(goal.distance - pose.distance) / goal.distance + Math.abs(goal.yaw - pose.yaw) + Math.abs(goal.pitch - pose.pitch);
    for (let axis = 0; axis < 3; axis++) left += Math.abs(goal.target[axis] - pose.target[axis]) / goal.distance;
    if (left < 1e-4) {
      this.#pose = structuredClone(goal);
      return false;
    }
    this.#pose = {
      target: mapPoint(pose.target, (value, axis) => mix(value, goal.target[axis], share)),
      yaw: mix(pose.yaw, goal.yaw, share),
      pitch: mix(pose.pitch, goal.pitch, share),
      distance: mix(pose.distance, goal.distance, share),
    };
    return true;
  }

  /** Unit vectors of the view, and the position of the eye. */
  #axes() {
    const { yaw, pitch, distance, target } = this.#pose;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    /** @type {Point} */
    const forward = [-sy * cp, -sp, -cy * cp];
    /** @type {Point} */
    const right = [cy, 0, -sy];
    /** @type {Point} */
    const up = [-sy * sp, cp, -cy * sp];
    return { right, up, forward, eye: mapPoint(target, (value, axis) => value - distance * forward[axis]) };
  }

  /**
   * Moves the middle of the picture into the area that panels leave free.
   *
   * @param {number} width
   * @param {number} height
   */
  #shift(width, height) {
    const { left, right, top, bottom } = this.insets;
    return { x: (left - right) / width, y: (bottom - top) / height };
  }

  /**
   * View and projection in one matrix, column by column. The w that it computes is the depth.
   *
   * @param {number} width of the picture, in CSS pixels
   * @param {number} height
   */
  matrix(width, height) {
    const { right, up, forward, eye } = this.#axes();
    const { distance } = this.#pose;
    const [near, far] = [NEAR * distance, distance + 40 * this.#radius];
    /** @param {Point} axis */
    const offset = (axis) => -(axis[0] * eye[0] + axis[1] * eye[1] + axis[2] * eye[2]);
    const [sx, sy] = [(FOCAL * height) / width, FOCAL];
    const shift = this.#shift(width, height);
    const depth = (far + near) / (far - near);
    const out = new Float32Array(16);
    for (let axis = 0; axis < 3; axis++) {
      out[4 * axis] = sx * right[axis] + shift.x * forward[axis];
      out[4 * axis + 1] = sy * up[axis] + shift.y * forward[axis];
      out[4 * axis + 2] = depth * forward[axis];
      out[4 * axis + 3] = forward[axis];
    }
    out[12] = sx * offset(right) + shift.x * offset(forward);
    out[13] = sy * offset(up) + shift.y * offset(forward);
    out[14] = depth * offset(forward) - (2 * far * near) / (far - near);
    out[15] = offset(forward);
    return out;
  }

  /**
   * The point at this depth under a position on the screen.
   *
   * @param {number} x in CSS pixels
   * @param {number} y
   * @param {number} depth
   * @param {number} width of the picture, in CSS pixels
   * @param {number} height
   * @returns {Point}
   */
  unproject(x, y, depth, width, height) {
    const { right, up, forward, eye } = this.#axes();
    const shift = this.#shift(width, height);
    const across = (((2 * x) / width - 1 - shift.x) * (depth * width)) / (FOCAL * height);
    const upwards = ((1 - (2 * y) / height - shift.y) * depth) / FOCAL;
    return mapPoint(eye, (value, axis) => value + right[axis] * across + up[axis] * upwards + forward[axis] * depth);
  }
}
