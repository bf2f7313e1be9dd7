"""The boundary: bytes ↔ values. No socket, no clock, no client library; only a mapping file is opened here.

``inbound`` reads what producers send, ``codec`` writes and reads our own topics, ``applying`` applies one of their
records to a state, ``state`` is what the tables hold, ``deadletters`` keeps what could not be used, ``log`` is the
recorded log on disk; ``catalogue`` and ``topics`` have a row for every message and topic.
"""
