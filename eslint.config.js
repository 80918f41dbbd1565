import js from "@eslint/js";
import globals from "globals";

const WORKLET = "vfctl/viewer/voice-worklet.js";

export default [
  { ignores: ["**/node_modules/", ".venv/", "benchmarks/", "build/", "dist/"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "no-shadow": "error",
      "no-implicit-coercion": "error",
      "no-unused-expressions": "error",
      "no-use-before-define": ["error", { functions: false, classes: false }],
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  {
    files: ["vfctl/viewer/*.js"],
    ignores: [WORKLET],
    languageOptions: { globals: globals.browser },
    rules: {
      "no-restricted-syntax": [
        "error",
        { selector: "Program > VariableDeclaration[kind='let']", message: "A module has no state: put it into a class." },
        { selector: "Program > ExportNamedDeclaration > VariableDeclaration[kind='let']", message: "A module has no state: put it into a class." },
      ],
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML"].map((property) => ({ property, message: "Texts come from others: use textContent." })),
      ],
    },
  },
  { files: [WORKLET], languageOptions: { globals: globals.audioWorklet } },
  { files: ["tests/viewer/*.mjs"], languageOptions: { globals: { ...globals.es2025, atob: "readonly" } } },
];
