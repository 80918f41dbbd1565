"""vfctl: serve, record, decode and load-test VisionFlow's binary WebSocket stream."""

__version__ = "0.1.0"
