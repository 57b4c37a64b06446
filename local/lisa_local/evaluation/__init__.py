"""`lisa rag eval`: how well a collection is searched, measured through the product's own API."""
