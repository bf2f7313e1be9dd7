"""The boundary: bytes ↔ values. No socket, no clock, no client library; of files, only the one with mappings is read.

``inbound`` reads what producers send, ``codec`` writes and reads our own topics, ``deadletters`` keeps what could not
be read, ``log`` is the format of a recorded log; ``catalogue`` and ``topics`` have a row for every message and topic.
"""
