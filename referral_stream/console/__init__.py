"""The console: what an operator and a growth team look at, over HTTP. It reads read models alone; whatever it changes,
it changes by an event.
"""
