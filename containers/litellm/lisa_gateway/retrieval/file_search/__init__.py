"""The tool `file_search`: passages are found before the model is asked, and its answer says which it used."""

from lisa_gateway.retrieval.file_search.tool import FileSearch, Searched, wants_search

__all__ = ["FileSearch", "Searched", "wants_search"]
