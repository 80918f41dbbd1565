"""The gateway: connections, fan-out to clients, voice, selections."""
