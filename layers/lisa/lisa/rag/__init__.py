"""Retrieval: repositories of documents, how they are taken in, and how they are searched."""
