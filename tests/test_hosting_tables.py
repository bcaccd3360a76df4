"""Every hosting shape has its row in the table of each layer (docs/adr/0070)."""

from constructs_lib.fleet_dashboard import _TENANT_GRAPHS
from stacks.whale_stack import _ENDPOINTS
from tierfleet.config.hosting import TIERS
from tierfleet.config.hosting.tier import HostedTier
from tierfleet.config.hosting_guide import GUIDES
from tierfleet.config.published_metrics import PUBLISHED, PUBLISHED_OF_CONTAINERS
from tierfleet.cost.monthly_cost import TENANT_ENDPOINTS
from tierfleet.cost.resource_counts import ALARMS
from tierfleet.runtime.hosting import SHAPES

OWN = {word for word, shape in SHAPES.items() if not shape.shared}


def test_every_shape_has_a_row_in_the_tables_of_all_shapes() -> None:
    assert set(SHAPES) == set(TIERS) == set(ALARMS) == set(GUIDES)
    assert set(SHAPES) <= set(PUBLISHED)
    assert set(PUBLISHED_OF_CONTAINERS) <= set(PUBLISHED)


def test_every_shape_with_an_endpoint_for_each_tenant_has_a_row_in_their_tables() -> None:
    assert set(_ENDPOINTS) == set(_TENANT_GRAPHS) == set(TENANT_ENDPOINTS) == OWN


def test_every_tier_answers_what_the_other_layers_ask() -> None:
    for word, tier in TIERS.items():
        assert tier.model_fields["hosting"].annotation.__args__ == (word,)
        assert tier.capacity is not HostedTier.capacity
        if word in OWN:
            assert tier.stack_resources is not HostedTier.stack_resources


def test_the_words_in_endpoint_names_differ() -> None:
    assert len({shape.name_word for shape in SHAPES.values()}) == len(SHAPES)
