// d3-force-3d for physics.py: node layout.mjs EDGES NODES POSITIONS LIMIT_S
// EDGES is int32 [edges, 2], POSITIONS (written) float32 [nodes, 3]; prints one JSON object. All settings are d3's defaults.
import { readFileSync, writeFileSync } from "node:fs";
import { forceCenter, forceLink, forceManyBody, forceSimulation } from "d3-force-3d";

const [edgesFile, count, positionsFile, limitS] = process.argv.slice(2);
const ends = new Int32Array(new Uint8Array(readFileSync(edgesFile)).buffer);
const nodes = Array.from({ length: Number(count) }, (_, index) => ({ index }));
const links = Array.from({ length: ends.length / 2 }, (_, edge) => ({ source: ends[2 * edge], target: ends[2 * edge + 1] }));

const started = performance.now();
const simulation = forceSimulation(nodes, 3)
  .force("link", forceLink(links))
  .force("charge", forceManyBody())
  .force("center", forceCenter())
  .stop();
const ticks = [];
const done = () => simulation.alpha() < simulation.alphaMin();
while (!done() && performance.now() - started < 1000 * Number(limitS)) {
  const before = performance.now();
  simulation.tick();
  ticks.push(performance.now() - before);
}
const seconds = (performance.now() - started) / 1000;
writeFileSync(positionsFile, new Uint8Array(Float32Array.from(nodes.flatMap(({ x, y, z }) => [x, y, z])).buffer));
const step_ms = ticks.toSorted((a, b) => a - b)[ticks.length >> 1];
console.log(JSON.stringify({ seconds, step_ms, steps: ticks.length, finished: done() }));
