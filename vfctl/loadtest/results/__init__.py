"""The results of a load test: the model, its file, comparisons."""
