/** Panels that open and close, and choices of one among several. */

const NARROW = matchMedia("(max-width: 760px)");

/** Buttons with `aria-controls`: on a narrow screen all are closed at first, and only one is open at a time. */
export function startPanels(onChange) {
  const buttons = [...document.querySelectorAll("button[aria-controls]")];
  const set = (button, open) => {
    button.setAttribute("aria-expanded", open);
    document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
  };
  const arrange = () => {
    for (const button of buttons) set(button, !NARROW.matches && button.dataset.open !== "never");
    onChange();
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      if (open && NARROW.matches) buttons.forEach((other) => set(other, false));
      set(button, open);
      onChange();
    });
  }
  NARROW.addEventListener("change", arrange);
  arrange();
  return {
    /** Close what covers the picture on a narrow screen. */
    makeRoom() {
      if (!NARROW.matches) return;
      buttons.forEach((button) => set(button, false));
      onChange();
    },
  };
}

export function isNarrow() {
  return NARROW.matches;
}

/** A group of radio buttons; returns what sets it. */
export function choice(name, value, onChange) {
  const radios = [...document.querySelectorAll(`input[name="${name}"]`)];
  for (const radio of radios) {
    radio.checked = radio.value === value;
    radio.addEventListener("change", () => radio.checked && onChange(radio.value));
  }
}

/** Leaves out of a choice what is not among `values`; all stay if there are none. */
export function offerOnly(name, values) {
  for (const radio of document.querySelectorAll(`input[name="${name}"]`)) {
    radio.closest("label").hidden = radio.disabled = values?.includes(radio.value) === false;
  }
}
