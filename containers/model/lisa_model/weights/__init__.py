"""A model's weights on the local disk, kept in step with S3 (`cache.py` has the layout and the rules)."""

from lisa_model.weights.cache import Choose, Snapshot, WeightsCache
from lisa_model.weights.objects import RemoteObject, S3Objects

__all__ = ["Choose", "RemoteObject", "S3Objects", "Snapshot", "WeightsCache"]
