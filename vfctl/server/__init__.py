"""The server: gateways, their HTTP endpoints, and the processes.

`vfctl.server.process.launch` starts a server with `vfctl.server.options`.
"""
