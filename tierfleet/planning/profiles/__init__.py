"""What a model server needs: memory and load times by the size of a model, and call times."""
