"""A record in, canonical events out.

``adapt`` recognises its shape, ``envelope`` reads CloudEvents, ``attributes`` has the rules for every event.
"""
