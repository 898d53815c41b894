"""Benchmarks: one command for each published table, printing our figures beside theirs."""
