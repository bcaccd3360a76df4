"""Bodies of requests as rows, and scores as bodies of replies."""
