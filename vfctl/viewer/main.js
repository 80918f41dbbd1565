/** The page: brings the parts together and draws when there is something new to see. */

import { Camera } from "./camera.js";
import { Connection } from "./connection.js";
import { Details } from "./details.js";
import { Drag } from "./dragging.js";
import { Filters } from "./filters.js";
import { exposeForInspection } from "./inspect.js";
import { listenToKeys } from "./keyboard.js";
import { Labels, Rings } from "./labels.js";
import { Motion, stateOf } from "./motion.js";
import { Overlay } from "./overlay.js";
import { colouring, css, paintOf, personal } from "./palette.js";
import { choice, offerOnly, isNarrow, startPanels } from "./panels.js";
import { Pointer } from "./pointer.js";
import { encodeFilter, encodeSelect } from "./protocol.js";
import { Renderer } from "./renderer.js";
import { Scene } from "./scene.js";
import { readSettings, writeSettings } from "./settings.js";
import { Stage } from "./stage.js";
import { Statistics } from "./statistics.js";
import { Status } from "./status.js";
import { onThemeChange, reducedMotion, themeNow } from "./theme.js";
import { startTimeBar } from "./timebar.js";
import { Voice } from "./voice.js";

const COSTS_KEPT = 300;
const FIT_EVERY_MS = 300;
/** A released node stays where it was let go until the server's states have caught up. */
const RELEASE_MS = 150;

const element = (id) => document.getElementById(id);
const canvas = element("picture");
const settings = readSettings();
const scene = new Scene();
const motion = new Motion();
const camera = new Camera(reducedMotion());
const stage = new Stage(camera, motion);
const statistics = new Statistics();
const connection = new Connection(settings);
const status = new Status(connection);
const labels = new Labels(element("labels"));
const rings = new Rings(element("rings"));
const filters = new Filters();
const costs = [];

let renderer = null;
let theme = themeNow();
let colourOf = () => [0.5, 0.5, 0.5];
let pending = null;
let asked = false;
let drag = null;
let lastFrameMs = 0;
let fittedMs = 0;
let graphSeen = false;

try {
  renderer = new Renderer(canvas, () => {
    if (!scene.graph) return;
    renderer.setGraph(scene.graph, motion.latest);
    restyle();
  });
} catch (error) {
  element("no-webgl").hidden = false;
  element("no-webgl-why").textContent = error.message;
}

// What comes.

connection.addEventListener("state", () => {
  if (connection.state !== "Connected") {
    graphSeen = false;
    pending = null;
    scene.forgetOthers();
    look();
  }
});

connection.addEventListener("graph", ({ detail: { message, data, bytes } }) => {
  statistics.received(performance.now(), { bytes, restarts: true });
  pending = null;
  const first = !scene.graph;
  // Fewer nodes than before on the same connection: the answer to a filter that has been cleared since.
  const filtered = graphSeen && (Object.keys(filters.criteria).length > 0 || message.count < scene.all.count);
  scene.take(message, filtered);
  const state = stateOf(message, data);
  motion.begin(state);
  stage.setGraph(scene.graph);
  labels.clear();
  if (!filtered) filters.setFacets(scene.facets);
  renderer?.setGraph(scene.graph, state);
  restyle();
  showDetails();
  const { count, edgeCount } = scene.graph;
  element("size").textContent = `${counted(count, scene.all.count)} nodes · ${counted(edgeCount, scene.all.edgeCount)} edges`;
  element("nothing").hidden = count > 0;
  if (first) fit({ at_once: true });
  if (!filtered) stage.unit = stage.unitFor(motion.extent().radius);
  const again = !graphSeen;
  graphSeen = true;
  if (again && Object.keys(filters.criteria).length) connection.send(encodeFilter(filters.criteria));
  if (again && scene.selected !== null) say(scene.selected);
  look();
});

connection.addEventListener("update", ({ detail: { message, data, bytes, delay_ms } }) => {
  // What waited while the page itself was starting says nothing about the stream: latency counts from the first heartbeat on.
  const timed = connection.clock_offset_us !== null;
  if (timed) statistics.clock_offset_ms = connection.clock_offset_us / 1000;
  statistics.received(performance.now(), { bytes, delay_ms: timed ? delay_ms : null, sequence: message.sequence });
  status.settled = message.flags.includes("SETTLED");
  if (message.count === scene.graph?.count) pending = { message, data };
  look();
});

