"""AWS's price list files: public, without an account, one for each service and region.

Their address is `/offers/v1.0/aws/SERVICE/current/region_index.json` on `HOST`, which names each region's file. A file
lists `products` by SKU, with their attributes, and `terms.OnDemand` by SKU, with the price of each quantity range.
Source: docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/price-changes.html and the pages below it.
"""

import hashlib
import http.client
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tierfleet.errors import InputError

HOST: Final = "https://pricing.us-east-1.amazonaws.com"
TIMEOUT_SECONDS: Final = 60
# SageMaker's is the largest that is read, about 4 MB a region; EC2's, 300 MB a region, is not.
LARGEST_FILE_BYTES: Final = 64 * 2**20

# The bytes at an address. Raises InputError.
Fetch = Callable[[str], bytes]


@dataclass(frozen=True)
class Product:
    """One SKU of a file."""

    sku: str
    attributes: Mapping[str, str]
    usd: float
    """Of the first quantity range that costs something: free ranges belong to an account, not to a fleet."""
    through: float | None
    """The end of that range; None: it has no end."""


@dataclass(frozen=True)
class OfferFile:
    """What one service costs in one region."""

    service: str
    region: str
    url: str
    sha256: str
    version: str
    products: tuple[Product, ...]


def download(url: str) -> bytes:
    """The bytes at `url`. Raises InputError where they cannot be had whole."""
    try:
        # Every address begins with HOST.
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            content: bytes = answer.read(LARGEST_FILE_BYTES + 1)
            missing = answer.length
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise InputError(f"{url} cannot be downloaded: {reason}; try again, or from another network") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise InputError(f"{url} is larger than {LARGEST_FILE_BYTES:,} bytes, which no price list file is")
    if missing:
        raise InputError(f"{url} ended {missing:,} bytes early; try again")
    return content


def region_addresses(fetch: Fetch, service: str) -> dict[str, str]:
    """The address of each region's file of `service`. Raises InputError."""
    url = f"{HOST}/offers/v1.0/aws/{service}/current/region_index.json"
    regions = _object(_parsed(fetch(url), url), "regions", url)
    addresses = {}
    for region, entry in regions.items():
        path = entry.get("currentVersionUrl") if isinstance(entry, Mapping) else None
        if not isinstance(path, str) or not path.startswith("/offers/"):
            raise InputError(f"{url}: regions.{region}.currentVersionUrl is {path!r}; expected a path below /offers/")
        addresses[region] = HOST + path
    return addresses


def read_offer_file(fetch: Fetch, service: str, region: str, url: str) -> OfferFile:
    """The products that cost something on demand. Raises InputError for a file that is not of the documented form."""
    content = fetch(url)
    document = _parsed(content, url)
    if document.get("offerCode") != service:
        raise InputError(f"{url}: offerCode is {document.get('offerCode')!r}; expected {service}")
    products = _object(document, "products", url)
    terms = _object(_object(document, "terms", url), "OnDemand", url)
    try:
        read = tuple(_products(products, terms, region))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{url} is not a price list file: {type(error).__name__} {error}") from error
    version = str(document.get("version", "unknown"))
    return OfferFile(service, region, url, hashlib.sha256(content).hexdigest(), version, read)


def _products(products: Mapping[str, Any], terms: Mapping[str, Any], region: str) -> Iterator[Product]:
    for sku, product in products.items():
        attributes = product["attributes"]
        if attributes.get("regionCode", region) != region or sku not in terms:
            continue
        ranges = [
            dimension
            for term in terms[sku].values()
            for dimension in term["priceDimensions"].values()
            if _amount(dimension["pricePerUnit"].get("USD", "0")) > 0
        ]
        if not ranges:
            continue
        first = min(ranges, key=lambda dimension: _amount(dimension.get("beginRange", "0")))
        end = first.get("endRange", "Inf")
        through = None if end == "Inf" else _amount(end)
        yield Product(sku, attributes, _amount(first["pricePerUnit"]["USD"]), through)


def _amount(text: str) -> float:
    number = float(text)
    if not (0 <= number < math.inf):
        raise ValueError(f"{text!r} is not an amount")
    return number


def _parsed(content: bytes, url: str) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{url} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InputError(f"{url} is a {type(document).__name__}, not an object; expected a price list file")
    return document


def _object(document: Mapping[str, Any], key: str, url: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise InputError(f"{url}: {key} is missing or not an object; expected a price list file")
    return value
