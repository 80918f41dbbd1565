"""New recordings made of old ones, and whether one is whole."""
