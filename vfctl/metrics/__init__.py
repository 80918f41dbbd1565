"""Measurements that processes take apart and put together again."""

from vfctl.metrics.histogram import LatencyHistogram, Summary

__all__ = ["LatencyHistogram", "Summary"]
