"""HTTP/1.1: the listening socket, connections, requests from bytes."""
