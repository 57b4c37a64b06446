"""The domain of LISA: what every function and container shares."""
