// The ws package as a server, to compare with: `node send.cjs PORT FRAME_FILE RATE`; see send.py, which does the same.
const fs = require("node:fs");
const { WebSocketServer } = require("ws");

const TICKS_PER_S = 60;
const TRAILER_BYTES = 20;
const [port, frameFile, rate] = process.argv.slice(2);
const message = fs.readFileSync(frameFile);
const slots = Array.from({ length: Math.round(TICKS_PER_S / rate) }, () => new Set());
let joined = 0;
let tick = 0;

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false, backlog: 4096 });
server.on("connection", (socket) => {
  const slot = slots[joined++ % slots.length];
  slot.add(socket);
  socket.on("close", () => slot.delete(socket));
  socket.on("error", () => {});
});
server.on("listening", () => console.log(process.pid));

function sendDue() {
  const stamped = Buffer.from(message); // what was sent before may still be waiting
  const trailer = stamped.length - TRAILER_BYTES;
  stamped.writeBigUInt64LE(BigInt(Math.floor(tick / slots.length)), trailer);
  stamped.writeBigUInt64LE(BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)), trailer + 8);
  stamped.writeUInt32LE(Math.round(1e6 / rate), trailer + 16);
  for (const socket of slots[tick % slots.length]) socket.send(stamped, { binary: true });
  tick++;
}

let next = performance.now();
(function run() {
  sendDue();
  next = Math.max(next + 1000 / TICKS_PER_S, performance.now());
  setTimeout(run, next - performance.now());
})();
process.stdin.on("end", () => process.exit(0)).resume();
