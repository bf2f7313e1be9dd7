"""The audit: reads the topics from outside, with independent code, and says which promises they break."""
