"""The built-in models: found, converted once, checked at every use. Needs what `make setup` installs."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from ilm.errors import ArtifactError
from ilm.files import read_json, write_json
from ilm.model import builtin
from ilm.model.language_model import load_language_model
from ilm.model.text_encoder import from_text_encoder


def test_a_wrong_name_says_which_names_there_are():
    with pytest.raises(ArtifactError, match="all-minilm-l6-v2, smollm2-135m-instruct"):
        builtin.resolve("gpt-17")


def test_a_package_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(builtin.BUILTIN, "absent", builtin.Source("no_such_package", "x", "0"))
    with pytest.raises(ArtifactError, match="make setup"):
        builtin.resolve("absent")


def test_a_source_file_with_another_hash_is_refused(monkeypatch):
    good = builtin.BUILTIN["all-minilm-l6-v2"]
    monkeypatch.setitem(builtin.BUILTIN, "all-minilm-l6-v2", builtin.Source(good.package, good.file, "0" * 64))
    with pytest.raises(ArtifactError, match="pinned"):
        builtin.resolve("all-minilm-l6-v2")


def test_a_changed_file_in_the_cache_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ILM_CACHE", str(tmp_path))
    import transformers

    major = transformers.__version__.split(".")[0]
    folder = (
        builtin.cache_folder()
        / f"smollm2-135m-instruct-{builtin.BUILTIN['smollm2-135m-instruct'].sha256[:12]}-transformers{major}"
    )
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    write_json(folder / builtin.MANIFEST, {"config.json": "0" * 64})
    with pytest.raises(ArtifactError, match="Delete"):
        builtin.resolve("smollm2-135m-instruct")


def test_converted_language_model_knows_the_capital_of_france_and_plain_english():
    """Perplexity of a plain sentence against a shuffled one: a wrong rotary permutation ruins it."""
    folder = builtin.resolve("smollm2-135m-instruct")
    assert set(read_json(folder / builtin.MANIFEST)) >= {"model.safetensors", "config.json", "tokenizer.json"}
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"
        losses = [
            model(ids, labels=ids).loss.item()
            for text in (
                "The weather was fine, so the children went out and played in the garden until dinner was ready.",
                "Fine garden the so dinner, ready was out played weather until the went children and was in the.",
            )
            for ids in [tokenizer(text, return_tensors="pt").input_ids]
        ]
    assert np.exp(losses[0]) < 50 < 200 < np.exp(losses[1])


def test_placeholders_are_new_tokens_behind_the_vocabulary():
    lm = load_language_model("smollm2-135m-instruct")
    assert (lm.item_id, lm.user_id) == (49152, 49153)
    assert lm.model.get_input_embeddings().num_embeddings == 49152
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())


def test_qformer_text_branch_starts_as_the_text_encoder():
    folder = builtin.resolve("all-minilm-l6-v2")
    qformer = from_text_encoder(folder, layers=6, queries=4, cf_width=8, cf_tokens=2, cross_attention_every=2).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(["Heat (1995)", "Toy Story"], padding=True, return_tensors="pt")
    mask = tokens["attention_mask"].bool()
    ours = qformer(None, qformer.embed_text(tokens["input_ids"]), mask[:, None, None, :])
    theirs = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state
    torch.testing.assert_close(ours[mask], theirs[mask], atol=2e-5, rtol=0)
