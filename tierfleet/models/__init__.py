"""The life of a tenant's models: packaged, then published under a key that is never written twice."""
