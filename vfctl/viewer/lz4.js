/** COMPRESSED messages: LZ4 blocks. */

import { NODE_BYTES, ProtocolError } from "./wire.js";

/** The content of a COMPRESSED message: an LZ4 block, whose node part is byte-shuffled. */
export function inflate(block, rawLength, count) {
  const raw = decompressBlock(block, rawLength);
  const content = raw.slice();
  for (let byte = 0, from = 0; byte < NODE_BYTES; byte++) {
    for (let node = 0; node < count; node++) content[node * NODE_BYTES + byte] = raw[from++];
  }
  return content;
}

/** One LZ4 block (lz4/doc/lz4_Block_format.md) of just `length` bytes. */
function decompressBlock(block, length) {
  const out = new Uint8Array(length);
  const damaged = (why) => new ProtocolError(`damaged LZ4 block of ${block.length} bytes (${why})`, 16);
  let at = 0;
  let to = 0;
  const lengthFrom = (nibble) => {
    let total = nibble;
    if (nibble === 15) {
      let more;
      do {
        if (at >= block.length) throw damaged("it ends in a length");
        more = block[at++];
        total += more;
      } while (more === 255);
    }
    return total;
  };
  for (;;) {
    if (at >= block.length) throw damaged("it ends before a token");
    const token = block[at++];
    const literals = lengthFrom(token >> 4);
    if (at + literals > block.length || to + literals > length) throw damaged("literals beyond the end");
    out.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at === block.length) break;
    if (at + 2 > block.length) throw damaged("it ends in an offset");
    const distance = block[at] | (block[at + 1] << 8);
    at += 2;
    const matched = lengthFrom(token & 15) + 4;
    if (!distance || distance > to || to + matched > length) throw damaged("a match from or to elsewhere");
    for (const end = to + matched; to < end; to++) out[to] = out[to - distance];
  }
  if (to !== length) throw damaged(`it holds ${to} bytes, expected ${length}`);
  return out;
}
