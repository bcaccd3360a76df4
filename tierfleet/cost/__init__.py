"""What a fleet costs a month at AWS's list prices, and what an edit changes in it. Needs neither NumPy nor DuckDB."""
