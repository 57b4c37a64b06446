"""Stores of chunks and their vectors: what all of them promise, and the ones there are."""
