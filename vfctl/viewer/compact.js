/** COMPACT updates: positions on a grid, predicted from the two states before. `docs/protocol.md` is the normative text. */

import { ProtocolError, viewOf } from "./wire.js";

/** The integer of a coordinate that is not finite. */
export const NOWHERE = -(2 ** 24);
export const MAX_INTEGER = 2 ** 24 - 1;

const SECTION_AT = 12;
const HEADER_BYTES = 16;
const KEY_BYTES = 20;
const KEY = 0xffff;
const BLOCK_NODES = 64;
const SPARSE = 1;
const LOW_BITS = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 20];
const MAX_VALUE = 2 ** 26 - 1;

const CRC_TABLE = new Uint32Array(256).map((_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** CRC-32 (zlib's), going on from that of what stands before. */
function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function idsCheck(ids) {
  const bytes = new Uint8Array(4 * ids.length);
  const view = viewOf(bytes);
  ids.forEach((id, i) => view.setUint32(4 * i, id, true));
  return crc32(bytes);
}

/**
 * Turns the messages of one connection into such as have positions, whatever encoding it speaks. A COMPACT update becomes a
 * PositionUpdate with `nodes` whose `velocities` are null: they are not sent. A message that is refused changes nothing,
 * but those that are predicted from it are refused as well, up to the next key frame.
 */
export class PositionDecoder {
  #ids = null;
  #check = 0;
  #known = null;

  /** The step of the present COMPACT grid, in units; null before its first frame. */
  get step() {
    return this.#known && this.#known.step;
  }

  feed(message) {
    if (message.type === "FullGraph") {
      this.#ids = message.nodes.ids;
      this.#check = idsCheck(this.#ids);
      this.#known = null;
    }
    if (message.section === undefined) return message;
    if (this.#ids === null) throw new ProtocolError("a COMPACT update before any FullGraph", 2);
    const count = this.#ids.length;
    if (message.count !== count) throw new ProtocolError(`${message.count} nodes, expected ${count}`, 4);
    this.#known = this.#next(message.section, count);
    const { step, latest } = this.#known;
    const positions = new Float32Array(3 * count);
    for (let axis = 0; axis < 3; axis++) {
      for (let i = 0; i < count; i++) {
        const integer = latest[axis * count + i];
        positions[3 * i + axis] = integer === NOWHERE ? NaN : Math.fround(step * integer);
      }
    }
    const { section, ...rest } = message;
    return { ...rest, nodes: { ids: this.#ids, positions, velocities: null } };
  }

  #next(section, count) {
    if (section.length < HEADER_BYTES || section.length > 64 + 32 * count) {
      throw new ProtocolError(`a COMPACT section of ${section.length} bytes for ${count} nodes`, SECTION_AT - 4);
    }
    const view = viewOf(section);
    const found = crc32(section.subarray(12), crc32(section.subarray(0, 8), this.#check));
    if (view.getUint32(8, true) !== found) {
      throw new ProtocolError("CRC-32: a damaged COMPACT section, or one for other nodes", SECTION_AT + 8);
    }
    const chain = view.getUint32(0, true);
    const position = view.getUint32(4, true);
    const back = view.getUint16(12, true);
    const span = view.getUint16(14, true);
    if (back === KEY) return readKey(section, view, count, chain, position, span);
    const known = this.#known;
    if (known === null || known.chain !== chain) throw new ProtocolError("a chain that has not begun here", SECTION_AT);
    if (known.position + back !== position) {
      throw new ProtocolError(`predicted from state ${position - back}, but ${known.position} has come last`, SECTION_AT + 12);
    }
    if (span && (span !== known.span || known.earlier === null)) {
      throw new ProtocolError(`predicted from states ${span} apart, expected ${known.span}`, SECTION_AT + 14);
    }
    if (!back) {
      if (section.length > HEADER_BYTES) throw new ProtocolError("a state that has come cannot change", SECTION_AT + 12);
      return known;
    }
    const latest = unpack(section.subarray(HEADER_BYTES), count, SECTION_AT + HEADER_BYTES);
    addPrediction(latest, known, span, back);
    return { ...known, position, latest: withinBox(latest, SECTION_AT + HEADER_BYTES), span: back, earlier: known.latest };
  }
}

function readKey(section, view, count, chain, position, span) {
  let at = SECTION_AT + HEADER_BYTES;
  if (section.length < HEADER_BYTES + KEY_BYTES) throw new ProtocolError("a key frame, cut short", SECTION_AT + section.length);
  const step = view.getFloat32(HEADER_BYTES, true);
  if (!(step >= 2 ** -126 && step <= 2 ** 104)) throw new ProtocolError(`a grid with step ${step}`, at);
  const centre = [4, 8, 12].map((offset) => view.getInt32(HEADER_BYTES + offset, true));
  withinBox(centre, at + 4);
  const length = view.getUint32(HEADER_BYTES + 16, true);
  const body = section.subarray(HEADER_BYTES + KEY_BYTES);
  if (length > body.length || (!span && length !== body.length)) {
    throw new ProtocolError(`${length} bytes of positions in ${body.length}`, at + 16);
  }
  at += KEY_BYTES;
  const latest = unpack(body.subarray(0, length), count, at);
  for (let i = 0; i < latest.length; i++) latest[i] += centre[Math.floor(i / count)];
  withinBox(latest, at);
  let earlier = null;
  if (span) {
    earlier = unpack(body.subarray(length), count, at + length);
    for (let i = 0; i < earlier.length; i++) earlier[i] = latest[i] - earlier[i];
    withinBox(earlier, at + length);
  }
  return { chain, step, position, latest, span, earlier };
}

/** Residuals to integers: latest + floor((2·back·(latest − earlier) + span) / (2·span)), held within the box. */
function addPrediction(residuals, known, span, back) {
  const { latest, earlier } = known;
  for (let i = 0; i < residuals.length; i++) {
    let predicted = latest[i];
    if (span) {
      predicted += Math.floor((2 * back * (latest[i] - earlier[i]) + span) / (2 * span));
      predicted = Math.min(Math.max(predicted, NOWHERE), MAX_INTEGER);
    }
    residuals[i] += predicted;
  }
}

function withinBox(integers, offset) {
  for (const integer of integers) {
    if (integer < NOWHERE || integer > MAX_INTEGER) throw new ProtocolError(`integer ${integer} on the grid`, offset);
  }
  return integers;
}

/** Rice codes by blocks of 64 nodes, to Int32Array [3 count]: all x, all y, all z. */
function unpack(packed, count, offset) {
  const values = new Int32Array(3 * count);
  if (!packed.length) return values;
  const blocks = Math.ceil(count / BLOCK_NODES);
  const header = Math.ceil(blocks / 2);
  if (packed.length <= header) throw new ProtocolError(`${packed.length} packed bytes for ${count} nodes`, offset);
  const mode = (block) => (packed[block >> 1] >> (4 * (block & 1))) & 15;
  if (blocks % 2 && mode(blocks)) throw new ProtocolError("the mode of a block that does not exist", offset + header - 1);
  const end = 8 * packed.length;
  let bit = 8 * header;
  const isSet = (at) => (packed[at >> 3] >> (at & 7)) & 1;
  const need = (bits) => {
    if (end - bit < bits) throw new ProtocolError(`${end - 8 * header} packed bits, expected more`, offset + header);
  };
  const sizeOf = (block) => Math.min(BLOCK_NODES, count - block * BLOCK_NODES);

  // Which nodes are coded, and with which k.
  let flags = 0;
  for (let block = 0; block < blocks; block++) if (mode(block) === SPARSE) flags += sizeOf(block);
  need(flags);
  const nodes = new Int32Array(count);
  const low = new Uint8Array(count);
  let coded = 0;
  let largest = 0;
  let planes = 0;
  for (let block = 0; block < blocks; block++) {
    if (!mode(block)) continue;
    const k = LOW_BITS[mode(block)];
    const start = block * BLOCK_NODES;
    largest = Math.max(largest, k);
    planes += 3 * k * sizeOf(block);
    for (let node = start; node < start + sizeOf(block); node++) {
      if (mode(block) === SPARSE && !isSet(bit++)) continue;
      nodes[coded] = node;
      low[coded++] = k;
    }
  }
  need(planes);
  for (let plane = 0; plane < largest; plane++) {
    for (let axis = 0; axis < 3; axis++) {
      for (let i = 0; i < coded; i++) {
        if (low[i] > plane) values[axis * count + nodes[i]] |= isSet(bit++) << plane;
      }
    }
  }

  // The rest of each value: so many zeros, then a one.
  const wrong = (why) => new ProtocolError(`${why} packed values than the expected ${3 * coded}`, offset + header);
  const nextOne = () => {
    while (bit < end) {
      const rest = packed[bit >> 3] >> (bit & 7);
      if (rest) {
        bit += 31 - Math.clz32(rest & -rest);
        return bit++;
      }
      bit = (bit | 7) + 1;
    }
    return -1;
  };
  let tooLarge = false;
  let before = bit - 1;
  for (let axis = 0; axis < 3; axis++) {
    for (let i = 0; i < coded; i++) {
      const one = nextOne();
      if (one < 0) throw wrong("fewer");
      const high = (one - before - 1) * 2 ** low[i];
      before = one;
      if (high > MAX_VALUE) tooLarge = true;
      const at = axis * count + nodes[i];
      const zigzag = high + values[at];
      values[at] = (zigzag >>> 1) ^ -(zigzag & 1);
    }
  }
  const used = bit;
  if (nextOne() >= 0) throw wrong("more");
  if (end - used >= 8) throw new ProtocolError("packed bytes too many", offset + packed.length - 1);
  if (tooLarge) throw new ProtocolError(`a packed value beyond ${MAX_VALUE}`, offset + header);
  return values;
}
