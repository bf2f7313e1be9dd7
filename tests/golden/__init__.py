"""The golden corpus: recorded logs with the outputs they must have, one folder per topic (see README.md)."""
