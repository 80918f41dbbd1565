/** The time bar of a replay, over `GET` and `PATCH /replay`. A live server has none, and then there is no bar. */

const ASK_MS = 500;

/** `health`: what the server says of itself. */
export async function startTimeBar(health) {
  const bar = document.getElementById("timebar");
  const slider = document.getElementById("position");
  const play = document.getElementById("play");
  const speed = document.getElementById("speed");
  const now = health.replay ? await ask() : null;
  if (!now) return;
  bar.hidden = false;
  let sliding = false;
  let latest = now;

  const show = (state) => {
    latest = state;
    const { position_s, duration_s, paused, ended } = state;
    slider.max = duration_s ?? Math.max(position_s, Number(slider.max));
    if (!sliding) slider.value = position_s;
    slider.setAttribute("aria-valuetext", clockText(position_s));
    document.getElementById("elapsed").textContent = clockText(sliding ? Number(slider.value) : position_s);
    document.getElementById("duration").textContent = duration_s === null ? "…" : clockText(duration_s);
    play.dataset.look = paused || ended ? "paused" : "playing";
    play.setAttribute("aria-label", paused || ended ? "Play" : "Pause");
    if (document.activeElement !== speed) speed.value = [...speed.options].some(({ value }) => Number(value) === state.speed) ? state.speed : "";
  };
  const change = async (some) => {
    const state = await ask(some);
    if (state) show(state);
  };
  show(now);
  slider.addEventListener("input", () => {
    sliding = true;
    document.getElementById("elapsed").textContent = clockText(Number(slider.value));
  });
  slider.addEventListener("change", async () => {
    await change({ position_s: Number(slider.value) });
    sliding = false;
  });
  play.addEventListener("click", () => change(latest.ended ? { position_s: 0, paused: false } : { paused: !latest.paused }));
  speed.addEventListener("change", () => change({ speed: Number(speed.value) }));
  setInterval(async () => {
    if (document.hidden || sliding) return;
    const state = await ask();
    if (state && !sliding) show(state);
  }, ASK_MS);
}

/** The replay's state, after `changes` if there are some; null if there is none or it says no. */
async function ask(changes) {
  try {
    const answer = await fetch("replay", changes ? { method: "PATCH", body: JSON.stringify(changes) } : {});
    if (answer.ok) return await answer.json();
    const { error } = await answer.json();
    if (changes) document.getElementById("timebar").title = error;
  } catch {
    // The server is away; the connection's status says so.
  }
  return null;
}

export function clockText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${parts.join(":")}` : parts.join(":");
}
