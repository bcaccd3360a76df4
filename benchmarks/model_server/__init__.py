"""The dense model server compared with its peer."""
