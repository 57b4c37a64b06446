"""The one-machine runtime: the local cloud and the lisa command."""
