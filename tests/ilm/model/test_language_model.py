"""Which folders are language models, and what is said of those that are not; gradients through four bits."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    CohereConfig,
    CohereForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from ilm.errors import ArtifactError, ConfigError
from ilm.files import digest
from ilm.model.language_model import LanguageModel, load_language_model
from ilm.model.quantisation import NF4
from tests.fake_project import ROOT
from tests.tiny import save_language_model


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_language_model(tmp_path_factory.mktemp("lm") / "llama")


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(llama, tmp_path / "llama"))


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def with_model(folder: Path, model: torch.nn.Module) -> Path:
    """The folder with another model behind its tokenizer."""
    for file in folder.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(folder)  # type: ignore[operator]
    return folder


def test_weights_that_are_cut_off_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="not loadable as a causal language model"):
        load_language_model(str(copy))


def test_pickled_weights_are_refused(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="pickles are not read"):
        load_language_model(str(copy))


def test_encoder_decoder_is_refused(copy: Path) -> None:
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=300, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ArtifactError, match="t5 has an encoder and a decoder"):
        load_language_model(str(with_model(copy, t5)))


def test_model_without_an_output_layer_is_refused(copy: Path) -> None:
    bert = BertModel(BertConfig(vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    with pytest.raises(ArtifactError, match="not a whole causal language model; its weights lack cls"):
        load_language_model(str(with_model(copy, bert)))


def test_model_that_scales_its_logits_is_refused(copy: Path) -> None:
    cohere = CohereForCausalLM(
        CohereConfig(
            vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            logit_scale=0.0625, initializer_range=0.5, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip
    with pytest.raises(ArtifactError, match="cohere does more to its logits"):
        load_language_model(str(with_model(copy, cohere)))


def test_code_in_a_models_folder_is_never_run(copy: Path) -> None:
    (copy / "modeling_evil.py").write_text("raise SystemExit('it ran')")
    change_json(
        copy / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "modeling_evil.C", "AutoModel": "modeling_evil.M"},
    )
    with pytest.raises(ArtifactError, match="not loadable as a causal language model"):
        load_language_model(str(copy))


def test_tokenizer_without_an_end_is_refused(copy: Path) -> None:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        if (copy / file).is_file():
            values = json.loads((copy / file).read_text())
            (copy / file).write_text(
                json.dumps({k: v for k, v in values.items() if k not in ("eos_token", "pad_token")})
            )
    with pytest.raises(ArtifactError, match="no end token"):
        load_language_model(str(copy))


def test_model_of_the_hub_that_is_not_cached_is_told_how_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ArtifactError, match=r"nothing is downloaded by itself. Run `hf download owner/a-model-7b` once"
    ):
        load_language_model("owner/a-model-7b")


def test_model_of_the_hub_is_found_in_the_local_cache(llama: Path, tmp_path: Path) -> None:
    """In a process of its own: the cache's place is read when transformers is imported."""
    cached = tmp_path / "hub/models--owner--tiny"
    shutil.copytree(llama, cached / "snapshots/0123abc")
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0123abc")
    code = "from ilm.model.language_model import *; print(load_language_model('owner/tiny').sha256)"
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == digest(llama / "model.safetensors"), done.stderr


def test_weights_can_be_loaded_in_bf16(llama: Path) -> None:
    half = load_language_model(str(llama), dtype=torch.bfloat16)
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert half.sha256 == load_language_model(str(llama)).sha256


# Four bits


@pytest.fixture(scope="module")
def wide(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quantised in blocks of 64 weights, so wider than the others."""
    folder = tmp_path_factory.mktemp("wide") / "llama"
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.2, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def quantised(wide: Path) -> LanguageModel:
    return load_language_model(str(wide), quantisation=NF4)


def gradient(model: LanguageModel) -> torch.Tensor:
    """Of a loss with respect to the embeddings that soft tokens take the places of."""
    torch.manual_seed(1)
    embeddings = torch.randn(2, 9, model.width, requires_grad=True)
    model.logits(model.hidden_states(embeddings)).logsumexp(-1).sum().backward()
    assert embeddings.grad is not None
    return embeddings.grad


def test_four_bits_hold_the_layers_and_leave_the_words(quantised: LanguageModel) -> None:
    kinds = {name: str(p.dtype) for name, p in quantised.model.named_parameters()}
    assert kinds["model.layers.0.mlp.up_proj.weight"] == "torch.uint8"
    assert kinds["model.embed_tokens.weight"] == "torch.float32"


def test_gradients_through_four_bits_are_those_of_the_weights_that_the_bits_stand_for(
    wide: Path, quantised: LanguageModel
) -> None:
    from bitsandbytes.functional import dequantize_4bit

    plain = load_language_model(str(wide))
    before = gradient(plain)
    layers = dict(quantised.model.named_modules())
    for name, module in plain.model.named_modules():
        if isinstance(module, torch.nn.Linear) and hasattr(layers[name].weight, "quant_state"):
            weight = layers[name].weight
            module.weight.copy_(dequantize_4bit(weight.data, weight.quant_state))
    torch.testing.assert_close(gradient(quantised), gradient(plain), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(before, gradient(plain), rtol=1e-2), "four bits are other weights"


def test_quantised_model_is_untouched_by_a_backward_pass(quantised: LanguageModel) -> None:
    before = quantised.weights_digest()
    gradient(quantised)
    assert quantised.weights_digest() == before
    quantised.move(torch.device("cpu"), torch.bfloat16)
    assert quantised.weights_digest() == before, "its precision is that of its loading"


def test_digest_of_a_quantised_model_sees_every_bit(wide: Path) -> None:
    model = load_language_model(str(wide), quantisation=NF4)
    before = model.weights_digest()
    model.model.model.layers[1].mlp.down_proj.weight.data[3, 0] ^= 1
    assert model.weights_digest() != before


def test_hash_of_the_files_does_not_depend_on_the_form_in_memory(wide: Path, quantised: LanguageModel) -> None:
    assert quantised.sha256 == load_language_model(str(wide)).sha256


def test_without_bitsandbytes_the_message_says_what_to_install(wide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'item-language-model\[quantised\]'"):
        load_language_model(str(wide), quantisation=NF4)


def test_another_form_is_refused(wide: Path) -> None:
    with pytest.raises(ConfigError, match="'int3' is none of none, nf4"):
        load_language_model(str(wide), quantisation="int3")
