/** The viewer: owns the connection, the scene, the picture and the panels, and passes on what happens between them. */

import { Connection } from "./connection.js";
import { DetailsPanel } from "./details-panel.js";
import { button, element } from "./dom.js";
import { FilterPanel } from "./filter-panel.js";
import { Drag, Pointer, listenToKeys } from "./input.js";
import { exposeForInspection } from "./inspection.js";
import { Panels } from "./panels.js";
import { Picture } from "./picture.js";
import { encodeFilter, encodeSelect } from "./protocol.js";
import { Scene } from "./scene.js";
import { Settings } from "./settings.js";
import { StatisticsPanel } from "./statistics-panel.js";
import { Statistics } from "./statistics.js";
import { Status } from "./status.js";
import { TimeBar } from "./time-bar.js";
import { Voice } from "./voice.js";

/** @import { FullGraphMessage, NoticeContent, PositionUpdateMessage } from "./protocol.js" */

const ZOOM_STEP = 0.75;

export class App {
  #scene = new Scene();
  #statistics = new Statistics();
  #settings = new Settings({ onColour: () => this.#restyle(), onConnection: () => this.#connection.reconnect(this.#settings) });
  #picture = new Picture(this.#scene, {
    onThemeChange: () => this.#restyle(),
    beforeFrame: () => this.#pointer.updateHover(),
    onFrame: (now_ms) => this.#statistics.frameDrawn(now_ms),
  });
  #connection = new Connection(this.#settings, {
    onState: () => this.#onState(),
    onGraph: (message, data) => this.#onGraph(message, data),
    onUpdate: (message, data, delay_ms) => this.#onUpdate(message, data, delay_ms),
    onNotice: (notice) => this.#onNotice(notice),
    onVoice: (message) => this.#voice.play(message),
    onTrouble: (text) => this.#status.toast(text),
  });
  #status = new Status(this.#connection);
  #voice = new Voice(this.#connection, (text) => this.#status.toast(text));
  #filters = new FilterPanel({
    onChange: (criteria) => {
      this.#picture.filtered = this.#filters.active;
      this.#connection.send(encodeFilter(criteria));
    },
    onEnter: () => {
      if (this.#scene.graph?.count) this.#select(this.#scene.graph.ids[0]);
      this.#picture.canvas.focus({ preventScroll: true });
    },
  });
  #details = new DetailsPanel({ onSelect: (id) => this.#select(id), onCentre: () => this.#centre() });
  #statisticsPanel = new StatisticsPanel(this.#statistics, this.#connection);
  #timeBar = new TimeBar();
  #panels = new Panels(() => this.#arrange());
  #pointer = new Pointer(this.#picture.canvas, this.#picture.viewport, {
    hover: (index) => this.#hover(index),
    select: (index) => this.#select(index < 0 ? null : this.#idOf(index)),
    dragStart: (index, depth) => this.#startDrag(index, depth),
    dragMove: (x, y) => this.#moveDrag(x, y),
    dragEnd: () => this.#endDrag(),
    redraw: () => this.#picture.redraw(),
  });
  /** @type {{ messages: Drag, depth: number } | null} */
  #drag = null;
  /** Whether a FullGraph was received on the current connection. */
  #graphReceived = false;
  #size = element("size");
  #nothing = element("nothing");
  #labelsButton = button("toggle-labels");

  /** Connects, and shows what the server sends. */
  start() {
    this.#labelsButton.addEventListener("click", () => this.#toggleLabels());
    button("fit").addEventListener("click", () => this.#picture.fit());
    button("zoom-in").addEventListener("click", () => this.#picture.zoom(ZOOM_STEP));
    button("zoom-out").addEventListener("click", () => this.#picture.zoom(1 / ZOOM_STEP));
    listenToKeys(this.#picture.canvas, this.#picture.viewport, {
      fit: () => this.#picture.fit(),
      toggleLabels: () => this.#toggleLabels(),
      search: () => this.#filters.focusSearch(),
      clear: (field) => {
        if (!this.#filters.clearSearch(field)) this.#select(null);
      },
      redraw: () => this.#picture.redraw(),
    });
    new ResizeObserver(() => this.#arrange()).observe(this.#picture.canvas);
    this.#arrange();
    this.#statisticsPanel.refresh();
    exposeForInspection({
      connection: this.#connection,
      scene: this.#scene,
      picture: this.#picture,
      statistics: this.#statistics,
      status: this.#status,
      filters: this.#filters,
      voice: this.#voice,
    });
    this.#connection.connect();
    this.#askServer();
  }

  /** Asks the server for its encodings, and whether it replays a recording. */
  async #askServer() {
    const health = await fetch("healthz").then((answer) => answer.json()).catch(() => ({}));
    this.#settings.offerEncodings(health.encodings);
    if (health.replay) await this.#timeBar.start();
  }

  // What the connection reports.

  #onState() {
    this.#status.refresh();
    if (this.#connection.state === "Connected") return;
    this.#graphReceived = false;
    this.#picture.discardPending();
    this.#scene.clearOthers();
    this.#voice.reset();
    this.#picture.redraw();
  }

  /**
   * @param {FullGraphMessage} message
   * @param {ArrayBuffer} data
   */
  #onGraph(message, data) {
    this.#statistics.graphReceived(performance.now(), data.byteLength);
    // With fewer nodes than before, it answers a filter, even if that has been cleared since.
    const filtered = this.#graphReceived && (this.#filters.active || message.count < (this.#scene.whole?.count ?? 0));
    const graph = this.#scene.setGraph(message, filtered);
    if (!filtered && this.#scene.facets) this.#filters.setFacets(this.#scene.facets);
    this.#picture.setGraph(graph, message, data, { whole: !filtered });
    this.#picture.filtered = this.#filters.active;
    this.#restyle();
    this.#showSize();
    if (!this.#graphReceived) {
      // The server knows nothing of what was chosen on an earlier connection.
      if (this.#filters.active) this.#connection.send(encodeFilter(this.#filters.criteria));
      if (this.#scene.selected !== null) this.#connection.send(encodeSelect(this.#scene.selected));
    }
    this.#graphReceived = true;
    this.#picture.redraw();
  }

  /**
   * @param {PositionUpdateMessage} message
   * @param {ArrayBuffer} data
   * @param {number | null} delay_ms
   */
  #onUpdate(message, data, delay_ms) {
    const { clock_offset_us } = this.#connection;
    if (clock_offset_us !== null) this.#statistics.clock_offset_ms = clock_offset_us / 1000;
    this.#statistics.updateReceived(performance.now(), {
      bytes: data.byteLength,
      // Before the first heartbeat is answered, messages waited for the page to start, which says nothing about the stream.
      delay_ms: clock_offset_us === null ? null : delay_ms,
      sequence: message.sequence,
    });
    this.#status.settled = message.flags.includes("SETTLED");
    this.#picture.setState(message, data);
  }

  /** @param {NoticeContent} notice */
  #onNotice(notice) {
    if (notice.notice === "selection") this.#scene.applySelection(notice);
    else if (notice.notice === "error") this.#status.toast(String(notice.message));
    this.#picture.refreshLabels();
  }

  // What the user does.

  /** @param {number} index of a node, or -1 */
  #hover(index) {
    if (index === this.#scene.hovered) return;
    this.#scene.hovered = index;
    this.#picture.canvas.classList.toggle("over", index >= 0);
    this.#picture.highlight();
    this.#picture.refreshLabels();
  }

  /** @param {number | null} id */
  #select(id) {
    if (id === this.#scene.selected) return;
    this.#scene.selected = id;
    this.#connection.send(encodeSelect(id));
    this.#restyle();
    this.#picture.refreshLabels();
    if (id !== null) this.#panels.closeIfNarrow();
  }

  /** @param {number} index */
  #idOf(index) {
    return this.#scene.graph?.ids[index] ?? null;
  }

  #centre() {
    if (this.#scene.selectedIndex >= 0) this.#picture.centre(this.#scene.selectedIndex);
  }

  #toggleLabels() {
    this.#picture.labelsShown = !this.#picture.labelsShown;
    this.#labelsButton.setAttribute("aria-pressed", String(this.#picture.labelsShown));
  }

  /**
   * @param {number} index
   * @param {number} depth
   */
  #startDrag(index, depth) {
    const id = this.#idOf(index);
    if (id === null) return;
    this.#select(id);
    const position = this.#picture.positionOf(index);
    this.#picture.hold(index, position);
    this.#drag = { messages: new Drag(id, position, (bytes) => this.#connection.send(bytes)), depth };
  }

  /**
   * @param {number} x in CSS pixels
   * @param {number} y
   */
  #moveDrag(x, y) {
    if (!this.#drag) return;
    const { camera, width, height } = this.#picture.viewport;
    const position = camera.unproject(x, y, this.#drag.depth, width, height);
    this.#picture.moveHeld(position);
    this.#drag.messages.moveTo(position);
  }

  #endDrag() {
    if (!this.#drag) return;
    this.#drag.messages.end();
    this.#drag = null;
    this.#picture.release();
  }

  // What the page shows.

  /** Colours, sizes, highlights and details, after a change of the graph, the selection, the colours or the theme. */
  #restyle() {
    const { colour } = this.#settings;
    this.#picture.restyle(colour);
    this.#filters.showColours(colour, this.#picture.dark);
    const { whole, selected } = this.#scene;
    const index = selected === null ? undefined : whole?.indices.get(selected);
    if (whole && index !== undefined) this.#details.show(whole, index, this.#picture.coloursOf(whole), (id) => this.#scene.shows(id));
    else this.#details.hide();
    this.#arrange();
  }

  #showSize() {
    const { graph, whole } = this.#scene;
    if (!graph || !whole) return;
    const nodes = countText(graph.count, whole.count);
    this.#size.textContent = `${nodes} nodes · ${countText(graph.edgeCount, whole.edgeCount)} edges`;
    this.#nothing.hidden = graph.count > 0;
  }

  /** Adapts the picture to the window and to what panels cover. */
  #arrange() {
    this.#picture.resize((width, height) => this.#panels.insets(width, height));
  }
}

/**
 * @param {number} shown
 * @param {number} all
 */
function countText(shown, all) {
  return shown === all ? all.toLocaleString() : `${shown.toLocaleString()} of ${all.toLocaleString()}`;
}
