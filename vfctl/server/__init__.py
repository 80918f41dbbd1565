"""The server: gateways, the process behind the bus, and how they are launched.

`vfctl.server.process.launch` starts one; `vfctl.server.options` says what there is to choose.
"""
