"""Recordings: write them, read them back, export and replay them."""

from vfctl.capture.info import CaptureInfo, summarize
from vfctl.capture.message import CapturedMessage
from vfctl.capture.reader import Capture, open_capture
from vfctl.capture.recording.writer import CaptureWriter, open_writer

__all__ = [
    "Capture",
    "CaptureInfo",
    "CaptureWriter",
    "CapturedMessage",
    "open_capture",
    "open_writer",
    "summarize",
]
