"""StepPlan: how a step is computed.  `step/` decides it, the estimate prices it, the job obeys it.

What the job's model or machine makes impossible is said in an event under the field's name (`events.Disobeyed`), and
what was done in the end in `events.StepsReady`.
"""

from typing import Literal

from sftrun.contract.choices import Attention, Dtype
from sftrun.strict import Strict

Layout = Literal["padded", "padding_free", "packed"]
Packer = Literal["sftrun", "trl"]
Head = Literal["trl", "learnt", "frozen"]
Checkpointing = Literal["none", "transformers", "compiler", "offloaded"]
Sharding = Literal["one", "ddp", "fsdp"]
Place = Literal["job", "process", "container"]


class Precision(Strict):
    """Types of what a step computes with.

    `step`: of its activations, by autocast or because the weights have it.  `adapters`: of LoRA's weights.  `trained`:
    of those of the model's own weights that are trained: all of them, or `modules_to_save` and biases beside adapters.
    None: there are none.
    """

    step: Dtype
    adapters: Dtype | None = None
    trained: Dtype | None = None


class StepPlan(Strict):
    """The plainest step, unless said otherwise.

    `attention`: the kernel.  `has_varlen_kernel`: whether `varlen` has one of its own on that GPU; else a mask keeps
    rows apart.  `layout`: rows padded to a batch's longest, one after another, or in bins of `max_length` that
    `packed_by` makes.  `pad_to_multiple_of`: tokens of a batch are filled up to it.

    `fused_lora`: LoRA's products are fused with the frozen weights', or stay PEFT's, `unfused_because`.  `dequantized`:
    4-bit weights once for all steps, not for each product.  `compiled`: each decoder layer.  `checkpointing`: who
    computes activations again, or that the engine keeps layers' inputs in the machine's memory.  `cuda_graphs` replay
    steps.  `head`: logits and loss by TRL, of learnt tokens alone, or the same with a frozen head's logits made once.

    `sharding`: all on one GPU, a copy on each, or weights shared out; `keeps_fetched`: fetched layers stay whole until
    the backward pass.  `preparing`: where rows are tokenised: in the job, in a process or a container of their own.
    """

    attention: Attention = "sdpa"
    has_varlen_kernel: bool = False
    layout: Layout = "padded"
    packed_by: Packer | None = None
    pad_to_multiple_of: int | None = None
    fused_lora: bool = False
    unfused_because: str | None = None
    dequantized: bool = False
    compiled: bool = False
    liger: bool = False
    checkpointing: Checkpointing = "none"
    cuda_graphs: bool = False
    head: Head = "trl"
    sharding: Sharding = "one"
    keeps_fetched: bool = False
    precision: Precision
    preparing: Place = "job"
