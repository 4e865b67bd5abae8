"""Questions about an invented Japanese census, in Alpaca form with the input 'Context: Japan Census data.'.

Every figure is invented, and they agree with each other: men and women add up to the population, households times
their size to it too, and a place has the same figures in every row.  The real data's lengths are imitated:
answers of one to many sentences, lognormal, about 180 tokens a row with its prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from random import Random

from tools.generators.task import Task
from tools.generators.words import listed

CONTEXT = "Context: Japan Census data."
YEARS = tuple(range(1920, 2021, 5))
MEDIAN_SENTENCES = 2.4
SPREAD = 0.75  # of the logarithm: most answers are short, a few run to a page
MOST_SENTENCES = 40

PREFECTURES = listed(
    "Hokkaido Aomori Iwate Miyagi Akita Yamagata Fukushima Ibaraki Tochigi Gunma Saitama Chiba Tokyo Kanagawa "
    "Niigata Toyama Ishikawa Fukui Yamanashi Nagano Gifu Shizuoka Aichi Mie Shiga Kyoto Osaka Hyogo Nara Wakayama "
    "Tottori Shimane Okayama Hiroshima Yamaguchi Tokushima Kagawa Ehime Kochi Fukuoka Saga Nagasaki Kumamoto Oita "
    "Miyazaki Kagoshima Okinawa"
)
_CITIES = listed(
    "Sapporo Sendai Yokohama Kawasaki Sagamihara Hamamatsu Nagoya Sakai Kobe Kitakyushu Hakodate Asahikawa Otaru "
    "Hachinohe Hirosaki Morioka Koriyama Iwaki Mito Tsukuba Utsunomiya Maebashi Takasaki Kawagoe Koshigaya "
    "Funabashi Kashiwa Hachioji Machida Fuchu Yokosuka Fujisawa Nagaoka Kanazawa Kofu Matsumoto Ogaki Numazu "
    "Toyota Okazaki Toyohashi Tsu Yokkaichi Otsu Uji Takatsuki Suita Himeji Nishinomiya Amagasaki Yonago Matsue "
    "Kurashiki Kure Fukuyama Shimonoseki Takamatsu Matsuyama Imabari Kurume Sasebo Beppu Miyakonojo Naha"
)
_MEASURES = (
    "population", "number of households", "number of men", "number of women", "number of children under 15",
    "number of people aged 65 and over", "average household size", "share of people aged 65 and over",
    "number of one-person households", "population density",
)  # fmt: skip
_PHRASINGS = (
    "What is the {measure} of {place} in {year}?",
    "How large was the {measure} of {place} in the census of {year}?",
    "According to the census of {year}, what is the {measure} for {place}?",
    "Tell me about the {measure} of {place} in {year}.",
)


@dataclass(frozen=True, slots=True)
class Count:
    """One place in one census."""

    men: int
    women: int
    children: int
    aged: int
    households: int
    alone: int
    square_kilometres: int

    @property
    def population(self) -> int:
        return self.men + self.women

    def figure(self, measure: str) -> str:
        """The measure as it is printed."""
        return {
            "population": f"{self.population:,}",
            "number of households": f"{self.households:,}",
            "number of men": f"{self.men:,}",
            "number of women": f"{self.women:,}",
            "number of children under 15": f"{self.children:,}",
            "number of people aged 65 and over": f"{self.aged:,}",
            "average household size": f"{self.population / self.households:.2f}",
            "share of people aged 65 and over": f"{100 * self.aged / self.population:.1f} %",
            "number of one-person households": f"{self.alone:,}",
            "population density": f"{self.population / self.square_kilometres:.1f} per square kilometre",
        }[measure]


PLACES = tuple(f"{name} Prefecture" if name not in ("Tokyo", "Hokkaido") else name for name in PREFECTURES) + tuple(
    f"{name} City" for name in _CITIES
)


def rows(count: int, seed: int) -> list[Task]:
    """`count` rows, no question twice.  Rows of two slices of the list have no question in common."""
    return list(islice(_stream(seed), count))


def question_rows(count: int, seed: int, after: int) -> list[Task]:
    """Rows that come `after` so many: what is expected is only what was asked for, and the kind is the question's."""
    found = islice(_stream(seed), after, after + count)
    return [replace(task, output=_asked_for(task), kind=_kind(task)) for task in found]


def _kind(task: Task) -> str:
    return "comparison" if task.instruction.startswith("Compare") else "figure"


def _asked_for(task: Task) -> str:
    """The first sentence, or the first two of a comparison; what follows in a row is about anything."""
    sentences = task.output.split(". In ")
    return ". In ".join(sentences[: 2 if _kind(task) == "comparison" else 1]).removesuffix(".") + "."


@cache
def count_of(place: str, year: int) -> Count:
    """The invented figures of a place in a year: a steady trend of its own, with a little noise."""
    trend = Random(f"{place}")
    size = trend.uniform(60_000, 900_000) if place.endswith("City") else trend.uniform(300_000, 2_500_000)
    growth, area = trend.uniform(-0.001, 0.008), trend.randint(80, 9_000)
    noise = Random(f"{place} {year}")
    decades = (year - YEARS[0]) / 10
    population = int(size * (1 + 10 * growth) ** decades * noise.uniform(0.98, 1.02))
    men = int(population * noise.uniform(0.48, 0.50))
    households = int(population / (5.0 - 0.27 * decades + noise.uniform(-0.1, 0.1)))
    return Count(
        men=men,
        women=population - men,
        children=int(population * (0.37 - 0.025 * decades + noise.uniform(-0.005, 0.005))),
        aged=int(population * (0.05 + 0.023 * decades + noise.uniform(-0.005, 0.005))),
        households=households,
        alone=int(households * (0.06 + 0.03 * decades)),
        square_kilometres=area,
    )


def _stream(seed: int) -> Iterator[Task]:
    rng = Random(seed)
    seen: set[str] = set()
    while True:
        question, answer = (_history if rng.random() < 0.5 else _comparison)(rng)
        if question not in seen:
            seen.add(question)
            yield Task(question, answer, CONTEXT)


def _history(rng: Random) -> tuple[str, str]:
    """One place and measure in a year, with as many further sentences on the place as the length asks for."""
    place, year, measure = rng.choice(PLACES), rng.choice(YEARS), rng.choice(_MEASURES)
    question = rng.choice(_PHRASINGS).format(measure=measure, place=place, year=year)
    sentences = [_sentence(place, year, measure)]
    sentences += [_sentence(place, rng.choice(YEARS), rng.choice(_MEASURES)) for _ in range(_further_sentences(rng))]
    return question, " ".join(dict.fromkeys(sentences))


def _comparison(rng: Random) -> tuple[str, str]:
    """Two places side by side, then others of the same census."""
    (first, second), year, measure = rng.sample(PLACES, 2), rng.choice(YEARS), rng.choice(_MEASURES)
    question = f"Compare the {measure} of {first} and {second} in the census of {year}."
    sentences = [_sentence(first, year, measure), _sentence(second, year, measure)]
    sentences += [_sentence(rng.choice(PLACES), year, measure) for _ in range(_further_sentences(rng))]
    return question, " ".join(dict.fromkeys(sentences))


def _further_sentences(rng: Random) -> int:
    return min(MOST_SENTENCES, int(MEDIAN_SENTENCES * rng.lognormvariate(0.0, SPREAD)))


@cache
def _sentence(place: str, year: int, measure: str) -> str:
    return f"In {year}, the {measure} of {place} stood at {count_of(place, year).figure(measure)}."
