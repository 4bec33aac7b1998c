"""SASRec (arXiv 1808.09781): a causal transformer over the items of a history, whose output is matched with the items.

Items have one table of vectors for input and output. Attention is the library's, pre-norm. Sequences are padded
behind their end, where no item looks; positions are counted from the end, so that the latest item, from which the next
one is told, always has the same.

Shapes: b histories, t items of the longest one (at most `max_length`), n items of the catalogue, w width.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from ilm.baselines.histories import flat
from ilm.errors import ArtifactError, ConfigError
from ilm.files import read_json, write_json
from ilm.model.storage import CONFIG, HISTORY, WEIGHTS, load_weights


@dataclass(frozen=True)
class SasRecSizes:
    """What a SASRec is built from; the defaults are for logs such as MovieLens-1M."""

    width: int = 128
    """Of item vectors and hidden states."""
    layers: int = 2
    heads: int = 2
    max_length: int = 200
    """Items of a history that are read: the latest."""
    dropout: float = 0.2

    def __post_init__(self) -> None:
        """Raises ConfigError where no network has these sizes."""
        if min(self.width, self.layers, self.heads, self.max_length) < 1 or self.width % self.heads:
            raise ConfigError(f"sasrec: {self}: sizes must be positive, and the width a multiple of the heads.")
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"sasrec: dropout {self.dropout} is not in [0, 1).")


class SasRec(nn.Module):
    """The network, and with it a recommender."""

    def __init__(self, items: int, sizes: SasRecSizes) -> None:
        """Weights start at random; seed torch before."""
        super().__init__()
        self.sizes = sizes
        self.item_embedding = nn.Embedding(items, sizes.width)
        self.position_embedding = nn.Embedding(sizes.max_length, sizes.width)
        self.dropout = nn.Dropout(sizes.dropout)
        layer = nn.TransformerEncoderLayer(
            sizes.width, sizes.heads, 4 * sizes.width, sizes.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.transformer = nn.TransformerEncoder(
            layer, sizes.layers, nn.LayerNorm(sizes.width), enable_nested_tensor=False
        )
        for parameter in self.parameters():
            if parameter.ndim > 1:  # the layers, too: they were copies of one
                nn.init.normal_(parameter, std=0.02)

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states [b, t, w] behind each item, of it and those before it.

        Args:
            items: int64 [b, t], oldest first; what stands behind the end does not matter.
            lengths: int64 [b], at least 1.
        """
        longest = items.shape[1]
        place = torch.arange(longest, device=items.device)
        positions = (place + self.sizes.max_length - lengths[:, None]).clamp(max=self.sizes.max_length - 1)
        # Scaled as in the authors' code: of vectors as small as the output wants them, layers would see positions.
        vectors = self.item_embedding(items) * self.sizes.width**0.5
        hidden = self.dropout(vectors + self.position_embedding(positions))
        later = nn.Transformer.generate_square_subsequent_mask(longest, device=items.device, dtype=hidden.dtype)
        states: Tensor = self.transformer(hidden, mask=later, is_causal=True)
        return states

    @torch.no_grad()
    def score(self, task: str, histories: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Scores [b, n] by the latest items of each history; zeros for an empty one. The task does not matter.

        Raises:
            DataError: a history names an item_index outside the catalogue.
        """
        table = self.item_embedding.weight
        items, bounds = flat(histories, len(table))
        lengths = np.minimum(np.diff(bounds), self.sizes.max_length)
        known = np.flatnonzero(lengths)
        scores = np.zeros((len(histories), len(table)), np.float32)
        if known.size:
            shown = windows(items, (bounds[1:] - lengths)[known], lengths[known]).to(table.device)
            ends = torch.from_numpy(lengths[known]).to(table.device)
            states = self(shown, ends)[torch.arange(len(ends), device=table.device), ends - 1]
            scores[known] = (states @ table.T).float().cpu().numpy()
        return scores


def windows(items: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Tensor:
    """Stretches [b, t] of a long row of items, each from its start on, as long as the longest; zeros behind an end."""
    place = np.arange(lengths.max())
    inside = place < lengths[:, None]
    return torch.from_numpy(np.where(inside, items[np.where(inside, starts[:, None] + place, 0)], 0))


def save_sasrec(folder: Path, model: SasRec, history: list[dict[str, float]]) -> None:
    """Write a trained model, and a record of losses per step, into the (new) folder."""
    folder.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / CONFIG, {"items": model.item_embedding.num_embeddings, "sizes": asdict(model.sizes)})
    write_json(folder / HISTORY, history)


def load_sasrec(folder: Path) -> SasRec:
    """Read a trained model.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit the other.
    """
    config = read_json(folder / CONFIG)
    try:
        if config.keys() != {"items", "sizes"}:
            raise ValueError(f"keys {sorted(config)}")
        model = SasRec(int(config["items"]), SasRecSizes(**config["sizes"]))
    except (AttributeError, TypeError, ValueError, ConfigError) as error:
        raise ArtifactError(f"{folder / CONFIG}: {error}. Written by another version? Train again.") from None
    load_weights(folder, model)
    return model.eval()
