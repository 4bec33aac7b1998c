from pathlib import Path

import pytest

from tests.end_to_end.clone import clone_working_tree, ilm

BUILT_IN = ("smollm2-135m-instruct", "all-minilm-l6-v2")


@pytest.fixture(scope="session", params=["tiny", pytest.param("built-in", marks=pytest.mark.slow)])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prefect_home: str) -> Path:
    """A clone after `ilm train --bootstrap`, with tiny random models or (slow) the built-in ones; not to be changed.

    What the command printed is in printed.txt. The tiny language model lies in ../models/llm.
    """
    folder = tmp_path_factory.mktemp(request.param)
    names = BUILT_IN
    if request.param == "tiny":
        from tests.tiny import save_language_model, save_text_encoder

        names = (str(save_language_model(folder / "models/llm")), str(save_text_encoder(folder / "models/bert")))
    project = clone_working_tree(folder / "project", *names)
    done = ilm(project, "train", "--bootstrap")
    assert done.returncode == 0, done.stdout + done.stderr
    (project / "printed.txt").write_text(done.stdout)
    return project
