/** COMPACT updates: positions on a grid, predicted from the two previous states. `docs/protocol.md` is the normative text. */

import { ProtocolError, viewOf } from "./protocol.js";

/** @import { FullGraphMessage, Message, OtherMessage, PositionUpdateMessage } from "./protocol.js" */

/**
 * @typedef {object} GridState What the next update is predicted from. Arrays are [3 n]: all x, all y, all z.
 * @property {number} chain number of the chain of updates that began with a key frame
 * @property {number} step of the grid, in units of the graph
 * @property {number} position of the latest state in the chain
 * @property {ArrayLike<number>} latest integers on the grid
 * @property {number} span from the earlier state to the latest; 0 without an earlier one
 * @property {ArrayLike<number> | null} earlier integers on the grid
 */

/** The integer that stands for a coordinate that is not finite. */
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

/**
 * CRC-32 as in zlib.
 *
 * @param {Uint8Array} bytes
 * @param {number} [before] CRC-32 of the bytes before these
 */
function crc32(bytes, before = 0) {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {Uint32Array} ids */
function idsCheck(ids) {
  const bytes = new Uint8Array(4 * ids.length);
  const view = viewOf(bytes);
  ids.forEach((id, i) => view.setUint32(4 * i, id, true));
  return crc32(bytes);
}

/**
 * Decodes the positions in the messages of one connection, in any encoding. A COMPACT update becomes a PositionUpdate with `nodes`
 * whose `velocities` are null, because they are not sent. An invalid message changes nothing, but the updates that are predicted
 * from it are invalid as well, up to the next key frame.
 */
export class PositionDecoder {
  /** @type {Uint32Array | null} */
  #ids = null;
  #check = 0;
  /** @type {GridState | null} */
  #known = null;

  /** The step of the current COMPACT grid, in units of the graph; null before the first key frame. */
  get step() {
    return this.#known && this.#known.step;
  }

  /**
   * @param {Message} message
   * @returns {FullGraphMessage | PositionUpdateMessage | OtherMessage}
   */
  decode(message) {
    if (message.type === "FullGraph") {
      this.#ids = message.nodes.ids;
      this.#check = idsCheck(this.#ids);
      this.#known = null;
    }
    if (message.type !== "PositionUpdate" || message.section === undefined) return message;
    if (this.#ids === null) throw new ProtocolError("a COMPACT update before the first FullGraph", 2);
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
    return { ...message, section: undefined, nodes: { ids: this.#ids, positions, velocities: null } };
  }

  /**
   * @param {Uint8Array} section
   * @param {number} count
   * @returns {GridState}
   */
  #next(section, count) {
    if (section.length < HEADER_BYTES || section.length > 64 + 32 * count) {
      throw new ProtocolError(`a COMPACT section of ${section.length} bytes for ${count} nodes`, SECTION_AT - 4);
    }
    const view = viewOf(section);
    const found = crc32(section.subarray(12), crc32(section.subarray(0, 8), this.#check));
    if (view.getUint32(8, true) !== found) {
      throw new ProtocolError("the CRC-32 does not match: the section is damaged, or for other nodes", SECTION_AT + 8);
    }
    const chain = view.getUint32(0, true);
    const position = view.getUint32(4, true);
    const back = view.getUint16(12, true);
    const span = view.getUint16(14, true);
    if (back === KEY) return readKey(section, view, count, chain, position, span);
    const known = this.#known;
    if (known === null || known.chain !== chain) throw new ProtocolError(`the key frame of chain ${chain} is missing`, SECTION_AT);
    if (known.position + back !== position) {
      throw new ProtocolError(`predicted from state ${position - back}, but the last one received is ${known.position}`, SECTION_AT + 12);
    }
    if (span && (span !== known.span || known.earlier === null)) {
      throw new ProtocolError(`predicted from states ${span} apart, but those received are ${known.span} apart`, SECTION_AT + 14);
    }
    if (!back) {
      if (section.length > HEADER_BYTES) throw new ProtocolError("this repeats the latest state, but has content", SECTION_AT + 12);
      return known;
    }
    const latest = unpack(section.subarray(HEADER_BYTES), count, SECTION_AT + HEADER_BYTES);
    addPrediction(latest, known, span, back);
    return { ...known, position, latest: checkRange(latest, SECTION_AT + HEADER_BYTES), span: back, earlier: known.latest };
  }
}

/**
 * A key frame: states that are not predicted.
 *
 * @param {Uint8Array} section
 * @param {DataView} view of the section
 * @param {number} count
 * @param {number} chain
 * @param {number} position
 * @param {number} span
 * @returns {GridState}
 */
function readKey(section, view, count, chain, position, span) {
  let at = SECTION_AT + HEADER_BYTES;
  if (section.length < HEADER_BYTES + KEY_BYTES) throw new ProtocolError("the key frame ends here", SECTION_AT + section.length);
  const step = view.getFloat32(HEADER_BYTES, true);
  if (!(step >= 2 ** -126 && step <= 2 ** 104)) throw new ProtocolError(`the grid step is ${step}`, at);
  const centre = [4, 8, 12].map((offset) => view.getInt32(HEADER_BYTES + offset, true));
  checkRange(centre, at + 4);
  const length = view.getUint32(HEADER_BYTES + 16, true);
  const body = section.subarray(HEADER_BYTES + KEY_BYTES);
  if (length > body.length || (!span && length !== body.length)) {
    throw new ProtocolError(`${length} bytes of positions, but the section has ${body.length}`, at + 16);
  }
  at += KEY_BYTES;
  const latest = unpack(body.subarray(0, length), count, at);
  for (let i = 0; i < latest.length; i++) latest[i] += centre[Math.floor(i / count)];
  checkRange(latest, at);
  let earlier = null;
  if (span) {
    earlier = unpack(body.subarray(length), count, at + length);
    for (let i = 0; i < earlier.length; i++) earlier[i] = latest[i] - earlier[i];
    checkRange(earlier, at + length);
  }
  return { chain, step, position, latest, span, earlier };
}

/**
 * Turns residuals into integers on the grid. The prediction is latest + floor((2·back·(latest − earlier) + span) / (2·span)),
 * clamped to the range of the grid.
 *
 * @param {Int32Array} residuals
 * @param {GridState} known
 * @param {number} span
 * @param {number} back
 */
function addPrediction(residuals, known, span, back) {
  const { latest, earlier } = known;
  for (let i = 0; i < residuals.length; i++) {
    let predicted = latest[i];
    if (span && earlier) {
      predicted += Math.floor((2 * back * (latest[i] - earlier[i]) + span) / (2 * span));
      predicted = Math.min(Math.max(predicted, NOWHERE), MAX_INTEGER);
    }
    residuals[i] += predicted;
  }
}

/**
 * @template {Int32Array | number[]} T
 * @param {T} integers
 * @param {number} offset
 * @returns {T}
 */
function checkRange(integers, offset) {
  for (const integer of integers) {
    if (integer < NOWHERE || integer > MAX_INTEGER) throw new ProtocolError(`integer ${integer} is outside of the grid`, offset);
  }
  return integers;
}

/**
 * Rice-coded integers, by blocks of 64 nodes.
 *
 * @param {Uint8Array} packed
 * @param {number} count
 * @param {number} offset of `packed` in the message
 * @returns {Int32Array} [3 count]: all x, all y, all z
 */
function unpack(packed, count, offset) {
  const values = new Int32Array(3 * count);
  if (!packed.length) return values;
  const blocks = Math.ceil(count / BLOCK_NODES);
  const header = Math.ceil(blocks / 2);
  if (packed.length <= header) throw new ProtocolError(`${packed.length} packed bytes for ${count} nodes`, offset);
  /** @param {number} block */
  const mode = (block) => (packed[block >> 1] >> (4 * (block & 1))) & 15;
  if (blocks % 2 && mode(blocks)) throw new ProtocolError("a mode for a block that does not exist", offset + header - 1);
  const end = 8 * packed.length;
  let bit = 8 * header;
  /** @param {number} at */
  const isSet = (at) => (packed[at >> 3] >> (at & 7)) & 1;
  /** @param {number} bits */
  const need = (bits) => {
    if (end - bit < bits) throw new ProtocolError(`${end - 8 * header} packed bits are too few`, offset + header);
  };
  /** @param {number} block */
  const sizeOf = (block) => Math.min(BLOCK_NODES, count - block * BLOCK_NODES);

  // The nodes that are coded, and the number of low bits (k) of each.
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

  // The high part of each value, in unary: that many zeros, then a one.
  /** @param {string} comparison */
  const wrong = (comparison) => new ProtocolError(`${comparison} than the expected ${3 * coded} packed values`, offset + header);
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
  if (end - used >= 8) throw new ProtocolError("extra bytes after the packed values", offset + packed.length - 1);
  if (tooLarge) throw new ProtocolError(`a packed value exceeds ${MAX_VALUE}`, offset + header);
  return values;
}
