"""Running load tests: one run, searches, repeats, A/B, noise, live metrics."""
