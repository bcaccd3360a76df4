"""A plan as text, as an HTML page and as charts."""
