"""What the access tests share: callers, forged tokens, and a harmless call for every rule of the policy."""
