/** Push to talk, and hearing the others. */

import { VOICE_HZ } from "./packetiser.js";
import { encodeVoice } from "./protocol.js";

const WHY = {
  NotAllowedError: "The browser does not let this page use the microphone: allow it in the page's settings.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is in use by another program.",
};
const INSECURE = "Browsers give the microphone only to pages that come over https, or from this machine (localhost).";
/** A microphone that is not used is given back, so that the browser's sign for it goes out. */
const KEEP_MS = 30_000;
const KEY = "t";

export class Voice {
  #connection;
  #button;
  #list;
  #toast;
  #context = null;
  #starting = null;
  #speaker = null;
  #analyser = null;
  #microphone = null;
  #release = 0;
  #wanted = false;
  #told = false;

  /** off, asking, talking */
  state = "off";
  sent = 0;
  heard = [];

  constructor(connection, { button, list, toast }) {
    this.#connection = connection;
    this.#button = button;
    this.#list = list;
    this.#toast = toast;
    button.hidden = false;
    this.#listenToButton();
    connection.addEventListener("voice", ({ detail: { message } }) => this.#hear(message));
    connection.addEventListener("state", () => {
      if (connection.state === "Connected") return;
      this.hush();
      this.#speaker?.port.postMessage("forget");
      this.#show([]);
    });
    // Sound needs a person's leave: any key or click is that.
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, () => this.#wake(), { capture: true });
  }

  get summary() {
    return { state: this.state, sent: this.sent, context: this.#speaker ? this.#context.state : "none", heard: this.heard };
  }

  /** What is heard now: the loudest frequency in Hz, and how loud it is, in dB. */
  spectrum() {
    if (!this.#analyser) return null;
    const bins = new Float32Array(this.#analyser.frequencyBinCount);
    this.#analyser.getFloatFrequencyData(bins);
    const loudest = bins.reduce((best, value, i) => (value > bins[best] ? i : best), 0);
    return { frequency_hz: (loudest * this.#context.sampleRate) / this.#analyser.fftSize, level_db: bins[loudest] };
  }

  async talk() {
    if (this.#wanted) return;
    if (this.#connection.state !== "Connected") return this.#toast("Not connected: nobody would hear it.");
    this.#wanted = true;
    clearTimeout(this.#release);
    this.#become("asking");
    try {
      await this.#wake();
      this.#microphone ??= await this.#open();
    } catch (error) {
      this.#wanted = false;
      this.#become("off");
      this.#toast(WHY[error.name] ?? error.message);
      return;
    }
    if (!this.#wanted) return this.#keepForNow(); // let go while the browser was asking
    this.#microphone.node.port.postMessage("talk");
    this.#become("talking");
  }

  hush() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#microphone?.node.port.postMessage("hush");
    this.#become("off");
    this.#keepForNow();
  }

  async #open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error(INSECURE);
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const media = await navigator.mediaDevices.getUserMedia({ audio });
    const source = this.#context.createMediaStreamSource(media);
    const node = new AudioWorkletNode(this.#context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => (this.sent += this.#connection.send(encodeVoice(data, VOICE_HZ)));
    source.connect(node);
    for (const track of media.getTracks()) track.onended = () => this.#giveBack("The microphone is gone.");
    return { media, source, node };
  }

  #keepForNow() {
    clearTimeout(this.#release);
    this.#release = setTimeout(() => this.#giveBack(), KEEP_MS);
  }

  #giveBack(why) {
    const microphone = this.#microphone;
    if (!microphone) return;
    this.hush();
    clearTimeout(this.#release);
    this.#microphone = null;
    microphone.media.getTracks().forEach((track) => track.stop());
    microphone.source.disconnect();
    microphone.node.port.postMessage("end");
    if (why) this.#toast(why);
  }

  async #wake() {
    this.#starting ??= this.#start().catch((error) => {
      this.#starting = null;
      throw error;
    });
    await this.#starting;
    if (this.#context.state !== "running") await this.#context.resume();
  }

  async #start() {
    if (!window.AudioWorkletNode) throw new Error(INSECURE);
    this.#context = new AudioContext({ latencyHint: "interactive" });
    await this.#context.audioWorklet.addModule(new URL("voice-worklet.js", import.meta.url));
    const speaker = new AudioWorkletNode(this.#context, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#analyser = this.#context.createAnalyser();
    speaker.connect(this.#analyser).connect(this.#context.destination);
    speaker.port.onmessage = ({ data }) => this.#show(data);
    this.#speaker = speaker;
  }

  #hear({ stream, sequence, sample_rate_hz, pcm }) {
    if (this.#speaker && this.#context.state === "running") {
      this.#speaker.port.postMessage({ stream, sequence, sample_rate_hz, pcm }, [pcm.buffer]);
    } else if (!this.#told && !this.#starting) {
      this.#told = true;
      this.#toast(`Client ${stream} speaks. Click anywhere to hear it.`);
    }
  }

  #show(heard) {
    this.heard = heard;
    const names = heard.filter((each) => each.speaking).map((each) => `client ${each.stream}`);
    const text = names.length ? `${names.join(", ")} ${names.length > 1 ? "speak" : "speaks"}` : "";
    if (this.#list.textContent !== text) this.#list.textContent = text;
    this.#list.hidden = !text;
  }

  #become(state) {
    this.state = state;
    this.#button.dataset.look = state;
    this.#button.setAttribute("aria-pressed", state === "talking");
  }

  #listenToButton() {
    const button = this.#button;
    button.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      button.setPointerCapture(event.pointerId);
      this.talk();
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(type, () => this.hush());
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch
    const means = (event) =>
      event.target === button ? event.key === " " || event.key === "Enter" : event.key.toLowerCase() === KEY && !writing(event.target);
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !means(event)) return;
      event.preventDefault();
      if (!event.repeat) this.talk();
    });
    addEventListener("keyup", (event) => {
      if (event.target === button || event.key.toLowerCase() === KEY) this.hush();
    });
    addEventListener("blur", () => this.hush());
    document.addEventListener("visibilitychange", () => document.hidden && this.hush());
  }
}

const SILENT_INPUTS = new Set(["range", "checkbox", "radio"]);

function writing(target) {
  return target instanceof HTMLSelectElement || (target instanceof HTMLInputElement && !SILENT_INPUTS.has(target.type));
}
