/** Voice: push to talk, and playback of what others say. */

import { button, element, isTextInput, setText } from "./dom.js";
import { encodeVoice, textOf } from "./protocol.js";
import { VOICE_HZ } from "./voice-buffers.js";

/**
 * @import { Connection } from "./connection.js"
 * @import { VoiceDataMessage } from "./protocol.js"
 */

/**
 * @typedef {"off" | "asking" | "talking"} VoiceState
 * @typedef {{ media: MediaStream, source: MediaStreamAudioSourceNode, node: AudioWorkletNode }} Microphone
 * @typedef {{ context: AudioContext, speaker: AudioWorkletNode, analyser: AnalyserNode }} Audio
 * @typedef {{ stream: number, speaking: boolean, messages: number, late: number, lost: number, gaps: number }} Heard what was heard
 *   of one speaker
 */

/** @type {Record<string, string>} */
const TROUBLE = {
  NotAllowedError: "The browser does not let this page use the microphone. Allow it in the page's settings.",
  NotFoundError: "No microphone was found.",
  NotReadableError: "Another program uses the microphone.",
};
const INSECURE = "Browsers allow the microphone only on pages over https or from localhost.";
/** A microphone that is not used is released, so that the browser no longer shows it as in use. */
const KEEP_MICROPHONE_MS = 30_000;
const KEY = "t";

export class Voice {
  /** @type {Connection} */
  #connection;
  /** @type {(text: string) => void} */
  #toast;
  #button = button("talk");
  #speakers = element("speaking");
  /** @type {Audio | null} */
  #audio = null;
  /** @type {Promise<Audio> | null} */
  #starting = null;
  /** @type {Microphone | null} */
  #microphone = null;
  #releaseTimer = 0;
  #wanted = false;
  #hinted = false;
  /** @type {VoiceState} */
  #state = "off";
  #sent = 0;
  /** @type {Heard[]} */
  #heard = [];

  /**
   * @param {Connection} connection
   * @param {(text: string) => void} toast shows a sentence to the user
   */
  constructor(connection, toast) {
    this.#connection = connection;
    this.#toast = toast;
    this.#button.hidden = false;
    this.#listen();
  }

