"""Asynchronous endpoints: the endpoint, its scaling, its rights, and the bucket and topics of its results."""
