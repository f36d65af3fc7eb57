"""One small module for each client library, whose calls then follow a resolver."""
