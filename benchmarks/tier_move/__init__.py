"""No call is lost while tenants move."""
