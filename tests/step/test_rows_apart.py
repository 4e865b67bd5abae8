"""Where rows would see each other in a model, a step's plan leaves them padded."""

from sftrun.contract.choices import Attention
from sftrun.contract.jobspec import ModelSpec, TrainerSpec
from sftrun.step import attention_kernel
from sftrun.step.given import Machine, Model, Settings
from tests import steps

GPU, CPU = Machine(has_gpu=True), Machine()
MIXING = Model(keeps_rows_apart=frozenset())
BY_MASK = Model(keeps_rows_apart=frozenset(("eager", "sdpa")))
MODEL = ModelSpec(name_or_path="x/y")


def trainer(*, packing: bool = False) -> TrainerSpec:
    return TrainerSpec(num_train_epochs=1, max_length=64, packing=packing, learning_rate=1e-4, bf16=True)


def chosen(model: Model, machine: Machine, *, packing: bool = False) -> Attention:
    return attention_kernel.choose(Settings(MODEL, trainer(packing=packing)), model, machine).name


def test_rows_that_see_each_other_are_padded_on_a_gpu() -> None:
    assert chosen(Model(), GPU) == "varlen"
    assert chosen(MIXING, GPU) == "sdpa"
    assert steps.plan(MODEL, trainer(), shape=MIXING, attention="sdpa").layout == "padded"


def test_they_are_padded_under_a_kernel_that_was_asked_for_too() -> None:
    plans = [steps.plan(MODEL, trainer(), shape=shape, attention="varlen") for shape in (Model(), MIXING)]
    assert [plan.layout for plan in plans] == ["padding_free", "padded"]


def test_a_model_without_sdpa_is_computed_eagerly() -> None:
    assert chosen(MIXING._replace(has_sdpa=False), GPU) == "eager"
    assert chosen(MIXING._replace(has_sdpa=False), CPU) == "eager"


def test_packed_rows_get_a_mask_where_the_kernel_does_not_keep_them_apart() -> None:
    assert [chosen(BY_MASK, machine, packing=True) for machine in (GPU, CPU)] == ["sdpa", "sdpa"]
    eager = Model(keeps_rows_apart=frozenset(("eager",)))
    assert [chosen(eager, machine, packing=True) for machine in (GPU, CPU)] == ["eager", "eager"]
