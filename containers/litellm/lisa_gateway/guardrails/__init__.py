"""Guardrails at the gateway: what is read, who reads it, and what callers get instead.

Everything here fails closed: what cannot be read, judged or reached is not let through.
"""

from lisa_gateway.guardrails.guard import Guard, Guards
from lisa_gateway.guardrails.held import Held

__all__ = ["Guard", "Guards", "Held"]
