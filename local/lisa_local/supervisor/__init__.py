"""The daemon that starts the components of a local cloud, restarts what dies, and stops them in order."""
