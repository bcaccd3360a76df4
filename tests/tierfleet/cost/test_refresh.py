"""Refreshing prices from files of the form of AWS's price lists."""

import hashlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from local_cloud.testing.fleets import CONFIG
from tests.tierfleet.cost.price_list_files import VERSION, OfferServer
from tierfleet.cli import app
from tierfleet.cli.cost import prices_commands
from tierfleet.cost import offer_files
from tierfleet.cost.offer_files import HOST, download
from tierfleet.cost.price_file import write_prices
from tierfleet.cost.prices import load_prices
from tierfleet.cost.refresh import refresh
from tierfleet.errors import InputError

TODAY = date(2027, 3, 1)
IRELAND = "eu-west-1"
SAGEMAKER = OfferServer.path("AmazonSageMaker", IRELAND)


def test_a_refresh_replaces_what_aws_lists_and_keeps_the_rest() -> None:
    old, server = load_prices(), OfferServer(IRELAND)
    new = refresh(server, old, [IRELAND], TODAY)
    ireland = new.table.hosting[IRELAND]
    assert ireland["ml.m5.large"].usd == 7.1
    assert ireland["ml.m5.large"].sku
    assert ireland["ml.r5.large"].usd == 7.2
    # A price that AWS's file lacks stays, and is named.
    assert ireland.keys() == old.hosting[IRELAND].keys()
    assert ireland["ml.m5.xlarge"] == old.hosting[IRELAND]["ml.m5.xlarge"]
    assert set(new.kept) >= {f"{IRELAND} ml.m5.xlarge", f"{IRELAND} appconfig_request", f"{IRELAND} nat_gateway_hour"}
    assert new.absent == ()
    assert new.table.hosting["us-east-1"] == old.hosting["us-east-1"]
    assert IRELAND not in new.table.ec2.usd_per_vcpu_hour


def test_every_refreshed_price_names_its_file_and_checksum() -> None:
    server = OfferServer(IRELAND)
    new = refresh(server, load_prices(), [IRELAND], TODAY).table
    source = new.hosting[IRELAND]["ml.m5.large"].source
    assert source.aws_url == HOST + SAGEMAKER
    assert source.sha256 == hashlib.sha256(server.files[HOST + SAGEMAKER]).hexdigest()
    assert (source.as_of, VERSION in source.text) == (TODAY, True)
    assert not new.hosting[IRELAND]["ml.m5.large"].unchecked
    assert new.hosting[IRELAND]["ml.m5.xlarge"].source.aws_url is None


def test_the_first_range_that_costs_something_is_the_price() -> None:
    units = refresh(OfferServer(IRELAND), load_prices(), [IRELAND], TODAY).table.units[IRELAND]
    assert (units["s3_storage_gb_month"].usd, units["s3_storage_gb_month"].through) == (0.3, 51200)
    assert (units["cloudwatch_custom_metric_month"].usd, units["cloudwatch_custom_metric_month"].through) == (
        0.4,
        10000,
    )
    assert units["s3_put_request"].through is None


def test_the_report_says_what_changed_the_largest_change_first() -> None:
    new = refresh(OfferServer(IRELAND), load_prices(), [IRELAND], TODAY)
    ratios = [abs(change.ratio) for change in new.changed]
    assert ratios == sorted(ratios, reverse=True)
    large = next(change for change in new.changed if change.after.name == "ml.m5.large")
    assert (large.before.usd, large.after.usd) == (0.128, 7.1)
    assert large.ratio == pytest.approx(7.1 / 0.128 - 1)
    assert new.gone == ()
    again = refresh(OfferServer(IRELAND), new.table, [IRELAND], TODAY)
    assert (again.changed, again.added, again.gone) == ((), (), ())
    # The instance types and the units that the files have.
    assert again.same == 18


def test_a_region_that_the_table_has_not_is_added() -> None:
    new = refresh(OfferServer("eu-north-1"), load_prices(), ["eu-north-1"], TODAY)
    assert {"s3_get_request", "lambda_request"} <= {price.name for price in new.added}
    assert new.table.unit_price("lambda_request", "eu-north-1").usd == 0.0000002


