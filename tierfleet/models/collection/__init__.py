"""Garbage collection: artefacts and pointers that nothing needs any more."""
