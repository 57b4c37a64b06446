"""A container engine whose containers are processes of this machine.

It speaks the part of Docker's Engine API that the emulator's ECS uses, on a Unix socket, and maps image names
to commands. `container` is one process, `store` all of them, `api` the HTTP side, `logs` Docker's log stream.
"""
