"""Open-loop traffic over a fleet from several client processes."""
