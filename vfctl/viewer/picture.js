/** The picture: owns the camera, the states, WebGL, labels and rings, and draws a frame when there is something new to show. */

import { Camera } from "./camera.js";
import { SystemTheme, clientColour, colouring, css, paintOf } from "./colours.js";
import { canvas, element } from "./dom.js";
import { Interpolation, stateOf } from "./interpolation.js";
import { Labels, Rings } from "./labels.js";
import { textOf } from "./protocol.js";
import { Renderer } from "./renderer.js";
import { Viewport } from "./viewport.js";

/**
 * @import { Insets } from "./camera.js"
 * @import { ColourBy } from "./colours.js"
 * @import { Point } from "./interpolation.js"
 * @import { Ring } from "./labels.js"
 * @import { FullGraphMessage, PositionUpdateMessage } from "./protocol.js"
 * @import { Look } from "./renderer.js"
 * @import { Graph, Scene } from "./scene.js"
 */

const COSTS_KEPT = 300;
const FIT_INTERVAL_MS = 300;
const MAX_FRAME_MS = 100;
/** A released node stays where it is until the server's states show it there. */
const RELEASE_MS = 150;

/**
 * @typedef {object} PictureHandlers
 * @property {() => void} onThemeChange
 * @property {() => void} beforeFrame nodes have moved: what is under the mouse may have changed
 * @property {(now_ms: number) => void} onFrame a frame was drawn
 */

export class Picture {
  canvas = canvas("picture");
  viewport;
  /**
   * Script time of the last frames in milliseconds, the latest last.
   *
   * @type {number[]}
   */
  costs_ms = [];
  /** Whether a filter is set. The camera does not follow the layout then. */
  filtered = false;

  /** @type {Scene} */
  #scene;
  /** @type {PictureHandlers} */
  #handlers;
  #states = new Interpolation();
  #camera = new Camera(matchMedia("(prefers-reduced-motion: reduce)").matches);
  #labels = new Labels(element("labels"));
  #rings = new Rings(element("rings"));
  #theme;
  /** @type {ColourBy} */
  #colourBy = "cluster";
  /** @type {Renderer | null} */
  #renderer = null;
  /**
   * The newest state that was received since the last frame. Older ones are skipped.
   *
   * @type {{ message: PositionUpdateMessage, data: ArrayBuffer } | null}
   */
  #pending = null;
  #frameRequested = false;
  #lastFrameMs = 0;
  #fittedMs = 0;
  #dragging = false;

