"""The route document: its construct, and the objects of a document that is too large for its template."""
