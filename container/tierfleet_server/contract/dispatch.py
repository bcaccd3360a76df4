"""Which request does what, on a multi-model and on a dedicated endpoint."""

from ..metrics import Metrics
from ..model.refusal import Refusal
from ..request_memory import RequestMemory
from ..settings import Settings
from ..store import Store
from .invocations import DEDICATED_MODEL, Invocations
from .management import Management
from .messages import Answer, Request, failed, model_name, refused


class Contract:
    """Answers requests. While `draining`, the health check fails so that the platform sends no new ones."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, memory: RequestMemory) -> None:
        self._settings, self._store = settings, store
        self._invocations = Invocations(settings, store, metrics)
        self._management = Management(settings, store, metrics, memory, self._invocations)

    @property
    def draining(self) -> bool:
        return self._management.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self._management.draining = draining

    def answer(self, request: Request) -> Answer:
        """The reply, or a coroutine for it if that takes long. Never raises."""
        path = request.path
        try:
            if self._settings.multi_model:
                if path.endswith(b"/invoke") and path.startswith(b"/models/") and self._is_invocation(request):
                    return self._invocations.invoke(request, model_name(path[8:-7]))
            elif path == b"/invocations":
                return self._invocations.invoke(request, DEDICATED_MODEL)
            return self._management.answer(request)
        except Refusal as refusal:
            return refused(refusal, request)
        except Exception:
            return failed(request)

    def work_bytes(self, request: Request) -> int:
        """The most memory that a request needs besides its body, with its reply."""
        if not is_invocation(request) or request.method != b"POST":
            return 0
        name = model_name(request.path[8:-7]) if self._settings.multi_model else DEDICATED_MODEL
        return self._invocations.work_bytes(request, name)

    def _is_invocation(self, request: Request) -> bool:
        """Whether /models/.../invoke invokes a model rather than names a model that ends in `/invoke`.

        `/models/invoke` is the model `invoke`; GET and DELETE of `/models/x/invoke` are for a model of the name
        `x/invoke` if it exists. `/models/x%2Finvoke` is that model for every method.
        """
        if len(request.path) <= len(b"/models/invoke"):
            return False
        return request.method == b"POST" or model_name(request.path[8:]) not in self._store.models


def is_invocation(request: Request) -> bool:
    """Whether the answer can be dropped when the client has gone: true for predictions, false for loads."""
    return request.path == b"/invocations" or request.path.endswith(b"/invoke")


def memory_owner(path: bytes) -> bytes:
    """The owner of a request's memory: requests to one model share it; `b""` if there is nothing to share."""
    return path if path.endswith(b"/invoke") else b""
