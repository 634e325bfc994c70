"""The demonstration; see __main__."""