connection.addEventListener("notice", ({ detail: { notice } }) => {
  if (notice.notice === "selection") scene.noticed(notice);
  else if (notice.notice === "error") status.toast(String(notice.message));
  labels.refresh();
  look();
});

connection.addEventListener("trouble", ({ detail: { text } }) => status.toast(text));

const voice = new Voice(connection, { button: element("talk"), list: element("speaking"), toast: (text) => status.toast(text) });

// What is drawn.

function look() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(draw);
}

function draw(frameMs) {
  const began = performance.now();
  asked = false;
  if (pending) {
    const { message, data } = pending;
    pending = null;
    const state = stateOf(message, data);
    motion.advance(state, { settled: message.flags.includes("SETTLED"), interval_us: message.interval_us }, began);
    renderer?.setState(state);
    follow(began);
  }
  const gliding = camera.update(Math.min(100, frameMs - lastFrameMs));
  lastFrameMs = frameMs;
  stage.advance(began);
  if (scene.graph && motion.latest) {
    if (!drag) pointer.hoverAgain();
    renderer?.draw(stage.view, lookNow(), stage.progress, motion.held);
    labels.draw(stage, scene.labelled, began, { alone: scene.selectedIndex >= 0 });
    rings.draw(stage, ringsNow());
    statistics.drawn(began);
  }
  costs.push(performance.now() - began);
  if (costs.length > COSTS_KEPT) costs.shift();
  if (gliding || stage.progress < 1) look();
}

/** While nobody has turned the camera, it keeps the whole layout in view. */
function follow(now_ms) {
  if (now_ms - fittedMs < FIT_EVERY_MS || Object.keys(filters.criteria).length) return;
  fittedMs = now_ms;
  const extent = motion.extent();
  stage.unit = stage.unitFor(extent.radius);
  if (!camera.taken && !drag) camera.fit(extent, stage.width, stage.height);
}

function fit(options) {
  if (!motion.latest?.length) return;
  const extent = motion.extent();
  camera.taken = false;
  camera.fit(extent, stage.width, stage.height, options);
  look();
}

function lookNow() {
  const edges = scene.graph.edgeCount;
  const strength = Math.min(0.55, Math.max(0.05, (theme.dark ? 9 : 11) / Math.sqrt(edges + 1)));
  return { ...theme, unit: stage.unit, edgeStrength: strength, highlightStrength: 0.8 };
}

function ringsNow() {
  const wanted = [];
  for (const [client, id] of scene.others) {
    const index = scene.graph.indices.get(id);
    if (index === undefined) continue;
    wanted.push({ key: `other ${client}`, index, kind: "other", colour: css(personal(client, theme.dark)), name: `client ${client}` });
  }
  if (scene.selectedIndex >= 0) wanted.push({ key: "own", index: scene.selectedIndex, kind: "own" });
  if (scene.hovered >= 0 && scene.hovered !== scene.selectedIndex) wanted.push({ key: "hover", index: scene.hovered, kind: "hover" });
  return wanted;
}

/** Colours, sizes and highlights anew. */
function restyle() {
  if (!scene.graph) return;
  colourOf = colouring(settings.colour, scene.graph, scene.facets, theme.dark);
  renderer?.setPaint(paintOf(scene.graph, colourOf, scene.matters));
  highlight();
  filters.showColours(settings.colour, theme.dark);
  look();
}

function highlight() {
  const index = scene.hovered >= 0 ? scene.hovered : scene.selectedIndex;
  renderer?.setHighlights(index >= 0 ? scene.graph.edgesAt(index) : new Uint32Array());
}

// What people do.

function say(id) {
  scene.select(id);
  connection.send(encodeSelect(id));
}

function select(id) {
  if (id === scene.selected) return;
  say(id);
  showDetails();
  restyle();
  labels.refresh();
  if (id !== null) panels.makeRoom();
  look();
}

function showDetails() {
  if (scene.selected === null) details.hide();
  else {
    const whole = colouring(settings.colour, scene.all, scene.facets, theme.dark);
    details.show(scene.all, scene.all.indices.get(scene.selected), whole, (id) => scene.shows(id));
  }
  arrange();
}

function centre() {
  if (scene.selectedIndex < 0) return;
  camera.centre(motion.position(scene.selectedIndex, stage.progress));
  look();
}

