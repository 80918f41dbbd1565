/** `window.vfctl`: what the page knows, for tests and for people at the console. Read-only; see docs/viewer.md. */

export function exposeForInspection({ connection, scene, stage, renderer, statistics, status, filters, costs, voice }) {
  const indexOf = (id) => scene.graph?.indices.get(id);
  const inspection = {
    get state() {
      return connection.state;
    },
    get settled() {
      return status.settled;
    },
    get encoding() {
      return connection.settings.encoding;
    },
    get drawn() {
      return { ...(renderer?.drawn ?? { nodes: 0, edges: 0 }) };
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
    /** What is heard now: {frequency_hz, level_db} of the loudest frequency; null before anybody has clicked or typed. */
    spectrum: () => voice.spectrum(),
    /** Milliseconds of script of the last pictures, the latest last. */
    get costs_ms() {
      return [...costs];
    },
    /** Where a node is seen now, in units of the graph; null if it is not shown. */
    position(id) {
      const index = indexOf(id);
      return index === undefined ? null : stage.motion.position(index, stage.progress);
    },
    /** Where it is on the screen: {x, y, depth, radius}, CSS pixels. */
    screen(id) {
      const index = indexOf(id);
      return index === undefined || !stage.matrix ? null : stage.locate(index);
    },
    /** The id of the node at a place on the screen, or null. */
    at(x, y) {
      const index = stage.pick(x, y, 0);
      return index < 0 ? null : scene.graph.ids[index];
    },
  };
  Object.defineProperty(window, "vfctl", { value: Object.freeze(inspection) });
}
