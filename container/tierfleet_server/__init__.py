"""The dense model server: thousands of small XGBoost models in one process.

It speaks SageMaker's container contract and imports nothing of the rest of tierfleet: it ships in an image.

Follow a request: `connection` (HTTP) -> `contract` (SageMaker's paths) -> `payload` -> `booster` -> `reply`.
Follow a model: `store` (admission, memory) -> `loading` -> `checker`, a process of its own: `prepared`, `artefact`
(directory), `model_file` (checks) -> back to `loading` -> `booster`.
"""

__version__ = "0.1.0"
