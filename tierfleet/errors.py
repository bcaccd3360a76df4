"""What is raised when input cannot be used."""


class InputError(ValueError):
    """A file, a table or an option that cannot be used. The message says what, where and what to do."""
