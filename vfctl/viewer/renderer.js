/**
 * Draws nodes and edges with WebGL 2. A state (see `interpolation.js`) is uploaded to a vertex buffer as it was received: 28 bytes for
 * each node, the coordinates at byte 8 + 4. Two states are kept. The shader interpolates between them, and the next state overwrites
 * the older one.
 */

import { FOCAL } from "./camera.js";
import { HEADER_BYTES, NODE_BYTES } from "./protocol.js";
import { EDGE_FRAGMENT, EDGE_VERTEX, NODE_FRAGMENT, NODE_VERTEX } from "./shaders.js";

/**
 * @import { Theme } from "./colours.js"
 * @import { Held } from "./interpolation.js"
 * @import { Graph } from "./scene.js"
 * @import { View } from "./viewport.js"
 */

/**
 * @typedef {{ name: WebGLProgram, at: Record<string, WebGLUniformLocation | null> }} Program with its uniforms by name
 * @typedef {Theme & { nodeRadius: number, edgeStrength: number, highlightStrength: number }} Look
 *
 * @typedef {object} Resources what a lost context takes along
 * @property {Program} nodeProgram
 * @property {Program} edgeProgram
 * @property {[WebGLBuffer, WebGLBuffer]} states
 * @property {WebGLBuffer} paint
 * @property {WebGLBuffer} edges
 * @property {WebGLBuffer} highlights
 * @property {WebGLVertexArrayObject[]} arrays for each of the two states being the latest
 * @property {number} latest which of them is
 */

const PAINT_BYTES = 8;

export class Renderer {
  /** @type {HTMLCanvasElement} */
  #canvas;
  /** @type {WebGL2RenderingContext} */
  #gl;
  /** @type {Resources} */
  #resources;
  /** @type {Graph | null} */
  #graph = null;
  #highlighted = 0;

  /** What the last frame showed. */
  drawn = { nodes: 0, edges: 0 };

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {() => void} onRestored a lost context is back: the graph, paint and highlights have to be set again
   * @throws {Error} if there is no WebGL 2
   */
  constructor(canvas, onRestored) {
    this.#canvas = canvas;
    const options = { antialias: !isSoftware(), alpha: false, depth: true, powerPreference: "high-performance" };
    const gl = /** @type {WebGL2RenderingContext | null} */ (canvas.getContext("webgl2", options));
    if (!gl) throw new Error("this browser does not support it");
    this.#gl = gl;
    this.#resources = createResources(gl);
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#resources = createResources(gl);
      onRestored();
    });
  }

  /**
   * Another graph, and its first state.
   *
   * @param {Graph} graph
   * @param {Float32Array} state
   */
  setGraph(graph, state) {
    const gl = this.#gl;
    const { states, edges, paint } = this.#resources;
    this.#graph = graph;
    for (const buffer of states) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, state, gl.STREAM_DRAW);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, edges);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, graph.edges, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, paint);
    gl.bufferData(gl.ARRAY_BUFFER, PAINT_BYTES * graph.count, gl.DYNAMIC_DRAW);
    this.setHighlights(new Uint32Array());
  }

  /**
   * The next state. The latest one becomes the previous one.
   *
   * @param {Float32Array} state
   */
  setState(state) {
    const gl = this.#gl;
    this.#resources.latest = 1 - this.#resources.latest;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#resources.states[this.#resources.latest]);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, state);
  }

  /** @param {Uint8Array} paint colours and sizes, see `paintOf` */
  setPaint(paint) {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#resources.paint);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, paint);
  }

  /** @param {Uint32Array} pairs node indices of the edges that are drawn once more, in a stronger colour */
  setHighlights(pairs) {
    const gl = this.#gl;
    this.#highlighted = pairs.length;
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#resources.highlights);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, pairs, gl.DYNAMIC_DRAW);
  }

  /**
   * Draws one frame.
   *
   * @param {View} view
   * @param {Look} look
   * @param {number} progress from the previous state (0) to the latest (1)
   * @param {Held | null} held
   */
  draw(view, look, progress, held) {
    const gl = this.#gl;
    if (gl.isContextLost()) return;
    const [width, height] = [Math.round(view.width * view.ratio), Math.round(view.height * view.ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.clearColor(...look.background, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const graph = this.#graph;
    this.drawn = { nodes: graph?.count ?? 0, edges: graph?.edgeCount ?? 0 };
    if (!graph?.count) return;
    const { nodeProgram, edgeProgram, arrays, latest, edges, highlights } = this.#resources;
    gl.bindVertexArray(arrays[latest]);

    this.#use(edgeProgram, view, look, progress, held);
    gl.depthMask(false);
    gl.uniform3fv(edgeProgram.at.neutral, look.neutral);
    this.#drawLines(edges, graph.edges.length, 0.4, look.edgeStrength);
    gl.depthMask(true);

    this.#use(nodeProgram, view, look, progress, held);
    gl.uniform1f(nodeProgram.at.scale, look.nodeRadius * FOCAL * height);
    gl.uniform2f(nodeProgram.at.widths, 2.4 * view.ratio, 90 * view.ratio);
    gl.uniform3fv(nodeProgram.at.background, look.background);
    gl.drawArrays(gl.POINTS, 0, graph.count);

    if (this.#highlighted) {
      this.#use(edgeProgram, view, look, progress, held);
      gl.depthMask(false);
      this.#drawLines(highlights, this.#highlighted, 0.75, look.highlightStrength);
      gl.depthMask(true);
    }
    gl.bindVertexArray(null);
  }

  /**
   * Switches to a program, and sets the uniforms that both have.
   *
   * @param {Program} program
   * @param {View} view
   * @param {Look} look
   * @param {number} progress
   * @param {Held | null} held
   */
  #use(program, view, look, progress, held) {
    const gl = this.#gl;
    gl.useProgram(program.name);
    gl.uniformMatrix4fv(program.at.camera, false, view.matrix);
    gl.uniform1f(program.at.progress, progress);
    gl.uniform1i(program.at.held, held ? held.index : -1);
    if (held) gl.uniform3fv(program.at.heldAt, held.position);
    gl.uniform2fv(program.at.fog, view.fog);
    gl.uniform1f(program.at.haze, look.haze);
  }

  /**
   * @param {WebGLBuffer} indices
   * @param {number} count
   * @param {number} tint share of the nodes' colours
   * @param {number} strength
   */
  #drawLines(indices, count, tint, strength) {
    const gl = this.#gl;
    const { at } = this.#resources.edgeProgram;
    gl.uniform1f(at.tint, tint);
    gl.uniform1f(at.strength, strength);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices);
    gl.drawElements(gl.LINES, count, gl.UNSIGNED_INT, 0);
  }
}