  /**
   * @param {Scene} scene
   * @param {PictureHandlers} handlers
   */
  constructor(scene, handlers) {
    this.#scene = scene;
    this.#handlers = handlers;
    this.viewport = new Viewport(this.#camera, this.#states);
    this.#theme = new SystemTheme(handlers.onThemeChange);
    try {
      this.#renderer = new Renderer(this.canvas, () => this.#upload());
    } catch (error) {
      element("no-webgl").hidden = false;
      element("no-webgl-why").textContent = textOf(error);
    }
  }

  get dark() {
    return this.#theme.current.dark;
  }

  get labelsShown() {
    return this.#labels.enabled;
  }

  set labelsShown(shown) {
    this.#labels.enabled = shown;
    this.refreshLabels();
  }

  /** The number of nodes and edges in the last frame. */
  get drawn() {
    return this.#renderer ? { ...this.#renderer.drawn } : { nodes: 0, edges: 0 };
  }

  /**
   * Another graph.
   *
   * @param {Graph} graph
   * @param {FullGraphMessage} message
   * @param {ArrayBuffer} data the message as received
   * @param {{ whole: boolean }} options nodes keep their size if a filter has left some out
   */
  setGraph(graph, message, data, { whole }) {
    const first = this.viewport.graph === null;
    this.#pending = null;
    this.#states.begin(stateOf(message, data));
    this.viewport.setGraph(graph);
    this.#labels.clear();
    this.#renderer?.setGraph(graph, this.#states.latest);
    if (first) this.fit({ at_once: true });
    if (whole) this.viewport.scaleNodes(this.#states.extent().radius);
  }

  /**
   * The next state of the same graph.
   *
   * @param {PositionUpdateMessage} message
   * @param {ArrayBuffer} data the message as received
   */
  setState(message, data) {
    if (message.count === this.viewport.graph?.count) this.#pending = { message, data };
    this.redraw();
  }

  /** The connection is lost: a state that waits is of a graph that will be replaced. */
  discardPending() {
    this.#pending = null;
  }

  /**
   * Adapts to the size of the canvas, and to what panels cover of it.
   *
   * @param {(width: number, height: number) => Insets} insetsOf
   */
  resize(insetsOf) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.viewport.resize(width, height);
    this.#camera.insets = insetsOf(width, height);
    if (!this.#camera.moved && this.viewport.graph) this.#camera.fit(this.#states.extent(), width, height);
    this.refreshLabels();
  }

  /** @param {{ at_once?: boolean }} [options] */
  fit(options) {
    if (!this.viewport.graph) return;
    this.#camera.moved = false;
    this.#camera.fit(this.#states.extent(), this.viewport.width, this.viewport.height, options);
    this.redraw();
  }

  /** @param {number} factor of the distance; less than 1 is closer */
  zoom(factor) {
    this.#camera.zoom(factor);
    this.redraw();
  }

  /** @param {number} index of the node to look at */
  centre(index) {
    this.#camera.centre(this.positionOf(index));
    this.redraw();
  }

  /**
   * Where a node is shown, in units of the graph.
   *
   * @param {number} index
   */
  positionOf(index) {
    return this.#states.position(index, this.viewport.progress);
  }

  /**
   * Shows a node that is dragged where the user holds it.
   *
   * @param {number} index
   * @param {Point} position
   */
  hold(index, position) {
    this.#dragging = true;
    this.#states.held = { index, position };
    this.canvas.classList.add("dragging");
  }

  /** @param {Point} position */
  moveHeld(position) {
    if (this.#states.held) this.#states.held.position = position;
    this.redraw();
  }

  release() {
    this.#dragging = false;
    this.canvas.classList.remove("dragging");
    const { held } = this.#states;
    setTimeout(() => {
      if (this.#states.held === held && !this.#dragging) this.#states.held = null;
      this.redraw();
    }, RELEASE_MS);
  }

  /**
   * A node's colour by its index in `graph`.
   *
   * @param {Graph} graph
   */
  coloursOf(graph) {
    if (!this.#scene.facets) throw new Error("there is no graph yet");
    return colouring(this.#colourBy, graph, this.#scene.facets, this.dark);
  }

  /**
   * Computes colours, sizes and highlights again.
   *
   * @param {ColourBy} colourBy
   */
  restyle(colourBy) {
    this.#colourBy = colourBy;
    const { graph, emphasised } = this.#scene;
    if (!graph) return;
    this.#renderer?.setPaint(paintOf(graph, this.coloursOf(graph), emphasised));
    this.highlight();
    this.redraw();
  }

  /** Highlights the edges of the node under the cursor, or else of the selected node. */
  highlight() {
    const { graph, hovered, selectedIndex } = this.#scene;
    const index = hovered >= 0 ? hovered : selectedIndex;
    this.#renderer?.setHighlights(graph && index >= 0 ? graph.edgesAt(index) : new Uint32Array());
  }

  /** Chooses the labels again in the next frame. */
  refreshLabels() {
    this.#labels.refresh();
    this.redraw();
  }

  /** Draws a frame as soon as the browser is ready for one. */
  redraw() {
    if (this.#frameRequested) return;
    this.#frameRequested = true;
    requestAnimationFrame((frameMs) => this.#drawFrame(frameMs));
  }

  /** @param {number} frameMs */
  #drawFrame(frameMs) {
    const began_ms = performance.now();
    this.#frameRequested = false;
    if (this.#pending) this.#advance(this.#pending.message, this.#pending.data, began_ms);
    this.#pending = null;
    const gliding = this.#camera.update(Math.min(MAX_FRAME_MS, frameMs - this.#lastFrameMs));
    this.#lastFrameMs = frameMs;
    const { viewport } = this;
    viewport.advance(began_ms);
    if (viewport.graph) {
      if (!this.#dragging) this.#handlers.beforeFrame();
      this.#renderer?.draw(viewport.view, this.#look(viewport.graph), viewport.progress, this.#states.held);
      this.#labels.draw(viewport, this.#scene.labelled, began_ms, { forcedOnly: this.#scene.selectedIndex >= 0 });
      this.#rings.draw(viewport, this.#ringsNow());
      this.#handlers.onFrame(began_ms);
    }
    this.costs_ms.push(performance.now() - began_ms);
    if (this.costs_ms.length > COSTS_KEPT) this.costs_ms.shift();
    if (gliding || viewport.progress < 1) this.redraw();
  }

  /**
   * @param {PositionUpdateMessage} message
   * @param {ArrayBuffer} data
   * @param {number} now_ms
   */
  #advance(message, data, now_ms) {
    const state = stateOf(message, data);
    this.#states.advance(state, { settled: message.flags.includes("SETTLED"), interval_us: message.interval_us }, now_ms);
    this.#renderer?.setState(state);
    this.#followLayout(now_ms);
  }

  /**
   * Until the user moves the camera, it keeps the whole layout in view.
   *
   * @param {number} now_ms
   */
  #followLayout(now_ms) {
    if (now_ms - this.#fittedMs < FIT_INTERVAL_MS || this.filtered) return;
    this.#fittedMs = now_ms;
    const extent = this.#states.extent();
    this.viewport.scaleNodes(extent.radius);
    if (!this.#camera.moved && !this.#dragging) this.#camera.fit(extent, this.viewport.width, this.viewport.height);
  }

  /** A lost WebGL context is back, without any data. */
  #upload() {
    const { graph } = this.viewport;
    if (!graph) return;
    this.#renderer?.setGraph(graph, this.#states.latest);
    this.restyle(this.#colourBy);
  }

  /**
   * @param {Graph} graph
   * @returns {Look}
   */
  #look(graph) {
    const theme = this.#theme.current;
    const edgeStrength = Math.min(0.55, Math.max(0.05, (theme.dark ? 9 : 11) / Math.sqrt(graph.edgeCount + 1)));
    return { ...theme, nodeRadius: this.viewport.nodeRadius, edgeStrength, highlightStrength: 0.8 };
  }

  #ringsNow() {
    const { others, selectedIndex, hovered } = this.#scene;
    /** @type {Ring[]} */
    const rings = [];
    for (const [client, id] of others) {
      const index = this.#scene.indexOf(id);
      if (index < 0) continue;
      rings.push({ key: `other ${client}`, index, kind: "other", colour: css(clientColour(client, this.dark)), name: `client ${client}` });
    }
    if (selectedIndex >= 0) rings.push({ key: "own", index: selectedIndex, kind: "own" });
    if (hovered >= 0 && hovered !== selectedIndex) rings.push({ key: "hover", index: hovered, kind: "hover" });
    return rings;
  }
}