  get summary() {
    return { state: this.#state, sent: this.#sent, context: this.#audio?.context.state ?? "none", heard: this.#heard };
  }

  /** The loudest frequency that is played now, in Hz, and its level in dB; null before audio has started. */
  spectrum() {
    if (!this.#audio) return null;
    const { analyser, context } = this.#audio;
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const loudest = bins.reduce((best, value, i) => (value > bins[best] ? i : best), 0);
    return { frequency_hz: (loudest * context.sampleRate) / analyser.fftSize, level_db: bins[loudest] };
  }

  /** The connection is lost: nobody is heard. */
  reset() {
    this.#mute();
    this.#audio?.speaker.port.postMessage("reset");
    this.#show([]);
  }

  /** @param {VoiceDataMessage} message */
  play({ stream, sequence, sample_rate_hz, pcm }) {
    if (this.#audio?.context.state === "running") {
      this.#audio.speaker.port.postMessage({ stream, sequence, sample_rate_hz, pcm }, [pcm.buffer]);
    } else if (!this.#hinted && !this.#starting) {
      this.#hinted = true;
      this.#toast(`Client ${stream} is speaking. Click anywhere to hear it.`);
    }
  }

  async #talk() {
    if (this.#wanted) return;
    if (this.#connection.state !== "Connected") return this.#toast("Not connected. Voice needs a connection.");
    this.#wanted = true;
    clearTimeout(this.#releaseTimer);
    this.#setState("asking");
    try {
      const { context } = await this.#start();
      this.#microphone ??= await this.#openMicrophone(context);
    } catch (error) {
      this.#wanted = false;
      this.#setState("off");
      this.#toast((error instanceof DOMException && TROUBLE[error.name]) || textOf(error));
      return;
    }
    if (!this.#wanted) return this.#releaseLater(); // released while the browser was asking
    this.#microphone.node.port.postMessage("talk");
    this.#setState("talking");
  }

  #mute() {
    if (!this.#wanted) return;
    this.#wanted = false;
    this.#microphone?.node.port.postMessage("mute");
    this.#setState("off");
    this.#releaseLater();
  }

  /**
   * @param {AudioContext} context
   * @returns {Promise<Microphone>}
   */
  async #openMicrophone(context) {
    if (!window.isSecureContext) throw new Error(INSECURE);
    const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    const media = await navigator.mediaDevices.getUserMedia({ audio });
    const source = context.createMediaStreamSource(media);
    const node = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      if (this.#connection.send(encodeVoice(data, VOICE_HZ))) this.#sent++;
    };
    source.connect(node);
    for (const track of media.getTracks()) track.onended = () => this.#releaseMicrophone("The microphone was disconnected.");
    return { media, source, node };
  }

  #releaseLater() {
    clearTimeout(this.#releaseTimer);
    this.#releaseTimer = setTimeout(() => this.#releaseMicrophone(), KEEP_MICROPHONE_MS);
  }

  /** @param {string} [why] a sentence for the user */
  #releaseMicrophone(why) {
    const microphone = this.#microphone;
    if (!microphone) return;
    this.#mute();
    clearTimeout(this.#releaseTimer);
    this.#microphone = null;
    microphone.media.getTracks().forEach((track) => track.stop());
    microphone.source.disconnect();
    microphone.node.port.postMessage("end");
    if (why) this.#toast(why);
  }

  /** Starts audio, or resumes it. Browsers allow that only after a click or key. */
  async #start() {
    this.#starting ??= this.#create().catch((error) => {
      this.#starting = null;
      throw error;
    });
    const audio = await this.#starting;
    if (audio.context.state !== "running") await audio.context.resume();
    return audio;
  }

  /** @returns {Promise<Audio>} */
  async #create() {
    if (!window.isSecureContext) throw new Error(INSECURE);
    const context = new AudioContext({ latencyHint: "interactive" });
    await context.audioWorklet.addModule(new URL("voice-worklet.js", import.meta.url));
    const speaker = new AudioWorkletNode(context, "loudspeaker", { numberOfInputs: 0, outputChannelCount: [1] });
    const analyser = context.createAnalyser();
    speaker.connect(analyser).connect(context.destination);
    speaker.port.onmessage = ({ data }) => this.#show(data);
    this.#audio = { context, speaker, analyser };
    return this.#audio;
  }

  /** @param {Heard[]} heard */
  #show(heard) {
    this.#heard = heard;
    const names = heard.filter((each) => each.speaking).map((each) => `client ${each.stream}`);
    setText(this.#speakers, names.length ? `Speaking: ${names.join(", ")}` : "");
    this.#speakers.hidden = !names.length;
  }

  /** @param {VoiceState} state */
  #setState(state) {
    this.#state = state;
    this.#button.dataset.look = state;
    this.#button.setAttribute("aria-pressed", String(state === "talking"));
  }

  #listen() {
    const talk = this.#button;
    talk.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      talk.setPointerCapture(event.pointerId);
      this.#talk();
    });
    for (const type of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) talk.addEventListener(type, () => this.#mute());
    talk.addEventListener("contextmenu", (event) => event.preventDefault()); // of a long touch
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.#isTalkKey(event)) return;
      event.preventDefault();
      if (!event.repeat) this.#talk();
    });
    addEventListener("keyup", (event) => {
      if (event.target === talk || event.key.toLowerCase() === KEY) this.#mute();
    });
    addEventListener("blur", () => this.#mute());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#mute();
    });
    const start = () => this.#start().catch(() => {}); // talking reports what is wrong
    for (const type of ["pointerdown", "keydown"]) addEventListener(type, start, { capture: true });
  }

  /** @param {KeyboardEvent} event */
  #isTalkKey({ target, key }) {
    if (target === this.#button) return key === " " || key === "Enter";
    return key.toLowerCase() === KEY && !isTextInput(target) && !(target instanceof HTMLSelectElement);
  }
}
