"""Documents: where they lie, which version of them is searched, and the jobs that bring them in or remove them."""
