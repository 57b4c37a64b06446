"""Retrieval at the gateway: its own key, files and vector stores, and the `file_search` tool."""
