"""The referee: reads the topics from outside, with code of its own, and says which promises they do not keep."""
