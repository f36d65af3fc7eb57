"""One small module for each server framework; each imports its framework only when used."""
