"""The one kit that makes customers, days and years for tests and benchmarks. See README.md."""
