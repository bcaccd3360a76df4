"""Rules of the image, its environment and the probe it answers."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tierfleet import aws_limits, images
from tierfleet.config.container import Container, Probe
from tierfleet.config.problems import Problem
from tierfleet.instance_types import describe

if TYPE_CHECKING:
    # The tiers with several containers import this module.
    from tierfleet.config.hosting.tier import InstanceTier, RestOfFile

# The media types that each image reads without a script. Sources: encoder.py of sagemaker-xgboost-container,
# handler_service.py of sagemaker-scikit-learn-container, container/tierfleet_server/payloads/. RecordIO is binary,
# and a fleet file is text.
_XGBOOST_TYPES = ("text/csv", "text/libsvm", "text/x-libsvm")
_READS = {
    "sagemaker-xgboost": _XGBOOST_TYPES,
    "sagemaker-scikit-learn": ("text/csv", "application/json"),
    images.TIERFLEET_IMAGE: (*_XGBOOST_TYPES, "application/json"),
}
# Binary forms that they read from callers besides. Same sources.
_READS_FROM_CALLERS = {
    "sagemaker-xgboost": ("application/x-recordio-protobuf",),
    "sagemaker-scikit-learn": ("application/x-npy",),
    images.TIERFLEET_IMAGE: ("application/x-npy",),
}
# Sources: docs.aws.amazon.com/sagemaker/latest/dg/multi-container-direct.html and your-algorithms-inference-code.html
_OF_PORTS = ": it gives every container a port of its own"
_SET_BY_SAGEMAKER = {
    "SAGEMAKER_MULTI_MODEL": ", from the tier's hosting",
    "SAGEMAKER_BIND_TO_PORT": _OF_PORTS,
    "SAGEMAKER_SAFE_PORT_RANGE": _OF_PORTS,
}
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf'({_NAME}/{_NAME})([ \t]*;[ \t]*{_NAME}=({_NAME}|"[^"\\]*"))*')
_NUMBER_PATTERN = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|nan"
_NUMBER = re.compile(_NUMBER_PATTERN, re.IGNORECASE)
# Of libsvm; `qid` groups rows of a ranking.
_PAIR = re.compile(rf"([0-9]+|qid):({_NUMBER_PATTERN})", re.IGNORECASE)


def check_one_of_several(
    place: str, container: Container, tier_name: str, tier: "InstanceTier", rest: "RestOfFile"
) -> Iterator[Problem]:
    """Everything that a container must be, whichever endpoint it is on with others. place: its table."""
    problems = list(check_environment(container))
    if rest.region is not None:
        problems += check_image(container, rest.region, {tier_name: tier})
    if rest.network_isolation is not None:
        problems += check_isolation(container, rest.network_isolation)
    yield from (said_of(place, problem) for problem in problems)


def said_of(place: str, problem: Problem) -> Problem:
    """A problem of `[container]`, said of the container whose table is `place`; any other problem as it is."""
    table = problem.table
    if table == "container" or table.startswith("container."):
        table = f"{place}{table.removeprefix('container')}"
    return replace(problem, table=table)


def check_image(container: Container, region: str, tiers: Mapping[str, "InstanceTier"]) -> Iterator[Problem]:
    """The image exists in the region, for the processor of every tier."""
    image, version = container.image, container.version
    if image in images.STOCK_VERSIONS:
        yield from _stock_image(image, version, region, tiers)
        return
    if image != images.TIERFLEET_IMAGE:
        yield from _ecr_image(image, region)
    if version is not None and (image == images.TIERFLEET_IMAGE or images.is_ecr_uri(image)):
        message = "only a stock image has a version"
        yield Problem("container", "version", version, message, "remove it; a URI carries its own tag")


def _stock_image(
    image: str, version: str | None, region: str, tiers: Mapping[str, "InstanceTier"]
) -> Iterator[Problem]:
    allowed = images.STOCK_VERSIONS[image]
    if version not in allowed:
        message = f"{image} is published as {', '.join(allowed)}"
        yield Problem("container", "version", version, message, "choose one of these")
    if region not in images.publishing_accounts():
        message = f"no account is known to publish {image} in this region"
        fix = "use a full ECR URI as container.image, or a region of tierfleet/data/image_accounts.toml"
        yield Problem("", "region", region, message, fix)
    for name, tier in tiers.items():
        graviton = describe(tier.instance_type).graviton
        if graviton and version not in images.GRAVITON_VERSIONS[image]:
            message = f"{image} {version} is built for x86 only"
            fix = "use an x86 type such as ml.m5.xlarge"
            yield Problem(f"tiers.{name}", "instance_type", tier.instance_type, message, fix)


def _ecr_image(image: str, region: str) -> Iterator[Problem]:
    most = aws_limits.CONTAINER_IMAGE.most
    if len(image) > most:
        message = f"has {len(image)} characters; SageMaker allows {most}"
        yield Problem("container", "image", image, message, "shorten the repository's name or the tag")
    if not images.is_ecr_uri(image):
        choices = ", ".join((*images.STOCK_VERSIONS, images.TIERFLEET_IMAGE))
        message = f"must be {choices} or a full ECR URI with a tag or digest"
        yield Problem("container", "image", image, message, "choose one of these")
        return
    image_region, suffix = images.image_place(image)
    if image_region != region:
        message = f"is an image in {image_region}; SageMaker pulls images from its own region only, {region}"
        yield Problem("container", "image", image, message, f"copy it to a repository in {region}")
    elif suffix != images.dns_suffix(region):
        message = f"ECR's names in region {region} end with {images.dns_suffix(region)}"
        yield Problem("container", "image", image, message, f"write {images.dns_suffix(region)}")


def check_environment(container: Container) -> Iterator[Problem]:
    """Variables that SageMaker takes, and that the image reads."""
    environment, where = container.environment, "container.environment"
    entries = aws_limits.ENVIRONMENT_ENTRIES.most
    if len(environment) > entries:
        message = f"{len(environment)} entries; SageMaker allows at most {entries}"
        yield Problem("container", "environment", None, message, "remove some")
    for key, value in environment.items():
        if not re.fullmatch(aws_limits.ENVIRONMENT_KEY_PATTERN, key):
            message = "a variable name may hold letters, digits and _, and may not begin with a digit"
            yield Problem(where, key, value, message, "rename it")
        if max(len(key.encode()), len(value.encode())) > aws_limits.ENVIRONMENT_VALUE.most:
            yield Problem(where, key, value, "key and value may have at most 1,024 bytes each", "shorten it")
    if sum(len((key + value).encode()) for key, value in environment.items()) > aws_limits.ENVIRONMENT_BYTES.most:
        message = "all entries together may have at most 32 KiB"
        yield Problem("container", "environment", None, message, "put the data into the model artefact")
    for key, how in _SET_BY_SAGEMAKER.items():
        if key in environment:
            yield Problem(where, key, environment[key], f"SageMaker sets this itself{how}", "remove it")
    if ("SAGEMAKER_PROGRAM" in environment) != ("SAGEMAKER_SUBMIT_DIRECTORY" in environment):
        message = "script mode needs SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY together"
        yield Problem("container", "environment", None, message, "set both or neither")
    if container.image == "sagemaker-xgboost" and "SAGEMAKER_MODEL_SERVER_WORKERS" in environment:
        message = "the stock XGBoost image ignores it"
        fix = "use SAGEMAKER_NUM_MODEL_WORKERS"
        yield Problem(where, "SAGEMAKER_MODEL_SERVER_WORKERS", None, message, fix, severity="warning")


def check_isolation(container: Container, network_isolation: bool) -> Iterator[Problem]:
    """A container without a network cannot fetch its script from S3."""
    directory = container.environment.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if network_isolation and directory.startswith("s3://"):
        message = f"without a network the container cannot fetch SAGEMAKER_SUBMIT_DIRECTORY {directory}"
        fix = "put the script into the model artefact (/opt/ml/model/code), or set network_isolation = false"
        yield Problem("", "network_isolation", network_isolation, message, fix)


def check_probe(probe: Probe) -> Iterator[Problem]:
    """There is a row of its content type, and that is valid: SageMaker passes it to the container as an HTTP header."""
    yield from _check_media_type("probe", probe.content_type)
    if not probe.body.strip():
        yield Problem("probe", "body", probe.body, "is blank, and the probe is one valid row", "write the row")
    elif _media_type(probe.content_type) == "application/json" and not _is_json(probe.body):
        yield Problem("probe", "body", probe.body, "is not JSON", "write one row, such as [[0, 0, 0]]")


def check_content_type(place: str, content_type: str, container: Container) -> Iterator[Problem]:
    """What callers send to a container is a media type that its image reads. place: the container's table."""
    yield from _check_media_type(place, content_type)
    media_type, reads = _media_type(content_type), _reads(container)
    if reads is not None and media_type is not None:
        reads = (*reads, *_READS_FROM_CALLERS[container.image])
        if media_type not in reads:
            message = f"the image {container.image} reads {', '.join(reads)}"
            fix = "let callers send one of these, or use an image that reads it"
            yield Problem(place, "content_type", content_type, message, fix)


