"""Who did what: writes and sign-ins as events, kept in a table that administrators can ask."""
