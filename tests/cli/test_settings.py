"""sftrun.toml: what is wrong in it is said, as a cap that nobody reads does not hold."""

from decimal import Decimal
from pathlib import Path

import pytest

from sftrun.cli.examine import machine_usd_per_hour, own_prices
from sftrun.cli.money.costs import month_cap
from sftrun.errors import SftrunError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SFTRUN_PRICES", raising=False)


def test_what_stands_there_is_read() -> None:
    Path("sftrun.toml").write_text(
        '[prices]\nfile = "rates.toml"\n[budget]\nmonth_usd = 200.5\n[local]\nusd_per_hour = "1.20"\n'
    )
    assert (own_prices(), month_cap(), machine_usd_per_hour()) == (
        Path("rates.toml"),
        Decimal("200.5"),
        Decimal("1.20"),
    )


def test_a_file_of_prices_is_a_text() -> None:
    Path("sftrun.toml").write_text("[prices]\nfile = 5\n")
    with pytest.raises(SftrunError, match=r"`file` of sftrun\.toml is `5`, no text"):
        own_prices()


def test_without_the_file_nothing_is_set() -> None:
    assert (own_prices(), month_cap(), machine_usd_per_hour()) == (None, None, Decimal(0))


@pytest.mark.parametrize(
    ("text", "message", "help"),
    [
        (
            "[budget]\nmonth_used = 5\n",
            "sftrun.toml has `month_used`, which nothing reads",
            "did you mean `month_usd`?",
        ),
        (
            "[machine]\nusd_per_hour = 5\n",
            "`[machine]`, which nothing reads",
            "it knows `[prices]`, `[budget]`, `[local]`",
        ),
        ("budget = 5\n", "sftrun.toml has `budget`, which nothing reads", "did you mean `[budget]`?"),
        (
            '[budget]\nmonth_usd = "much"\n',
            "`month_usd` of sftrun.toml is `much`, no amount",
            'write for example "200.00"',
        ),
        ("[budget]\nmonth_usd = -1\n", "`month_usd` of sftrun.toml is `-1`, no amount", 'write for example "200.00"'),
        ("[budget\n", "`sftrun.toml` can't be read", "mend it"),
    ],
)
def test_what_is_wrong_is_one_message(text: str, message: str, help: str) -> None:
    Path("sftrun.toml").write_text(text)
    with pytest.raises(SftrunError) as caught:
        month_cap()
    assert message in caught.value.message
    assert help in (caught.value.help or "")
