"""Mappings: vendors read without code, from a file (docs/mapping.md)."""
