"""PostgreSQL with pgvector from a Python wheel, on loopback TCP, as a child process.

`account` decides as whom and from where it runs, `cluster` makes the data folder, `server` runs the server.
"""
