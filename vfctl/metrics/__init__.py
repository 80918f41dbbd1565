"""Latency histograms: recorded in several processes, and merged."""

from vfctl.metrics.histogram import LatencyHistogram, Summary

__all__ = ["LatencyHistogram", "Summary"]
