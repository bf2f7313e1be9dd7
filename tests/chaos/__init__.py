"""The chaos soak: the whole pipeline under load and under random faults, judged from outside by what it leaves behind.

`python -m tests.chaos --seconds 1200 --seed 7` (or `make soak`) runs it and prints one table; a short one is a test.
`soak.run` says what is done, `verdict.Judge` what is compared with what, and why that is sound.
"""
