"""Search in a collection: both arms of its store, one fused ranking, and what it was made of."""
