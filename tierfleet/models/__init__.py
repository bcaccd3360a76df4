"""The life of a tenant's models: validated, published, listed, taken back, removed, and the leftovers collected."""
