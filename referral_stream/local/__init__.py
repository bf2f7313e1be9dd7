"""The embedded default: a broker, a Redis and a sample world that need nothing but wheels from PyPI.

For the demo and a first look. Nothing survives the process that started it.
"""
