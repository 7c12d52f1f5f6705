"""The figures of pymta alone: `make bench`, or python -m tests.bench.  Needs nothing but the venv.

Figures of one machine and one hour: a busy host or an ext4 with many deletions behind it halves the rates, so processor time per
message says more than messages per second, and ratios to another program measured in the same run say most.
"""
