"""Reports from the results of one run: a file a format, each a pure function from results to text."""
