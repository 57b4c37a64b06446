"""The steps of `lisa up`, one module each."""
