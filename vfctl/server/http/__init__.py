"""HTTP: endpoints, the viewer's files, origins, the physics and replay API."""
