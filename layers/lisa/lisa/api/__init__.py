"""What the functions behind the REST API have in common."""
