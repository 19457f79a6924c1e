"""Ports of this machine: what may lead back to them is refused, other machines pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import make
from callerid.proxy.ports import is_refused

REFUSED = frozenset({8080, 8081})
HERE = (
    "127.0.0.1",
    "127.8.9.10",
    "::1",
    "0:0:0:0:0:0:0:1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0.0.0.0",
    "::",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
)
MAYBE_HERE = (
    "localhost",
    "LOCALHOST.",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "rebound.example",
    "api.openai.com",
    "[::1]",
    "",
)
ELSEWHERE = ("10.0.0.5", "192.168.1.9", "93.184.216.34", "2001:db8::1", "::ffff:10.0.0.5")


@pytest.mark.parametrize("host", [*HERE, *MAYBE_HERE])
def test_a_refused_port_is_refused_wherever_it_may_lead_back(host: str) -> None:
    assert is_refused(host, 8080, REFUSED)
    assert is_refused(host, 8081, REFUSED)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_the_same_port_of_another_machine_passes(host: str) -> None:
    assert not is_refused(host, 8080, REFUSED)


@pytest.mark.parametrize("host", [*HERE, *MAYBE_HERE, *ELSEWHERE])
def test_other_ports_pass_everywhere(host: str) -> None:
    assert not is_refused(host, 443, REFUSED)
    assert not is_refused(host, 8080, ())


@make.QUICK
@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=6, network="fe80::/10"))
def test_no_spelling_of_this_machine_passes(address: object) -> None:
    assert is_refused(str(address), 8080, REFUSED)


@make.QUICK
@given(st.from_regex(r"[g-z][a-z0-9.-]{0,20}", fullmatch=True))
def test_a_name_may_lead_anywhere(name: str) -> None:
    assert is_refused(name, 8080, REFUSED)
