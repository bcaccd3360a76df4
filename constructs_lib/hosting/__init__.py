"""The endpoint of each hosting shape, with its alarms, its scaling and its graphs: one module each."""
