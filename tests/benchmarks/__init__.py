"""What the benchmarks make of their figures."""
