"""The decide hop on other engines: the same job, topics, core and codecs (`benchmarks.engines.job`) as our own.

Each is a program that is started with the settings of a deployment in its environment and runs until SIGTERM. Each
keeps the customers' states in a changelog topic and waits for the acknowledgement of what it says before it commits the
offset, unless its docstring says otherwise. None of them fences a former owner or writes state and commands together:
after a crash they repeat commands, and a worker that has lost its partitions may still write.
"""
