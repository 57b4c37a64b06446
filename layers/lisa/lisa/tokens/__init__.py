"""API tokens: long-lived keys that people and programs use in place of a sign-in."""
