"""Models: their definition, life and routes."""
