"""Limits: who may use how much, what it costs, and how much of it has been used."""
