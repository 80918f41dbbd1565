"""Socket calls for compiled loops: thousands of sockets in each interval, without a Python call for each.

For Linux on 64 bits. Structures are those of its ABI: the same on x86-64 and arm64, except for epoll's events.
"""
