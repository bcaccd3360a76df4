"""The gates of a deployment: behind each shared endpoint, and before the routes for tenants that move."""