def _check_media_type(place: str, content_type: str) -> Iterator[Problem]:
    most = aws_limits.CONTENT_TYPE.most
    if not _MEDIA_TYPE.fullmatch(content_type) or len(content_type) > most:
        message = f"must be a media type of at most {most} characters, such as text/csv"
        yield Problem(place, "content_type", content_type, message, "write type/subtype")


def _media_type(content_type: str) -> str | None:
    """Without parameters, in small letters; None for no media type."""
    match = _MEDIA_TYPE.fullmatch(content_type)
    return match[1].lower() if match else None


def _reads(container: Container) -> tuple[str, ...] | None:
    """The media types the image reads as text; None: a custom image, or a script in a stock image, reads anything."""
    return None if "SAGEMAKER_PROGRAM" in container.environment else _READS.get(container.image)


def check_probe_against_image(probe: Probe, container: Container) -> Iterator[Problem]:
    """The image reads the probe."""
    media_type, reads = _media_type(probe.content_type), _reads(container)
    if reads is None or media_type is None:
        return
    if media_type not in reads:
        message = f"the image {container.image} reads {', '.join(reads)} as a probe"
        fix = "send the row in one of these, or use an image that reads it"
        yield Problem("probe", "content_type", probe.content_type, message, fix)
    elif media_type == "text/csv" and container.image == "sagemaker-xgboost" and not _holds_numbers(probe.body):
        message = "the stock XGBoost image reads numbers only, without a header"
        yield Problem("probe", "body", probe.body, message, "write one row of numbers, such as 0,0,0")
    elif media_type.endswith("libsvm") and not _is_libsvm(probe.body):
        message = "libsvm is a label, which may be left out, and pairs of index and number"
        yield Problem("probe", "body", probe.body, message, "write one row, such as 0 1:0.5 7:2")


def _is_libsvm(body: str) -> bool:
    for line in body.splitlines():
        words = line.split()
        pairs = words[1:] if words and _NUMBER.fullmatch(words[0]) else words
        if not all(_PAIR.fullmatch(pair) for pair in pairs):
            return False
    return True


def _is_json(body: str) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def _holds_numbers(body: str) -> bool:
    """Whether the stock image reads it: numbers, or empty cells for missing values, between delimiters."""
    return all(not cell or _NUMBER.fullmatch(cell) for cell in re.split(r"[,;|\s]", body))
