"""The value types of a fleet file, and what every table of it has in common."""

from collections import Counter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tierfleet.aws_limits import (
    INTEGER,
    KMS_KEY_PATTERN,
    PRINCIPAL_PATTERN,
    SECURITY_GROUP_PATTERN,
    SUBNET_PATTERN,
)
from tierfleet.config.schedule import check_schedule, check_timezone
from tierfleet.images import check_region
from tierfleet.instance_types import check_instance_type
from tierfleet.runtime.names import WORD_PATTERN


def check_distinct(items: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted(item for item, count in Counter(items).items() if count > 1)
    if twice:
        more = f" and {len(twice) - 5} more" if len(twice) > 5 else ""
        raise ValueError(f"lists {', '.join(twice[:5])}{more} more than once; list each id once")
    return items


def check_whole(value: object) -> object:
    """For a number that is one of a few: 1.0 and true equal 1."""
    if type(value) is not int:
        raise ValueError("should be a whole number; write it without quotes and decimals")
    return value


MAX_WORD_CHARACTERS = 40
Word = Annotated[str, Field(pattern=rf"^{WORD_PATTERN}$", max_length=MAX_WORD_CHARACTERS)]
TenantId = Word
Schedule = Annotated[str, AfterValidator(check_schedule)]
TimeZone = Annotated[str, AfterValidator(check_timezone)]
InstanceTypeName = Annotated[str, AfterValidator(check_instance_type)]
Region = Annotated[str, AfterValidator(check_region)]
PrincipalArn = Annotated[str, Field(pattern=rf"^{PRINCIPAL_PATTERN}$")]
KmsKeyArn = Annotated[str, Field(pattern=rf"^{KMS_KEY_PATTERN}$")]
SubnetId = Annotated[str, Field(pattern=rf"^{SUBNET_PATTERN}$")]
SecurityGroupId = Annotated[str, Field(pattern=rf"^{SECURITY_GROUP_PATTERN}$")]
# With the longest bucket in front of it, ModelDataUrl has 1,024 characters.
ModelKey = Annotated[str, Field(pattern=rf"^{WORD_PATTERN}/[A-Za-z0-9][A-Za-z0-9._-]*\.tar\.gz$", max_length=948)]
Seconds = Annotated[int, Field(ge=0, le=3600)]
# CloudWatch's own least number above 0 is 8.5e-109; a limit below this one means nothing.
SMALLEST_LIMIT = 1e-6
# What AWS takes as an integer of 32 bits.
Count = Annotated[int, Field(ge=1, le=INTEGER)]


# What CloudWatch Logs allows. docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
LogRetentionDays = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
    BeforeValidator(check_whole),
]


class Section(BaseModel):
    """One table of a fleet file: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class PinnedModel(Section):
    """A tenant with an endpoint of its own, and the model that it runs."""

    model: ModelKey
    """The pinned artefact, `<tenant>/<version>.tar.gz` below `models/` in the model bucket."""


class ErrorLimits(Section):
    """Limits that every endpoint is watched for, whatever its hosting."""

    max_5xx_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=1)] = 0.01
    """Share of invocations that may fail with 5XX. On the stock image bad payloads count here too."""
    max_4xx_ratio: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=1)] = 0.05
    """Share of invocations that may be refused with 4XX."""
    max_memory_percent: Annotated[float, Field(ge=SMALLEST_LIMIT, lt=100)] = 95
    """MemoryUtilization. A full cache is normal."""
    min_requests: Count = 100
    """Requests in five minutes below which ratios are ignored."""
