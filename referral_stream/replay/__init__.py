"""Replay: the same core on a recorded log, under a virtual clock or exactly as it happened."""
