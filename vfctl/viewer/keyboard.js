/** Keys: arrows orbit (with Shift they pan), + and − zoom, 0 fits, L labels, / searches, Esc clears. */

const TURN = 0.12;
const PAN_PX = 40;
const ZOOM = 0.85;

export function listenToKeys({ canvas, camera, stage, search, fit, labels, clear, look }) {
  const turns = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turn = turns[event.key];
    if (turn && event.shiftKey) camera.pan(-PAN_PX * turn[0], PAN_PX * turn[1], stage.height);
    else if (turn) camera.orbit(TURN * turn[0], TURN * turn[1]);
    else if (event.key === "+" || event.key === "=") camera.zoom(ZOOM);
    else if (event.key === "-" || event.key === "_") camera.zoom(1 / ZOOM);
    else if (event.key === "0" || event.key === "Home") fit();
    else if (event.key === "l" || event.key === "L") labels();
    else return;
    event.preventDefault();
    look();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement && event.target.type !== "range" && event.target.type !== "checkbox";
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Escape") {
      clear(typing ? event.target : null);
      canvas.focus({ preventScroll: true });
    }
  });
}
