"""Terminal output: consoles, live displays, keys, and the graph that `vfctl watch` draws."""
