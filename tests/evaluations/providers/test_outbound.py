"""Which addresses belong to the public internet."""

import pytest

from core.errors import Problem
from evaluations.providers.outbound import Destinations, is_public


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "127.0.0.1", "169.254.169.254", "168.63.129.16", "192.0.0.192", "192.0.0.9"),
        *("::1", "::7f00:1", "::a00:1", "::ffff:127.0.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
        *("fec0::1", "fe80::1%eth0", "2002:7f00:1::", "ff02::1"),
    ],
)
def test_what_leads_into_a_network_of_ours_is_not_public(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_what_is_public_may_be_called(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("https://name.openai.azure.com/openai/deployments/gpt-4o?api-version=2024-10-21", True),
        ("https://name.openai.azure.com/openai/v1?api-version=preview", True),
        ("https://host/v1?key=sk-1", False),
        ("https://host/v1?api-version=1&key=sk-1", False),
        ("https://host/v1?api-version=", False),
        ("https://host/v1#fragment", False),
    ],
)
def test_the_one_query_of_an_address_is_its_version(address: str, is_allowed: bool):
    if is_allowed:
        return Destinations([]).require(address)
    with pytest.raises(Problem):
        Destinations([]).require(address)
    return None
