/** What the person has chosen stands in the page's own URL, so that it can be kept and shared. */

const ENCODINGS = ["raw", "lz4", "compact"];
const COLOURS = ["cluster", "kind", "depth"];

const oneOf = (list, value) => (list.includes(value) ? value : list[0]);

export function readSettings() {
  const query = new URLSearchParams(location.search);
  return {
    encoding: oneOf(ENCODINGS, query.get("encoding")),
    timed: query.get("timed") !== "0",
    colour: oneOf(COLOURS, query.get("colour")),
  };
}

export function writeSettings({ encoding, timed, colour }) {
  const query = new URLSearchParams();
  if (encoding !== ENCODINGS[0]) query.set("encoding", encoding);
  if (!timed) query.set("timed", "0");
  if (colour !== COLOURS[0]) query.set("colour", colour);
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}
