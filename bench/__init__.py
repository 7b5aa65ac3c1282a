"""Benchmarks: each prints a table; none gates a build by time."""
