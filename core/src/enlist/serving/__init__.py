"""A server's stay in its registry: its address, its readiness, its drain, its end."""
