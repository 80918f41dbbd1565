/** What all parts of the protocol share. */

export const NODE_BYTES = 28;

/** The only error that decoding raises. `offset` is that of the first byte at fault, from the message's start. */
export class ProtocolError extends Error {
  constructor(message, offset) {
    super(`byte ${offset}: ${message}`);
    this.name = "ProtocolError";
    this.offset = offset;
  }
}

export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