/** Whether the CPU draws. Multisampling is off then, because it triples the time of a frame, and nodes are smooth without it. */
function isSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = gl && info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

/**
 * @param {WebGL2RenderingContext} gl
 * @returns {Resources}
 */
function createResources(gl) {
  /** @type {[WebGLBuffer, WebGLBuffer]} */
  const states = [gl.createBuffer(), gl.createBuffer()];
  const paint = gl.createBuffer();
  const arrays = [0, 1].map((latest) => {
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    for (const [location, buffer] of [states[1 - latest], states[latest]].entries()) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, 3, gl.FLOAT, false, NODE_BYTES, HEADER_BYTES + 4);
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, paint);
    gl.enableVertexAttribArray(2);
    gl.vertexAttribPointer(2, 4, gl.UNSIGNED_BYTE, true, PAINT_BYTES, 0);
    gl.enableVertexAttribArray(3);
    gl.vertexAttribPointer(3, 1, gl.FLOAT, false, PAINT_BYTES, 4);
    return array;
  });
  gl.bindVertexArray(null);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  gl.enable(gl.BLEND);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  return {
    nodeProgram: createProgram(gl, NODE_VERTEX, NODE_FRAGMENT),
    edgeProgram: createProgram(gl, EDGE_VERTEX, EDGE_FRAGMENT),
    states,
    paint,
    edges: gl.createBuffer(),
    highlights: gl.createBuffer(),
    arrays,
    latest: 0,
  };
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex source
 * @param {string} fragment source
 * @returns {Program}
 */
function createProgram(gl, vertex, fragment) {
  const name = gl.createProgram();
  const shaders = [createShader(gl, gl.VERTEX_SHADER, vertex), createShader(gl, gl.FRAGMENT_SHADER, fragment)];
  for (const shader of shaders) gl.attachShader(name, shader);
  gl.linkProgram(name);
  if (!gl.getProgramParameter(name, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = [gl.getProgramInfoLog(name), ...shaders.map((shader) => gl.getShaderInfoLog(shader))];
    throw new Error(`a shader does not link: ${logs.filter(Boolean).join(" ")}`);
  }
  /** @type {Program["at"]} */
  const at = {};
  const count = gl.getProgramParameter(name, gl.ACTIVE_UNIFORMS);
  for (let i = 0; i < count; i++) {
    const uniform = gl.getActiveUniform(name, i);
    if (uniform) at[uniform.name] = gl.getUniformLocation(name, uniform.name);
  }
  return { name, at };
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {GLenum} type
 * @param {string} source
 */
function createShader(gl, type, source) {
  const shader = gl.createShader(type);
  if (!shader) throw new Error("the WebGL context is lost");
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  return shader;
}
