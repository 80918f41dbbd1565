/** Starts the viewer. */

import { App } from "./app.js";

new App().start();
