"""Recordings as they are made: MCAP or bare messages, one file or a rotated series."""
