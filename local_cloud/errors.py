"""An error of an emulated AWS service, as its API answers it."""


class ServiceError(Exception):
    def __init__(self, code: str, message: str, *, status: int = 400, **fields: object) -> None:
        super().__init__(f"{message} (Error Code: {code})")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields
