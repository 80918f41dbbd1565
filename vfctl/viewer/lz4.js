// LZ4 blocks (lz4/doc/lz4_Block_format.md).

/**
 * Decompresses one block of exactly `length` bytes. Throws an Error that says what is damaged.
 *
 * @param {Uint8Array} block
 * @param {number} length
 */
export function decompressBlock(block, length) {
  const out = new Uint8Array(length);
  let at = 0;
  let to = 0;
  /** @param {number} nibble */
  const lengthFrom = (nibble) => {
    let total = nibble;
    if (nibble === 15) {
      let more;
      do {
        if (at >= block.length) throw new Error("it ends within a length");
        more = block[at++];
        total += more;
      } while (more === 255);
    }
    return total;
  };
  for (;;) {
    if (at >= block.length) throw new Error("it ends where a token is expected");
    const token = block[at++];
    const literals = lengthFrom(token >> 4);
    if (at + literals > block.length || to + literals > length) throw new Error("literals reach beyond its end");
    out.set(block.subarray(at, at + literals), to);
    at += literals;
    to += literals;
    if (at === block.length) break;
    if (at + 2 > block.length) throw new Error("it ends within an offset");
    const distance = block[at] | (block[at + 1] << 8);
    at += 2;
    const matched = lengthFrom(token & 15) + 4;
    if (!distance || distance > to || to + matched > length) throw new Error("a match lies outside of its content");
    for (const end = to + matched; to < end; to++) out[to] = out[to - distance];
  }
  if (to !== length) throw new Error(`it holds ${to} bytes, expected ${length}`);
  return out;
}
