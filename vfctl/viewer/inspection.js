/** `window.vfctl`: what the page knows, read-only, for tests and for the browser's console. See `docs/viewer.md`. */

/**
 * @import { Connection } from "./connection.js"
 * @import { FilterPanel } from "./filter-panel.js"
 * @import { Picture } from "./picture.js"
 * @import { Scene } from "./scene.js"
 * @import { Statistics } from "./statistics.js"
 * @import { Status } from "./status.js"
 * @import { Voice } from "./voice.js"
 */

/**
 * @param {object} parts
 * @param {Connection} parts.connection
 * @param {Scene} parts.scene
 * @param {Picture} parts.picture
 * @param {Statistics} parts.statistics
 * @param {Status} parts.status
 * @param {FilterPanel} parts.filters
 * @param {Voice} parts.voice
 */
export function exposeForInspection({ connection, scene, picture, statistics, status, filters, voice }) {
  const { viewport } = picture;
  const inspection = {
    get state() {
      return connection.state;
    },
    get settled() {
      return status.settled;
    },
    get encoding() {
      return connection.encoding;
    },
    /** The number of nodes and edges in the last frame. */
    get drawn() {
      return picture.drawn;
    },
    get ids() {
      return [...(scene.graph?.ids ?? [])];
    },
    get selected() {
      return scene.selected;
    },
    get others() {
      return Object.fromEntries(scene.others);
    },
    get filter() {
      return filters.criteria;
    },
    get statistics() {
      return statistics.summary(performance.now());
    },
    /** Voice: {state, sent, context, heard: [{stream, speaking, messages, late, lost, gaps}]}. */
    get voice() {
      return voice.summary;
    },
    /** What is played now: {frequency_hz, level_db} of the loudest frequency; null before a click or key. */
    spectrum: () => voice.spectrum(),
    /** Script time of the last frames in milliseconds, the latest last. */
    get costs_ms() {
      return [...picture.costs_ms];
    },
    /**
     * Where a node is shown now, in units of the graph; null if it is not shown.
     *
     * @param {number} id
     */
    position(id) {
      const index = scene.indexOf(id);
      return index < 0 ? null : picture.positionOf(index);
    },
    /**
     * Where a node is on the screen: {x, y, depth, radius} in CSS pixels; null if it is not there.
     *
     * @param {number} id
     */
    screen(id) {
      const index = scene.indexOf(id);
      return index < 0 ? null : viewport.locate(index);
    },
    /**
     * The id of the node at a position on the screen, or null.
     *
     * @param {number} x
     * @param {number} y
     */
    at(x, y) {
      const index = viewport.pick(x, y, 0);
      return index < 0 ? null : (scene.graph?.ids[index] ?? null);
    },
  };
  Object.defineProperty(window, "vfctl", { value: Object.freeze(inspection) });
}
