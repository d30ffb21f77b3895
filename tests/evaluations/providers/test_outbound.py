"""Which addresses belong to the public internet."""

import pytest

from evaluations.providers.outbound import is_public


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
