/**
 * WebGL 2. A state (see motion.js) is a vertex buffer as it came: 28 bytes a node, coordinates at byte 8 + 4. Two of them are kept,
 * and the shader stands between them; the older one is overwritten by the next.
 */

import { FOCAL } from "./camera.js";
import { HEADER_BYTES, NODE_BYTES } from "./motion.js";
import { EDGE_FRAGMENT, EDGE_VERTEX, NODE_FRAGMENT, NODE_VERTEX } from "./shaders.js";

const PAINT_BYTES = 8;

export class Renderer {
  #canvas;
  #gl;
  #graph = null;
  #highlighted = 0;

  /** Throws if there is no WebGL 2. `onRestored` is called when a lost context is back: all has to be set again. */
  constructor(canvas, onRestored) {
    this.#canvas = canvas;
    const options = { antialias: !isSoftware(), alpha: false, depth: true, powerPreference: "high-performance" };
    this.#gl = canvas.getContext("webgl2", options);
    if (!this.#gl) throw new Error("this browser offers no WebGL 2");
    this.#begin();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#begin();
      onRestored();
    });
  }

  /** What was drawn last. */
  drawn = { nodes: 0, edges: 0 };

  #begin() {
    const gl = this.#gl;
    this.nodeProgram = programOf(gl, NODE_VERTEX, NODE_FRAGMENT);
    this.edgeProgram = programOf(gl, EDGE_VERTEX, EDGE_FRAGMENT);
    this.states = [gl.createBuffer(), gl.createBuffer()];
    this.paint = gl.createBuffer();
    this.edges = gl.createBuffer();
    this.highlights = gl.createBuffer();
    this.arrays = [gl.createVertexArray(), gl.createVertexArray()];
    this.latest = 0;
    this.arrays.forEach((array, latest) => {
      gl.bindVertexArray(array);
      for (const [location, buffer] of [[0, this.states[1 - latest]], [1, this.states[latest]]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.enableVertexAttribArray(location);
        gl.vertexAttribPointer(location, 3, gl.FLOAT, false, NODE_BYTES, HEADER_BYTES + 4);
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, this.paint);
      gl.enableVertexAttribArray(2);
      gl.vertexAttribPointer(2, 4, gl.UNSIGNED_BYTE, true, PAINT_BYTES, 0);
      gl.enableVertexAttribArray(3);
      gl.vertexAttribPointer(3, 1, gl.FLOAT, false, PAINT_BYTES, 4);
    });
    gl.bindVertexArray(null);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
    gl.enable(gl.BLEND);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
  }

  /** Another graph, and its first state. */
  setGraph(graph, state) {
    const gl = this.#gl;
    this.#graph = graph;
    for (const buffer of this.states) {
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, state, gl.STREAM_DRAW);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.edges);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, graph.edges, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.paint);
    gl.bufferData(gl.ARRAY_BUFFER, PAINT_BYTES * graph.count, gl.DYNAMIC_DRAW);
    this.setHighlights(new Uint32Array());
  }

  /** The next state; what was the latest becomes the previous one. */
  setState(state) {
    const gl = this.#gl;
    this.latest = 1 - this.latest;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.states[this.latest]);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, state);
  }

  /** Colours and sizes, 8 bytes a node: RGBA, then a float32. */
  setPaint(bytes) {
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.paint);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, bytes);
  }

  /** Edges that are drawn once more, clearly: pairs of indices. */
  setHighlights(pairs) {
    const gl = this.#gl;
    this.#highlighted = pairs.length;
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.highlights);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, pairs, gl.DYNAMIC_DRAW);
  }

  /**
   * One picture.
   *   view: matrix, width and height (CSS pixels), ratio (device pixels a CSS pixel), fog [near, far]
   *   look: background, neutral (RGB 0 to 1), haze, edgeStrength, unit (a node's radius)
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
    gl.bindVertexArray(this.arrays[this.latest]);

    const edge = this.edgeProgram;
    this.#use(edge, view, look, progress, held);
    gl.depthMask(false);
    gl.uniform3fv(edge.at.neutral, look.neutral);
    this.#lines(this.edges, graph.edges.length, 0.4, look.edgeStrength);
    gl.depthMask(true);

    const node = this.nodeProgram;
    this.#use(node, view, look, progress, held);
    gl.uniform1f(node.at.scale, look.unit * FOCAL * height);
    gl.uniform2f(node.at.widths, 2.4 * view.ratio, 90 * view.ratio);
    gl.uniform3fv(node.at.background, look.background);
    gl.drawArrays(gl.POINTS, 0, graph.count);

    if (this.#highlighted) {
      this.#use(edge, view, look, progress, held);
      gl.depthMask(false);
      this.#lines(this.highlights, this.#highlighted, 0.75, look.highlightStrength);
      gl.depthMask(true);
    }
    gl.bindVertexArray(null);
  }

  #use(program, view, look, progress, held) {
    const gl = this.#gl;
    gl.useProgram(program.name);
    gl.uniformMatrix4fv(program.at.camera, false, view.matrix);
    gl.uniform1f(program.at.progress, progress);
    gl.uniform1i(program.at.held, held ? held.index : -1);
    if (held) gl.uniform3fv(program.at.heldAt, held.place);
    gl.uniform2fv(program.at.fog, view.fog);
    gl.uniform1f(program.at.haze, look.haze);
  }

  #lines(buffer, count, tint, strength) {
    const gl = this.#gl;
    gl.uniform1f(this.edgeProgram.at.tint, tint);
    gl.uniform1f(this.edgeProgram.at.strength, strength);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.drawElements(gl.LINES, count, gl.UNSIGNED_INT, 0);
  }
}

/** Whether the CPU draws: multisampling would take three times as long there (and nodes are smooth without it). */
function isSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = info ? gl.getParameter(info.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

function programOf(gl, vertex, fragment) {
  const name = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(name, shader);
  }
  gl.linkProgram(name);
  if (!gl.getProgramParameter(name, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(name).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`a shader does not link: ${[gl.getProgramInfoLog(name), ...logs].filter(Boolean).join(" ")}`);
  }
  const at = {};
  const count = gl.getProgramParameter(name, gl.ACTIVE_UNIFORMS);
  for (let i = 0; i < count; i++) {
    const { name: uniform } = gl.getActiveUniform(name, i);
    at[uniform] = gl.getUniformLocation(name, uniform);
  }
  return { name, at };
}
