"""The dense model server beside its peer."""
