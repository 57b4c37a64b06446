"""OpenSearch on loopback, assembled from the artifacts that its project publishes to Maven Central.

`programs` fetches, checks and lays them out, once for this user; `node` runs the server.
"""
