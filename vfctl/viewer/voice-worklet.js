/** The audio thread: microphone to messages, messages to loudspeaker. */

import { JitterBuffer } from "./jitterbuffer.js";
import { Packetiser } from "./packetiser.js";

const REPORT_S = 0.1;
/** More at once would be a noise to listen to and work for nothing. */
const MOST_SPEAKERS = 16;

class Microphone extends AudioWorkletProcessor {
  #packetiser = null;
  #ended = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "talk") this.#packetiser = new Packetiser(sampleRate);
      else if (data === "hush") {
        this.#send(this.#packetiser?.end());
        this.#packetiser = null;
      } else this.#ended = true;
    };
  }

  process([channels]) {
    if (this.#packetiser && channels.length) for (const pcm of this.#packetiser.push(mono(channels))) this.#send(pcm);
    return !this.#ended;
  }

  #send(pcm) {
    if (pcm) this.port.postMessage(pcm, [pcm.buffer]);
  }
}

class Loudspeaker extends AudioWorkletProcessor {
  #speakers = new Map();
  #said_s = 0;
  #before = "";

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (data === "forget") return this.#speakers.clear();
      const { stream, sequence, sample_rate_hz, pcm } = data;
      let speaker = this.#speakers.get(stream);
      if (!speaker) {
        if (this.#speakers.size >= MOST_SPEAKERS) return;
        this.#speakers.set(stream, (speaker = new JitterBuffer(sampleRate)));
      }
      speaker.push(pcm, sample_rate_hz, sequence);
    };
  }

  process(_, [[out]]) {
    for (const speaker of this.#speakers.values()) speaker.pull(out);
    if (currentTime - this.#said_s >= REPORT_S) this.#report();
    return true;
  }

  #report() {
    this.#said_s = currentTime;
    const report = [...this.#speakers].map(([stream, speaker]) => ({ stream, speaking: speaker.speaking, ...speaker.counts }));
    for (const [stream, speaker] of this.#speakers) if (!speaker.speaking) this.#speakers.delete(stream);
    const text = JSON.stringify(report);
    if (text !== this.#before) this.port.postMessage(report);
    this.#before = text;
  }
}

function mono(channels) {
  if (channels.length === 1) return channels[0];
  return channels[0].map((_, i) => channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
}

registerProcessor("microphone", Microphone);
registerProcessor("loudspeaker", Loudspeaker);
