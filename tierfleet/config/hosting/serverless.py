"""hosting = "serverless": its table of the fleet file and its own rules.

A tenant who calls a few times a day needs no instance of its own. AWS starts a container for a call and stops it
afterwards, and the month costs only the seconds in which calls ran.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from tierfleet.aws_limits import LONGEST_CALL_SECONDS
from tierfleet.config.hosting.tier import HostedTier, RestOfFile
from tierfleet.config.problems import Problem
from tierfleet.config.section import SMALLEST_LIMIT, ErrorLimits, ModelKey, PinnedModel, TenantId, check_whole
from tierfleet.images import is_ecr_uri
from tierfleet.runtime.hosting.serverless import COLD_CALL_SECONDS

# Source: docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
REGIONS: Final = frozenset(
    {
        "us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-south-1", "ap-northeast-1",
        "ap-northeast-2", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ca-central-1", "eu-central-1",
        "eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "eu-south-1", "me-south-1", "sa-east-1",
    }
)  # fmt: skip
MOST_CONCURRENCY: Final = 200
# Of the nested stack of one tenant. A test compares it with the template.
STACK_RESOURCES: Final = 12

Concurrency = Annotated[int, Field(ge=1, le=MOST_CONCURRENCY)]


class ServerlessAlarmLimits(ErrorLimits):
    """Limits of a serverless endpoint."""

    max_model_latency_p99_milliseconds: Annotated[float, Field(ge=SMALLEST_LIMIT, le=1000 * LONGEST_CALL_SECONDS)]
    """ModelLatency p99 to hold. The start of a container is not part of it."""
    max_concurrency_utilization: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=1)] = 0.9
    """ServerlessConcurrentExecutionsUtilization: calls under way as a share of max_concurrency."""
    max_model_setup_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=COLD_CALL_SECONDS)] = 60
    """ModelSetupTime p99: how long it takes to start a container, model included."""
    max_overhead_latency_seconds: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=COLD_CALL_SECONDS)] = 120
    """Longest OverheadLatency, which contains the cold start."""


class ServerlessTenant(PinnedModel):
    """A tenant with a serverless endpoint of its own."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket. Changing it updates the
    endpoint, and the next callers meet a cold start. -> AWS::SageMaker::Model ModelDataUrl"""


class ServerlessTier(HostedTier):
    """One endpoint per tenant without instances: AWS starts containers for calls and stops them when none come."""

    hosting: Literal["serverless"]
    """`serverless`: an endpoint without instances for each tenant of the tier."""
    memory_size_in_mb: Annotated[Literal[1024, 2048, 3072, 4096, 5120, 6144], BeforeValidator(check_whole)]
    """Memory of one container, in steps of 1,024 MB; vCPUs grow with it.
    -> AWS::SageMaker::EndpointConfig ServerlessConfig.MemorySizeInMB"""
    max_concurrency: Concurrency
    """Calls of one endpoint under way at once; more are throttled. It counts against a quota of the account.
    -> ServerlessConfig.MaxConcurrency"""
    provisioned_concurrency: Concurrency | None = None
    """Containers of one endpoint that are kept warm, and paid for all the time; at most max_concurrency. ->
    ServerlessConfig.ProvisionedConcurrency"""
    tenants: Mapping[TenantId, ServerlessTenant] = {}
    """The tenants, one line each, as on a dedicated tier."""
    alarms: ServerlessAlarmLimits
    """When to call for a person."""

    @property
    def capacity(self) -> str:
        """The size of one endpoint, for `config show`."""
        warm = f", {self.provisioned_concurrency} kept warm" if self.provisioned_concurrency else ""
        return f"0 to {self.max_concurrency} containers of {self.memory_size_in_mb} MB{warm}"

    def stack_resources(self, _tenant: str, /) -> int:
        """The same for every tenant."""
        return STACK_RESOURCES

    def check(self, where: str, rest: RestOfFile, /) -> Iterator[Problem]:
        """What the rest of the file must not say where a tier is serverless, and that the concurrencies fit."""
        word, provisioned, most = self.hosting, self.provisioned_concurrency, self.max_concurrency
        if provisioned is not None and provisioned > most:
            message = f"is above max_concurrency = {most}"
            yield Problem(where, "provisioned_concurrency", provisioned, message, "lower it or raise max_concurrency")
        if rest.region is not None and rest.region not in REGIONS:
            message = f"SageMaker has no serverless endpoints in {rest.region}"
            fix = 'use hosting = "dedicated", or a region of docs/choosing.md'
            yield Problem(where, "hosting", word, message, fix)
        if rest.has_network:
            message = "a serverless endpoint cannot be in a VPC, and the fleet has [network]"
            fix = 'use hosting = "dedicated" for it, or put the tier into a fleet without [network]'
            yield Problem(where, "hosting", word, message, fix)
        if rest.network_isolation:
            message = "a serverless endpoint cannot be isolated from the network, and network_isolation is true here"
            fix = 'write network_isolation = false, or use hosting = "dedicated"'
            yield Problem(where, "hosting", word, message, fix)
        image, account = rest.image, rest.account
        if image is not None and account is not None and is_ecr_uri(image) and not image.startswith(f"{account}."):
            message = f"a serverless endpoint can only use images in ECR of its own account {account}, not {image}"
            fix = "copy the image to a repository of this account"
            yield Problem(where, "hosting", word, message, fix)
