"""Asynchronous endpoints: their queues, and the objects and notifications of their results."""
