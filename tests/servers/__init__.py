"""s3writer inside of servers and of green threads: `python -m tests.servers`, or `make servers`."""
