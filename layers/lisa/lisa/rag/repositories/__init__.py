"""Repositories and their collections: what people make, and the workflows that make it so."""
