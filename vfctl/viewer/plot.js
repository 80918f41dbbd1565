/** The plot of the last minute. */

const GRID = [0.5, 1];

/**
 * `series`: [{values: 60 numbers or null, colour, filled}], the first behind the others. `describe` writes a value with its unit.
 */
export function drawPlot(canvas, series, describe, { text, line, font }) {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const top = niceAbove(Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const [left, right, upper, lower] = [0, width, 14, height - 14];
  const x = (i) => left + ((right - left) * i) / 59;
  const y = (value) => lower - ((lower - upper) * value) / top;
  context.lineWidth = 1;
  context.strokeStyle = line;
  for (const share of [0, ...GRID]) {
    context.beginPath();
    context.moveTo(left, Math.round(y(share * top)) + 0.5);
    context.lineTo(right, Math.round(y(share * top)) + 0.5);
    context.stroke();
  }
  for (const { values, colour, filled } of series) {
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    for (const [start, end] of runs(values)) {
      context.beginPath();
      for (let i = start; i < end; i++) context.lineTo(x(i), y(values[i]));
      if (end - start === 1) context.lineTo(x(start) + 1, y(values[start]));
      context.stroke();
      if (!filled) continue;
      context.lineTo(x(end - 1), lower);
      context.lineTo(x(start), lower);
      context.globalAlpha = 0.16;
      context.fill();
      context.globalAlpha = 1;
    }
  }
  context.font = font;
  context.fillStyle = text;
  context.textBaseline = "alphabetic";
  context.fillText(describe(top), left, upper - 4);
  context.fillText("a minute ago", left, height - 2);
  context.textAlign = "right";
  context.fillText("now", right, height - 2);
}

/** Where there is something, from and to. */
function runs(values) {
  const found = [];
  let start = -1;
  values.forEach((value, i) => {
    if (value !== null && start < 0) start = i;
    if (value === null && start >= 0) {
      found.push([start, i]);
      start = -1;
    }
  });
  if (start >= 0) found.push([start, values.length]);
  return found;
}

/** 1, 2 or 5 times a power of ten. */
export function niceAbove(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}
