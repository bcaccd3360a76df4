"""The dense model server: thousands of small XGBoost models in one process.

It speaks SageMaker's container contract and imports nothing of the rest of tierfleet: it ships in an image.

Follow a request: `connection` (HTTP) -> `contract` (SageMaker's paths) -> `cost`, and then at once or in turns of the
`scheduler` -> `prediction`, block by block: `payload` (and a reader a content type) -> `booster` -> `reply`.
Follow a model: `store` (admission, memory) -> `loading` -> `checker` -> `check_process`, a process for each file within
`load_limits`: `prepared`, `artefact` (directory), `model_file` (checks), `booster` (the trial) -> `loading`, `booster`.
"""

__version__ = "0.1.0"
