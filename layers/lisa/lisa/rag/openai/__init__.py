"""OpenAI's files and vector stores, over the same documents and collections that `/api/repository` has."""