const details = new Details(select, centre);

const pointer = new Pointer(canvas, stage, {
  hover(index) {
    if (index === scene.hovered) return;
    scene.hovered = index;
    canvas.classList.toggle("over", index >= 0);
    if (scene.graph) highlight();
    labels.refresh();
    look();
  },
  select(index) {
    if (scene.graph) select(index < 0 ? null : scene.graph.ids[index]);
  },
  grab(index, depth) {
    const id = scene.graph.ids[index];
    select(id);
    const place = motion.position(index, stage.progress);
    motion.held = { index, place };
    drag = Object.assign(new Drag(id, place, (bytes) => connection.send(bytes)), { depth });
    canvas.classList.add("dragging");
  },
  move(x, y) {
    if (!drag) return;
    const place = camera.unproject(x, y, drag.depth, stage.width, stage.height);
    if (motion.held) motion.held.place = place;
    drag.moveTo(place);
    look();
  },
  release() {
    if (!drag) return;
    drag.end();
    drag = null;
    canvas.classList.remove("dragging");
    const { held } = motion;
    setTimeout(() => {
      if (motion.held === held && !drag) motion.held = null;
      look();
    }, RELEASE_MS);
  },
  look,
});

filters.addEventListener("change", ({ detail }) => connection.send(encodeFilter(detail)));
filters.addEventListener("enter", () => {
  if (scene.graph?.count) select(scene.graph.ids[0]);
  canvas.focus({ preventScroll: true });
});

function setLabels(enabled) {
  labels.enabled = enabled;
  element("toggle-labels").setAttribute("aria-pressed", enabled);
  labels.refresh();
  look();
}

element("toggle-labels").addEventListener("click", () => setLabels(!labels.enabled));
element("fit").addEventListener("click", () => fit());
for (const [id, factor] of [["closer", 0.75], ["further", 1 / 0.75]]) {
  element(id).addEventListener("click", () => {
    camera.zoom(factor);
    look();
  });
}

listenToKeys({
  canvas,
  camera,
  stage,
  look,
  fit: () => fit(),
  labels: () => setLabels(!labels.enabled),
  search: element("search"),
  clear(field) {
    if (field?.id === "search" && filters.clearSearch()) return;
    select(null);
  },
});

choice("colour", settings.colour, (colour) => {
  settings.colour = colour;
  writeSettings(settings);
  restyle();
  showDetails();
});
choice("encoding", settings.encoding, (encoding) => change({ encoding }));
element("timed").checked = settings.timed;
element("timed").addEventListener("change", (event) => change({ timed: event.target.checked }));

function change(some) {
  Object.assign(settings, some);
  writeSettings(settings);
  connection.reconnect(settings);
}

// How large the picture is, and what panels leave free of it.

const panels = startPanels(() => arrange());

function arrange() {
  const { clientWidth: width, clientHeight: height } = canvas;
  stage.resize(width, height);
  const insets = { left: 0, right: 0, top: 0, bottom: 0 };
  if (isNarrow()) {
    insets.top = element("header").getBoundingClientRect().bottom;
    const sheet = document.querySelector(".sheet:not([hidden])");
    insets.bottom = height - (sheet ?? element("tools")).getBoundingClientRect().top;
  } else {
    insets.bottom = height - element("foot").getBoundingClientRect().top;
    if (!element("filter").hidden) insets.left = element("filter").getBoundingClientRect().right;
    if (!element("statistics").hidden || !element("details").hidden) insets.right = width - element("side").getBoundingClientRect().left;
  }
  camera.insets = insets;
  if (!camera.taken && motion.latest) camera.fit(motion.extent(), width, height);
  labels.refresh();
  look();
}

new ResizeObserver(arrange).observe(canvas);

onThemeChange(() => {
  theme = themeNow();
  restyle();
  showDetails();
});

function counted(some, all) {
  return some === all ? all.toLocaleString() : `${some.toLocaleString()} of ${all.toLocaleString()}`;
}

new Overlay(statistics, connection);
exposeForInspection({ connection, scene, stage, renderer, statistics, status, filters, costs, voice });
fetch("healthz").then((answer) => answer.json()).catch(() => ({})).then((health) => {
  offerOnly("encoding", health.encodings);
  startTimeBar(health);
});
connection.connect();