def test_all_regions_means_the_regions_in_every_file() -> None:
    server = OfferServer(IRELAND, "us-east-1", "eu-north-1")
    index = "/offers/v1.0/aws/AWSLambda/current/region_index.json"
    server.put(index, {"regions": {name: one for name, one in server.get(index)["regions"].items() if name != IRELAND}})
    asked: list[str] = []
    new = refresh(server, load_prices(), None, TODAY, told=asked.append)
    assert asked == ["eu-north-1", "us-east-1"]
    assert {IRELAND, "cn-north-1", "sa-east-1"} <= set(new.absent)
    assert new.table.hosting[IRELAND] == load_prices().hosting[IRELAND]


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    new = refresh(OfferServer(IRELAND), load_prices(), [IRELAND], TODAY).table
    file = tmp_path / "prices.toml"
    file.write_text("old")
    write_prices(new, file)
    again = load_prices(file)
    assert again.hosting == new.hosting
    assert again.units == new.units
    assert [entry.name for entry in tmp_path.iterdir()] == ["prices.toml"]


def test_the_shipped_table_survives_writing(tmp_path: Path) -> None:
    write_prices(load_prices(), tmp_path / "prices.toml")
    again, shipped = load_prices(tmp_path / "prices.toml"), load_prices()
    assert (again.hosting, again.units, again.sources) == (shipped.hosting, shipped.units, shipped.sources)
    assert again.ec2 == shipped.ec2


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("old")

    def fails(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match=r"disk full"):
        write_prices(load_prices(), file)
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["prices.toml"]


def changed(content: Any, *path: str, value: object) -> Any:
    """The document with one value replaced; `*` is the first key."""
    at = content
    for key in path[:-1]:
        at = at[next(iter(at)) if key == "*" else key]
    last = next(iter(at)) if path[-1] == "*" else path[-1]
    at[last] = value
    return content


DIMENSION = ("terms", "OnDemand", "*", "*", "priceDimensions", "*")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((), b"", "is not JSON"),
        ((), b"<html>Access denied</html>", "is not JSON"),
        ((), b"\xff\xfe{", "is not JSON"),
        ((), b'{"offerCode": "AmazonSageMaker", "products": {', "is not JSON"),
        ((), b"[" * 100_000, "is not JSON"),
        ((), b"[]", "is a list, not an object"),
        (("offerCode",), "AmazonS3", "offerCode is 'AmazonS3'; expected AmazonSageMaker"),
        (("products",), [], "products is missing or not an object"),
        (("products", "*"), "m5", "is not a price list file"),
        (("products", "*", "attributes"), None, "is not a price list file"),
        (("terms",), {}, "OnDemand is missing"),
        (("terms", "OnDemand", "*"), [], "is not a price list file"),
        ((*DIMENSION, "pricePerUnit"), {"USD": "free"}, "is not a price list file: ValueError"),
        ((*DIMENSION, "pricePerUnit"), {"USD": "NaN"}, "is not an amount"),
        ((*DIMENSION, "pricePerUnit"), {"USD": "-1"}, "is not an amount"),
        ((*DIMENSION, "pricePerUnit"), {"USD": "1e999"}, "is not an amount"),
        ((*DIMENSION, "pricePerUnit"), {"CNY": "1"}, None),
        ((*DIMENSION, "beginRange"), "many", "is not a price list file"),
        ((*DIMENSION, "endRange"), None, "is not a price list file"),
        (("products",), {}, "has no hosting price of a type that tierfleet offers"),
    ],
)
def test_a_malformed_file_is_one_sentence_and_changes_nothing(path: Any, value: Any, words: str | None) -> None:
    server = OfferServer(IRELAND)
    server.put(SAGEMAKER, value if not path else changed(server.get(SAGEMAKER), *path, value=value))
    if words is None:
        assert refresh(server, load_prices(), [IRELAND], TODAY).table.hosting[IRELAND]
        return
    with pytest.raises(InputError) as error:
        refresh(server, load_prices(), [IRELAND], TODAY)
    assert words in str(error.value)
    assert HOST + SAGEMAKER in str(error.value)


def test_every_problem_of_every_file_is_named_at_once() -> None:
    server = OfferServer(IRELAND, "us-east-1")
    server.put(SAGEMAKER, b"")
    server.put(OfferServer.path("AWSLambda", "us-east-1"), b"{}")
    del server.files[f"{HOST}/offers/v1.0/aws/AmazonS3/current/region_index.json"]
    with pytest.raises(InputError) as error:
        refresh(server, load_prices(), [IRELAND, "us-east-1", "eu-west-9", "cn-north-1"], TODAY)
    lines = str(error.value).splitlines()
    assert sum("is not JSON" in line for line in lines) == 1
    assert sum("AWSLambda" in line and "offerCode is None" in line for line in lines) == 1
    assert sum("AmazonS3/current/region_index.json cannot be downloaded" in line for line in lines) == 1
    assert "AWS's price list of AmazonSageMaker has no region eu-west-9; is it a region's code?" in lines
    assert any(line.startswith("cn-north-1: China's prices are in yuan") for line in lines)


