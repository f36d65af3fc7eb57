"""Keep a service registry in Redis or Valkey: ``registry="redis://127.0.0.1:6379"``."""
