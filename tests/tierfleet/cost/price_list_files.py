"""AWS's price list files as the tests serve them: the documented form with invented amounts, so that none is mistaken
for AWS's. Attribute names, usage types and the nesting of terms are those of the public AmazonSageMaker file."""

import json
from typing import Any

from tierfleet.cost.offer_files import HOST
from tierfleet.errors import InputError

VERSION = "20270228000313"
PREFIX = {"eu-west-1": "EU-", "us-east-1": "USE1-", "eu-north-1": "EUN1-"}
# The usage types that a bill needs in addition to instances: service, family, usage type, ranges as (begin, end, USD).
UNITS: list[tuple[str, str, str, list[tuple[str, str, str]]]] = [
    ("AmazonSageMaker", "Storage", "Host:VolumeUsage.gp2", [("0", "Inf", "0.5")]),
    ("AmazonS3", "Storage", "TimedStorage-INT-FA-ByteHrs", [("0", "Inf", "9")]),
    ("AmazonS3", "Storage", "TimedStorage-ByteHrs", [("51200", "512000", "0.2"), ("0", "51200", "0.3")]),
    ("AmazonS3", "API Request", "Requests-Tier1", [("0", "Inf", "0.0000050000")]),
    ("AmazonS3", "API Request", "Requests-Tier2", [("0", "Inf", "4e-7")]),
    ("AmazonCloudWatch", "Alarm", "CW:AlarmMonitorUsage", [("0", "Inf", "0.1")]),
    ("AmazonCloudWatch", "Alarm", "CW:CompositeAlarmMonitorUsage", [("0", "Inf", "0.5")]),
    ("AmazonCloudWatch", "Metric", "CW:MetricMonitorUsage", [("0", "10", "0"), ("10", "10000", "0.4")]),
    ("AmazonCloudWatch", "Data Payload", "DataProcessing-Bytes", [("0", "Inf", "0.6")]),
    ("AWSLambda", "Serverless", "Request-ARM", [("0", "Inf", "0.0000002")]),
    ("AWSLambda", "Serverless", "Lambda-GB-Second-ARM", [("0", "7500000000", "0.0000133334")]),
    *(
        ("AmazonSageMaker", "ML Serverless", f"ServerlessInf:Mem-{gigabytes}GB", [("0", "Inf", f"{gigabytes}e-5")])
        for gigabytes in range(1, 7)
    ),
]
HOSTING = {"ml.m5.large": "7.1000000000", "ml.r5.large": "7.2000000000"}


def product(
    document: dict[str, Any], region: str, usage_type: str, ranges: list[tuple[str, str, str]], **more: str
) -> None:
    """Adds a SKU with its on-demand term to a document."""
    sku = f"SKU{len(document['products']):013d}"
    document["products"][sku] = {
        "sku": sku,
        "productFamily": more.pop("family", "ML Instance"),
        "attributes": {
            "servicecode": document["offerCode"],
            "location": "somewhere",
            "locationType": "AWS Region",
            "usagetype": usage_type,
            "operation": "RunInstance",
            "regionCode": region,
            **more,
        },
    }
    document["terms"]["OnDemand"][sku] = {
        f"{sku}.JRTCKXETXF": {
            "offerTermCode": "JRTCKXETXF",
            "sku": sku,
            "effectiveDate": "2027-02-01T00:00:00Z",
            "priceDimensions": {
                f"{sku}.JRTCKXETXF.{number}": {
                    "rateCode": f"{sku}.JRTCKXETXF.{number}",
                    "description": f"${usd} per {usage_type}",
                    "beginRange": begin,
                    "endRange": end,
                    "unit": "Hrs",
                    "pricePerUnit": {"USD": usd},
                    "appliesTo": [],
                }
                for number, (begin, end, usd) in enumerate(ranges)
            },
            "termAttributes": {},
        }
    }


def document(service: str, region: str, hosting: dict[str, str]) -> dict[str, Any]:
    """One service's file of one region."""
    made: dict[str, Any] = {
        "formatVersion": "v1.0",
        "disclaimer": "This pricing list is for informational purposes only.",
        "offerCode": service,
        "version": VERSION,
        "publicationDate": "2027-02-28T00:03:13Z",
        "products": {},
        "terms": {"OnDemand": {}},
        "attributesList": {},
    }
    prefix = PREFIX[region]
    for of_service, family, usage_type, ranges in UNITS:
        if of_service == service:
            product(made, region, prefix + usage_type, ranges, family=family)
    if service == "AmazonSageMaker":
        for name, usd in hosting.items():
            forever = [("0", "Inf", usd)]
            more = {"instanceName": name, "component": "Hosting", "instanceType": f"{name}-Hosting"}
            product(made, region, f"{prefix}Host:{name}", forever, **more)
        # Not hosting, not ours, free, or of another region: none of them may become a price.
        nine = [("0", "Inf", "9")]
        product(made, region, f"{prefix}AsyncInf:ml.m5.large", nine, instanceName="ml.m5.large")
        product(made, region, f"{prefix}Host:ml.g5.xlarge", nine, instanceName="ml.g5.xlarge")
        product(made, region, f"{prefix}Host:ml.c5.large", [("0", "Inf", "0.0000000000")], instanceName="ml.c5.large")
        product(made, "us-east-1-bos-1", f"{prefix}Host:ml.m5.xlarge", nine, instanceName="ml.m5.xlarge")
        made["products"]["NOTERM"] = {"sku": "NOTERM", "productFamily": "ML Instance", "attributes": {}}
    return made


class OfferServer:
    """Addresses and what they hold; a value may be changed before it is fetched."""

    def __init__(self, *regions: str, hosting: dict[str, str] = HOSTING) -> None:
        self.files: dict[str, bytes] = {}
        self.fetched: list[str] = []
        for service in ("AmazonSageMaker", "AmazonS3", "AmazonCloudWatch", "AWSLambda"):
            index = {
                region: {"regionCode": region, "currentVersionUrl": self.path(service, region)} for region in regions
            }
            regions_index = {"formatVersion": "v1.0", "publicationDate": "2027-02-28T00:03:13Z", "regions": index}
            self.put(f"/offers/v1.0/aws/{service}/current/region_index.json", regions_index)
            for region in regions:
                self.put(self.path(service, region), document(service, region, hosting))

    @staticmethod
    def path(service: str, region: str) -> str:
        return f"/offers/v1.0/aws/{service}/{VERSION}/{region}/index.json"

    def put(self, path: str, content: object) -> None:
        self.files[HOST + path] = content if isinstance(content, bytes) else json.dumps(content).encode()

    def get(self, path: str) -> Any:
        return json.loads(self.files[HOST + path])

    def __call__(self, url: str) -> bytes:
        self.fetched.append(url)
        if url not in self.files:
            raise InputError(f"{url} cannot be downloaded: HTTP Error 404: Not Found")
        return self.files[url]
