/** The audio thread: from the microphone to messages, from messages to the loudspeaker. */

import { JitterBuffer, Packetiser } from "./voice-buffers.js";

/** @typedef {{ stream: number, sequence?: number, sample_rate_hz: number, pcm: Int16Array }} Speech */

const REPORT_S = 0.1;
/** More speakers at once would only be noise, and cost time. */
const MAX_SPEAKERS = 16;

/** Receives "talk", "mute" and "end"; posts the samples of each message. */
class Microphone extends AudioWorkletProcessor {
  /** @type {Packetiser | null} */
  #packetiser = null;
  #ended = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "talk") {
        this.#packetiser = new Packetiser(sampleRate);
      } else if (data === "mute") {
        this.#send(this.#packetiser?.end());
        this.#packetiser = null;
      } else {
        this.#ended = true;
      }
    };
  }

  /**
   * @param {Float32Array[][]} inputs
   * @returns {boolean} whether the node is still needed
   */
  process([channels]) {
    if (this.#packetiser && channels.length) for (const pcm of this.#packetiser.push(mono(channels))) this.#send(pcm);
    return !this.#ended;
  }

  /** @param {Int16Array<ArrayBuffer> | null} [pcm] */
  #send(pcm) {
    if (pcm) this.port.postMessage(pcm, [pcm.buffer]);
  }
}

/** Receives `Speech` and "reset"; posts who speaks whenever that changes. */
class Loudspeaker extends AudioWorkletProcessor {
  /** @type {Map<number, JitterBuffer>} */
  #speakers = new Map();
  #reported_s = 0;
  #reported = "";

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "reset") this.#speakers.clear();
      else this.#push(data);
    };
  }

  /** @param {Speech} speech */
  #push({ stream, sequence, sample_rate_hz, pcm }) {
    let speaker = this.#speakers.get(stream);
    if (!speaker) {
      if (this.#speakers.size >= MAX_SPEAKERS) return;
      this.#speakers.set(stream, (speaker = new JitterBuffer(sampleRate)));
    }
    speaker.push(pcm, sample_rate_hz, sequence);
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, [[out]]) {
    for (const speaker of this.#speakers.values()) speaker.pull(out);
    if (currentTime - this.#reported_s >= REPORT_S) this.#report();
    return true;
  }

  #report() {
    this.#reported_s = currentTime;
    const report = [...this.#speakers].map(([stream, speaker]) => ({ stream, speaking: speaker.speaking, ...speaker.counts }));
    for (const [stream, speaker] of this.#speakers) if (!speaker.speaking) this.#speakers.delete(stream);
    const text = JSON.stringify(report);
    if (text !== this.#reported) this.port.postMessage(report);
    this.#reported = text;
  }
}

/** @param {Float32Array[]} channels */
function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor("microphone", Microphone);
registerProcessor("loudspeaker", Loudspeaker);
