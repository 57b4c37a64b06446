"""The front door of the local cloud, and the balancer behind its load balancers' addresses.

`rules` and `targets` decide where a request goes, `health` which targets answer, `catalogue` reads both from
the emulator, `proxy` carries requests, `listeners` opens the load balancers' ports, `front` is the door.
"""
