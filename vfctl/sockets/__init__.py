"""Socket calls for loops that are compiled: thousands of sockets a round, without a Python call for each.

Linux on 64 bits: the layouts are those of its ABI, the same on x86-64 and arm64 but for epoll's events.
"""
