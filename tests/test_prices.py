"""What calls cost: list prices, prices of one's own, what providers say, and what nobody knows."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callerid.prices import Prices, Sale
from callerid.settings.checked import BadSetting
from callerid.settings.load import load
from callerid.turn import Usage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
SONNET = Sale("anthropic", "api.anthropic.com", "/v1/messages", ("claude-sonnet-4-5",))
MINI = Sale("openai", "api.openai.com", "/v1/chat/completions", ("gpt-4o-mini",))


@pytest.fixture
def prices() -> Prices:
    return Prices(load().prices)


def own(tmp_path: Path, text: str) -> Prices:
    """Prices by a table of a user's own."""
    rest = "\nhour: {times_input: 2, source: here}\nclosed: {models: [], source: here}\n"
    (tmp_path / "prices.yaml").write_text(text + rest)
    (tmp_path / "settings.yaml").write_text("tables: {prices: prices.yaml}\n")
    return Prices(load(str(tmp_path / "settings.yaml")).prices)


def test_what_the_cache_took_and_gave_has_prices_of_its_own(prices: Prices) -> None:
    # 3 $ in, 15 $ out, 0.30 $ read, 3.75 $ written, 6 $ written for an hour, each a million.
    usage = Usage(
        input_tokens=1000, output_tokens=200, cache_read_input_tokens=10_000,
        cache_creation_input_tokens=3000, cache_creation_1h_input_tokens=1000, cache_is_apart=True,
    )  # fmt: skip
    cents = 0.1 * 3 + 0.02 * 15 + 1.0 * 0.3 + 0.2 * 3.75 + 0.1 * 6
    assert prices.cost(SONNET, usage, NOW) == pytest.approx(cents / 100)


def test_cached_tokens_may_be_counted_inside_the_others(prices: Prices) -> None:
    usage = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=400)
    expected = (600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6
    assert prices.cost(MINI, usage, NOW) == pytest.approx(expected)


def test_thoughts_that_are_counted_apart_are_paid_as_output(prices: Prices) -> None:
    flash = Sale(
        "gcp.gemini", "generativelanguage.googleapis.com", "/v1beta", ("gemini-2.5-flash",)
    )
    said = Usage(input_tokens=0, output_tokens=100, reasoning_tokens=900, reasoning_is_apart=True)
    assert prices.cost(flash, said, NOW) == pytest.approx(1000 * 2.5 / 1e6)


def test_a_long_input_costs_more_where_the_list_says_so(prices: Prices) -> None:
    pro = Sale("gcp.gemini", "generativelanguage.googleapis.com", "/v1beta", ("gemini-2.5-pro",))
    short = prices.cost(pro, Usage(input_tokens=200_000, output_tokens=0), NOW)
    long = prices.cost(pro, Usage(input_tokens=200_001, output_tokens=0), NOW)
    assert short == pytest.approx(200_000 * 1.25 / 1e6)
    assert long == pytest.approx(200_001 * 2.5 / 1e6)


@pytest.mark.parametrize(
    "sale",
    [
        SONNET._replace(models=("a-model-nobody-knows",)),
        Sale("opencode", "opencode.ai", "/zen/v1/messages", ("claude-sonnet-4-5",)),
        Sale("", "10.0.0.7", "/v1/chat/completions", ("llama-3.3-70b",)),
        SONNET._replace(models=()),
        Sale("", "localhost", "/api/chat", ("deepseek-r1:14b",)),
        Sale("", "10.0.0.7", "/v1/chat/completions", ("gpt-oss-120b",)),
    ],
)
def test_a_price_that_nobody_knows_stays_unknown(prices: Prices, sale: Sale) -> None:
    assert prices.cost(sale, Usage(input_tokens=5, output_tokens=5), NOW) is None


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=3), Usage(output_tokens=3)])
def test_tokens_that_were_not_counted_cost_nobody_knows_what(prices: Prices, usage: Usage) -> None:
    assert prices.cost(SONNET, usage, NOW) is None


def test_a_gateway_is_paid_what_the_maker_of_the_model_takes(prices: Prices) -> None:
    gateway = Sale("", "litellm.example.com", "/v1/messages", ("team-alias", "claude-sonnet-4-5"))
    assert prices.cost(gateway, Usage(100_000, 0), NOW) == pytest.approx(0.3)


def test_what_a_provider_says_it_took_is_what_it_cost(prices: Prices) -> None:
    sale = Sale("openrouter", "openrouter.ai", "/api/v1/chat/completions", ("openai/gpt-4o-mini",))
    said = Usage(1000, 100, raw=b'{"prompt_tokens": 1000, "cost": 0.00014}')
    unsaid = Usage(1000, 100, raw=b'{"prompt_tokens": 1000, "cost": "much"}')
    assert prices.cost(sale, said, NOW) == 0.00014
    assert prices.cost(sale, unsaid, NOW) == pytest.approx((1000 * 0.15 + 100 * 0.6) / 1e6)


def test_a_table_of_ones_own_goes_before_the_lists(tmp_path: Path) -> None:
    prices = own(
        tmp_path,
        "models: [{model: 'claude-*', hosts: ['*.anthropic.com'], input: 1, output: 2,"
        " cache_read: 0.5, call: 0.01, source: our contract}]",
    )
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cache_read_input_tokens=500_000)
    assert prices.cost(SONNET, usage, NOW) == pytest.approx(0.01 + 0.5 + 0.25)
    assert prices.cost(SONNET._replace(host="other.example.com"), usage, NOW) != 0.76


def test_a_mistake_in_the_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"models\[0\].input = -1, but it is US dollars"):
        own(tmp_path, "models: [{model: m, input: -1, output: 2, source: here}]")


def test_every_list_price_is_reckoned_as_its_library_does(prices: Prices) -> None:
    """The library takes 30 to 130 µs a call, and so its prices are read once and reckoned here."""
    from genai_prices import Usage as Tokens
    from genai_prices import calc_price
    from genai_prices.data_snapshot import get_snapshot

    usage = Usage(300_000, 4000, 50_000, 20_000)
    tokens = Tokens(
        input_tokens=300_000,
        output_tokens=4000,
        cache_read_tokens=50_000,
        cache_write_tokens=20_000,
    )
    names = {"anthropic", "openai", "google", "mistral", "deepseek", "groq", "aws", "x-ai"}
    time, compared = datetime.fromtimestamp(NOW, UTC), 0
    for provider in get_snapshot().providers:
        for model in provider.models if provider.id in names else ():
            try:
                found = calc_price(
                    tokens, model.id, provider_id=provider.id, genai_request_timestamp=time
                )
            except LookupError:
                continue  # its name alone does not find it
            sale = Sale(provider.id, "unknown.example", "/", (model.id,))
            assert prices.cost(sale, usage, NOW) == pytest.approx(float(found.total_price)), (
                model.id
            )
            compared += 1
    assert compared > 150


def test_the_lists_are_loaded_when_the_first_price_is_wanted() -> None:
    script = (
        "import sys; import callerid.proxy.addon, callerid.commands.cli;"
        "assert 'genai_prices' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
