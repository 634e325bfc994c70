"""Promises, each kept or broken by a real store."""
