"""The gates of a deployment: after each new endpoint, and before the routes change for tenants that move."""
