"""The encoders to compare, behind one interface: each turns CF vectors [n, d] into query outputs [n, q, h].

`encoder.config.queries` and `.hidden` give q and h; `encode(vectors, users=False)` does it. Adapter and retrieval head
(`ilm.model.bridge`) are the same for all. A random Q-Former (the paper's ILM-rand) is a `QFormer` that was not
pretrained.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from torch import Tensor, nn
from torch.nn import functional as F

from ilm.model.builtin import resolve
from ilm.model.qformer import QFormer, QFormerConfig, VectorScales
from ilm.model.text_encoder import from_text_encoder

if TYPE_CHECKING:
    from ilm.params import ModelParams

WIDENING = 10
"""Width of CoLLM's hidden layer, in widths of a CF vector."""


@dataclass(frozen=True)
class MlpConfig:
    """Sizes of the two-layer mapping, decided by the width of the CF vectors."""

    cf_width: int

    @property
    def queries(self) -> int:
        """One token per vector, as in CoLLM."""
        return 1

    @property
    def hidden(self) -> int:
        """Width of the hidden layer."""
        return WIDENING * self.cf_width


class MlpEncoder(nn.Module):
    """CoLLM's mapping of CF vectors (arXiv 2310.19488): Linear, ReLU, Linear, one token per vector.

    The second linear layer is the bridge's adapter, which follows without anything between them; the retrieval head
    reads the hidden layer too.
    """

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = VectorScales()
        self.hidden = nn.Linear(config.cf_width, config.hidden)

    def encode(self, vectors: Tensor, users: bool = False) -> Tensor:
        """CF vectors [n, d] -> hidden layer [n, 1, 10 d]."""
        return F.relu(self.hidden(self.scales(vectors, users)))[:, None]


@dataclass(frozen=True)
class TextOnlyConfig:
    """Nothing to size: there are no queries."""

    queries: ClassVar[int] = 0
    hidden: ClassVar[int] = 0


class TextOnly(nn.Module):
    """No CF vectors at all: items stand in a prompt by their titles, users not at all."""

    def __init__(self, config: TextOnlyConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, vectors: Tensor, users: bool = False) -> Tensor:
        """CF vectors [n, d] -> no queries [n, 0, 0]."""
        return vectors.new_zeros(len(vectors), 0, 0)


Encoder: TypeAlias = QFormer | MlpEncoder | TextOnly


def start_encoder(params: "ModelParams", item_factors: Tensor, user_factors: Tensor) -> Encoder:
    """The encoder of `params.encoder` before any training, scaled to the CF vectors [n, d] and [m, d].

    What starts at random is drawn from torch's global generator. A Q-Former has its text branch.

    Raises:
        ArtifactError: the text encoder is not found or does not fit.
    """
    if params.encoder == "text":
        return TextOnly(TextOnlyConfig())
    cf_width = item_factors.shape[1]
    encoder: QFormer | MlpEncoder
    if params.encoder == "mlp":
        encoder = MlpEncoder(MlpConfig(cf_width))
    else:
        encoder = from_text_encoder(
            resolve(params.text_encoder),
            layers=params.layers,
            queries=params.queries,
            cf_width=cf_width,
            cf_tokens=params.cf_tokens,
            cross_attention_every=params.cross_attention_every,
        )
    encoder.scales.fit(item_factors, user_factors)
    return encoder


def describe(encoder: Encoder) -> dict[str, Any]:
    """Kind and sizes, for the card of a model: what `build_encoder` builds the same architecture from."""
    return {"kind": _KINDS[type(encoder)]} | asdict(encoder.config)


def build_encoder(description: dict[str, Any], text: bool = False) -> Encoder:
    """An encoder with the kind and sizes of `describe`, its weights still to be loaded.

    Args:
        description: kind and sizes.
        text: with the text branch of a Q-Former.

    Raises:
        TypeError: an unknown kind, or a size that is missing or too many.
    """
    sizes = dict(description)
    kind = sizes.pop("kind", None)
    if kind == "qformer":
        return QFormer(QFormerConfig(**sizes), text=text)
    if kind == "mlp":
        return MlpEncoder(MlpConfig(**sizes))
    if kind == "text":
        return TextOnly(TextOnlyConfig(**sizes))
    raise TypeError(f"'{kind}' is no kind of encoder ({', '.join(_KINDS.values())})")


def without_text(encoder: Encoder) -> Encoder:
    """The encoder as it stands before a language model: a Q-Former without its text branch, others as they are."""
    if not isinstance(encoder, QFormer):
        return encoder
    bare = QFormer(encoder.config, text=False)
    bare.load_state_dict(encoder.query_state(), strict=True)
    return bare


_KINDS: dict[type[nn.Module], str] = {QFormer: "qformer", MlpEncoder: "mlp", TextOnly: "text"}
