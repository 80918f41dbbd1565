/** Light or dark, as the person's system has it; what WebGL has to know of the style sheet. */

const DARK = matchMedia("(prefers-color-scheme: dark)");

export const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function themeNow() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => {
    const [, hex] = style.getPropertyValue(name).trim().match(/^#([0-9a-f]{6})$/i);
    return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
  };
  return { dark: DARK.matches, background: rgb("--ground"), neutral: rgb("--edge"), haze: DARK.matches ? 0.62 : 0.68 };
}

export function onThemeChange(call) {
  DARK.addEventListener("change", call);
}
