"""The dense model server: thousands of small XGBoost models in one process.

It implements SageMaker's container contract and, because it ships in an image, imports only
`tierfleet_forest`.

The way of a request: `connection` (HTTP) -> `contract` (SageMaker's paths) -> `cost`, then at once or in turns of the
`scheduler` -> `prediction`, block by block: `payload` (a reader for each content type) -> `booster` -> `reply`. The way
of a model: `store` (admission, memory) -> `loading` -> `checker` -> `check_process`, a process for each file within
`load_limits`: `prepared`, `artefact` (directory), `model_file` (checks), `booster` (the trial) -> `loading`, `booster`.
"""

__version__ = "0.1.0"
