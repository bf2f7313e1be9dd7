"""The boundary: bytes ↔ values, nothing else. No I/O, no clock, no client library.

``inbound`` reads what producers send, ``outbound`` writes and reads our own topics, ``deadletters`` keeps what could
not be read, ``log`` is the recorded log on disk, ``schemas`` describes all of it to others.
"""
