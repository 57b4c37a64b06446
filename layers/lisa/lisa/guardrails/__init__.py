"""Guardrails: what a model may not be told or may not say. Definitions, and the detectors that need no service."""
