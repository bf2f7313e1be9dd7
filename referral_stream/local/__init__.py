"""The embedded default: a broker, a Redis and a sample world that need nothing but wheels from PyPI.

For the demo and for a first look. Nothing of it survives the process that started it.
"""
