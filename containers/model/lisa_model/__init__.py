"""The model server's entrypoint: weights from S3, then an engine."""
