"""Recordings as sources of frames: what is shown at which moment, and what clients sent."""