@pytest.mark.parametrize("entry", [None, {}, {"currentVersionUrl": 1}, {"currentVersionUrl": "https://elsewhere/x"}])
def test_an_index_that_leads_elsewhere_is_refused(entry: object) -> None:
    server = OfferServer(IRELAND)
    index = "/offers/v1.0/aws/AmazonS3/current/region_index.json"
    server.put(index, {"regions": {IRELAND: entry}})
    with pytest.raises(InputError, match=r"currentVersionUrl is .*; expected a path below /offers/"):
        refresh(server, load_prices(), [IRELAND], TODAY)


def test_two_prices_of_one_type_are_an_error() -> None:
    server = OfferServer(IRELAND)
    content = server.get(SAGEMAKER)
    twin = next(
        sku for sku, one in content["products"].items() if one["attributes"].get("usagetype") == "EU-Host:ml.r5.large"
    )
    content["products"][twin]["attributes"] |= {"usagetype": "EU-Host:ml.m5.large", "instanceName": "ml.m5.large"}
    server.put(SAGEMAKER, content)
    with pytest.raises(InputError, match=r"has two prices of ml\.m5\.large, \$7\.1 and \$7\.2"):
        refresh(server, load_prices(), [IRELAND], TODAY)


def test_the_command_writes_a_table_that_prices_a_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices_commands, "download", OfferServer(IRELAND))
    file = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, ["prices", "refresh", "--region", IRELAND, "--out", str(file)])
    assert result.exit_code == 0, result.output
    assert f"wrote {file}" in result.output
    assert "the largest change is" in result.output
    assert "eu-west-1 ml.m5.large: $7.1, on 2026-09-22 $0.128 (+5446.9 %)" in result.output
    assert "so unchanged: eu-west-1 appconfig_configuration_received" in result.output
    bill = CliRunner().invoke(app, ["cost", str(CONFIG / "fraud-prod.toml"), "--prices", str(file), "--verbose"])
    assert "x ml.m5.large at $7.1 an hour" in bill.output
    assert "AWS price list file AmazonSageMaker, eu-west-1, version" in bill.output
    shown = CliRunner().invoke(app, ["prices", "show", "--prices", str(file), "--region", IRELAND])
    assert f"({HOST}{SAGEMAKER}, sha256 " in shown.output


def test_a_refresh_that_fails_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = OfferServer(IRELAND)
    server.put(SAGEMAKER, b"{")
    monkeypatch.setattr(prices_commands, "download", server)
    file = tmp_path / "mine.toml"
    result = CliRunner().invoke(app, ["prices", "refresh", "--region", IRELAND, "--out", str(file)])
    assert (result.exit_code, file.exists()) == (2, False)
    assert "is not JSON" in result.output
    both = CliRunner().invoke(app, ["prices", "refresh", "--region", IRELAND, "--all-regions"])
    assert (both.exit_code, "exclude each other" in both.output) == (2, True)
    nowhere = CliRunner().invoke(app, ["prices", "refresh", "--out", str(tmp_path / "no" / "prices.toml")])
    assert (nowhere.exit_code, "there is no directory" in nowhere.output) == (2, True)


class _Files(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"0123456789" if self.path == "/whole" else b"0123")

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def host() -> Iterator[str]:
    with socketserver.TCPServer(("127.0.0.1", 0), _Files) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_file_is_downloaded_whole_or_not_at_all(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download(f"{host}/whole") == b"0123456789"
    with pytest.raises(InputError, match=r"/missing cannot be downloaded: .*Not Found"):
        download(f"{host}/missing")
    with pytest.raises(InputError, match=r"/short (ended 6 bytes early|cannot be downloaded)"):
        download(f"{host}/short")
    monkeypatch.setattr(offer_files, "LARGEST_FILE_BYTES", 5)
    with pytest.raises(InputError, match=r"larger than 5 bytes"):
        download(f"{host}/whole")
    with pytest.raises(InputError, match=r"cannot be downloaded"):
        download("http://127.0.0.1:1/refused")
