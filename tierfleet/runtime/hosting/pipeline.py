"""pipeline: the containers of one endpoint in order. Each reply is the next container's request."""

from typing import Final

from tierfleet.runtime.hosting.shape import HostingShape

# Between two stages. The request of the caller may have 6 MB, as everywhere.
# Source: docs.aws.amazon.com/sagemaker/latest/dg/inference-pipeline-troubleshoot.html
MAX_BYTES_BETWEEN_STAGES: Final = 5 * 1024 * 1024

# `shared=False`: a tenant has an endpoint of its own. Where a stage is a multi-model one, the tier's route names an
# endpoint, and then its tenants share it (`tierfleet.runtime.route_document.Route.shared`).
PIPELINE: Final = HostingShape(
    hosting="pipeline",
    name_word="pipeline",
    shared=False,
    always_in_memory=True,
    # The default tier's models have neither the pre-processing nor the decision.
    falls_back=False,
)
