"""The demo: one week of a small world, played on the embedded broker and Redis."""
