import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import worktree
from flows.retrain_inputs import bring_in, share_cache
from ilm.errors import IlmError
from tasks.process import identity
from tests.fake_project import git, run, wait_for_end
from tests.fake_retrain import make_retrain_project


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_retrain_project(tmp_path / "home")


def own_by_the_dead(home: Path, name: str) -> None:
    host, pid, started = identity(psutil.Process()).rsplit("/", 2)
    (home / worktree.WORKTREES / f"{name}.owner").write_text(f"{host}/{pid}/{float(started) - 9:.2f}")


def test_checkout_is_the_last_commit_whatever_was_changed_since(home: Path) -> None:
    (home / "params.yaml").write_text("cf: {factors: 7}\n")
    (home / "fake.py").write_text("broken")
    git(home, "add", "fake.py")
    tree = worktree.make(home, "one")
    assert worktree.changed_files(home) == ["fake.py", "params.yaml"]
    assert "factors: 2" in (tree.project / "params.yaml").read_text()
    assert (tree.project / "fake.py").read_text() != "broken"


def test_project_may_be_a_folder_of_a_repository(home: Path) -> None:
    (home / "inner").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        git(home, "mv", name, f"inner/{name}")
    git(home, "commit", "--quiet", "--message", "moved")
    tree = worktree.make(home / "inner", "one")
    assert (tree.project / "params.yaml").is_file()
    assert tree.project == (home / "inner").resolve() / worktree.WORKTREES / "one/inner"


@pytest.mark.parametrize("reason", ["no repository", "no commit", "no dvc.yaml in it"])
def test_what_cannot_be_checked_out_is_said(tmp_path: Path, reason: str) -> None:
    if reason != "no repository":
        git(tmp_path, "init", "--quiet")
    if reason == "no dvc.yaml in it":
        git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "empty")
    with pytest.raises(IlmError, match="commit"):
        worktree.make(tmp_path, "one")


def test_users_hooks_do_not_run(home: Path) -> None:
    for hook in ("post-checkout", "pre-commit", "reference-transaction"):
        (home / ".git/hooks" / hook).write_text("#!/bin/sh\ntouch ran\nexit 1\n")
        (home / ".git/hooks" / hook).chmod(0o755)
    tree = worktree.make(home, "one")
    (tree.project / "dvc.lock").write_text("schema: '2.0'\n")
    tree.keep_lock("a run")
    worktree.remove(home, "one")
    assert not list(home.rglob("ran"))


def test_result_is_a_commit_of_dvc_lock_on_a_reference_of_its_own(home: Path) -> None:
    before = git(home, "rev-parse", "HEAD"), git(home, "status", "--porcelain"), git(home, "branch", "--all")
    tree = worktree.make(home, "one")
    (tree.project / "dvc.lock").write_text("schema: '2.0'\n")
    commit = tree.keep_lock("a run")
    assert git(tree.project, "status", "--porcelain") == "", "so that lineage calls it clean"
    worktree.remove(home, "one")
    assert (git(home, "rev-parse", "HEAD"), git(home, "status", "--porcelain"), git(home, "branch", "--all")) == before
    assert git(home, "rev-parse", "refs/ilm/runs/one") == commit
    assert git(home, "diff", "--name-only", "HEAD", commit) == "dvc.lock"
    assert git(home, "rev-parse", f"{commit}^") == before[0]


def test_last_finished_run_comes_before_the_working_copy_and_an_unfinished_one_does_not_count(home: Path) -> None:
    assert worktree.lock_of_last_run(home) is None
    (home / "dvc.lock").write_text("of the working copy\n")
    tree = worktree.make(home, "one")
    (tree.project / "dvc.lock").write_text("of the run\n")
    commit = tree.keep_lock("a run")
    assert worktree.lock_of_last_run(home) == "of the working copy\n"
    tree.make_latest(commit)
    assert worktree.lock_of_last_run(home) == "of the run\n"


def test_worktrees_of_the_dead_are_swept_and_those_of_the_living_are_not(home: Path) -> None:
    for name in ("dead", "alive", "nobodys"):
        worktree.make(home, name)
    own_by_the_dead(home, "dead")
    (home / worktree.WORKTREES / "nobodys.owner").unlink()
    (home / worktree.WORKTREES / "half-made").mkdir()  # killed before git knew it
    assert worktree.sweep(home) == ["dead", "half-made", "nobodys"]
    assert [path.name for path in sorted((home / worktree.WORKTREES).iterdir())] == ["alive", "alive.owner"]
    assert len(git(home, "worktree", "list").splitlines()) == 2
    assert worktree.sweep(home) == []


def test_worktree_that_git_was_killed_over_is_swept(home: Path) -> None:
    worktree.make(home, "dead")
    own_by_the_dead(home, "dead")
    (home / ".git/worktrees/dead/locked").write_text("initializing")
    assert worktree.sweep(home) == ["dead"]
    assert not (home / ".git/worktrees").exists()


def test_sweeping_touches_nothing_behind_links_nor_the_users_own_worktrees(home: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    git(home, "worktree", "add", "--quiet", "--detach", str(tmp_path / "usb/mine"))
    (tmp_path / "usb").rename(tmp_path / "unplugged")  # `git worktree prune` would forget it
    tree = worktree.make(home, "dead")
    (tree.project / "link").symlink_to(precious, target_is_directory=True)
    own_by_the_dead(home, "dead")
    worktree.sweep(home)
    assert (precious / "file").read_text() == "kept"
    (tmp_path / "unplugged").rename(tmp_path / "usb")
    assert git(tmp_path / "usb/mine", "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["..", "../../data", "/tmp"])
def test_nothing_outside_the_folder_of_worktrees_can_be_removed(home: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a run"):
        worktree.remove(home, name)
    assert (home / "data/raw/log.txt").exists()


def test_cache_remotes_and_link_types_are_the_projects(home: Path, tmp_path: Path) -> None:
    dvc = ("-m", "dvc")
    run(home, *dvc, "remote", "add", "--default", "store", "../../store")
    run(home, *dvc, "config", "--local", "cache.type", "hardlink,copy")
    git(home, "add", ".dvc/config")
    git(home, "commit", "--quiet", "--message", "remote")
    tree = worktree.make(home, "one")
    cache = share_cache(tree)
    assert cache == (home / ".dvc/cache").resolve()
    assert run(tree.project, *dvc, "cache", "dir").stdout.strip() == str(cache)
    listed = run(tree.project, *dvc, "remote", "list").stdout
    assert listed.split()[:2] == ["store", str((tmp_path / "../store").resolve())], "though its path is relative"
    assert run(tree.project, *dvc, "config", "cache.type").stdout == "hardlink,copy\n"
    assert (tree.project / ".dvc/config.local").stat().st_mode & 0o077 == 0
    assert git(tree.project, "status", "--porcelain") == ""


def test_data_are_those_of_the_working_copy_and_later_changes_do_not_reach_the_run(home: Path) -> None:
    (home / "data/raw/log.txt").write_text("fresh\n")
    tree = worktree.make(home, "one")
    bring_in(tree)
    (home / "data/raw/log.txt").write_text("too late\n")
    assert (tree.project / "data/raw/log.txt").read_text() == "fresh\n"


def test_log_files_that_are_not_complete_are_left(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = home / "data/logs/2024"
    logs.mkdir(parents=True)
    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("data:", "data:\n  settle_seconds: 0"))
    git(home, "commit", "--quiet", "--all", "--message", "do not wait")
    for name in ("may.csv", "june.csv.tmp", "readme.txt"):
        (logs / name).write_text("user_id,item_id,timestamp\n")
    tree = worktree.make(home, "one")
    bring_in(tree)
    assert sorted(path.name for path in (tree.project / "data/logs/2024").iterdir()) == ["may.csv", "readme.txt"]
    assert (tree.project / "data/logs/2024/may.csv").stat().st_mtime_ns == (logs / "may.csv").stat().st_mtime_ns
    assert "log file 2024/june.csv.tmp is left for the next run" in capsys.readouterr().out


def test_log_file_that_grows_while_it_is_copied_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    (home / "params.yaml").write_text((home / "params.yaml").read_text().replace("data:", "data:\n  settle_seconds: 0"))
    git(home, "commit", "--quiet", "--all", "--message", "do not wait")
    (home / "data/logs").mkdir()
    for name in ("a.csv", "b.csv"):
        (home / "data/logs" / name).write_text("user_id,item_id,timestamp\n")
    copy = shutil.copy2

    def copy_and_grow(source: Path, target: Path) -> None:
        copy(source, target)
        if source.name == "a.csv":
            source.write_text("user_id,item_id,timestamp\nu,i,1\n")

    monkeypatch.setattr(shutil, "copy2", copy_and_grow)
    tree = worktree.make(home, "one")
    bring_in(tree)
    assert [path.name for path in (tree.project / "data/logs").iterdir()] == ["b.csv"]
    assert "log file a.csv is left for the next run: it changed while it was copied" in capsys.readouterr().out


def test_models_in_the_project_are_linked_and_checkpoints_outlive_the_worktree(home: Path) -> None:
    (home / "models/llm").mkdir(parents=True)
    (home / "models/llm/config.json").write_text("{}")
    (home / "params.yaml").write_text((home / "params.yaml").read_text() + "model:\n  llm: models/llm\n")
    git(home, "commit", "--quiet", "--all", "--message", "a model")
    tree = worktree.make(home, "one")
    bring_in(tree)
    assert (tree.project / "models/llm/config.json").read_text() == "{}"
    (tree.project / ".checkpoints/pretrain").mkdir()
    (tree.project / ".checkpoints/pretrain/state").write_text("half-way")
    worktree.remove(home, "one")
    assert (home / ".ilm/checkpoints/pretrain/state").read_text() == "half-way"
    assert not (home / ".checkpoints").exists(), "the working copy's are not ours"
    assert (home / "models/llm/config.json").exists()


def test_git_does_not_outlive_who_called_it(home: Path) -> None:
    code = "from pathlib import Path; from flows.worktree import git; git(Path.cwd(), 'hash-object', '--stdin')"
    caller = subprocess.Popen([sys.executable, "-c", code], cwd=home, stdin=subprocess.PIPE)  # nothing will come
    child = None
    while child is None:
        child = next(iter(psutil.Process(caller.pid).children()), None)
    caller.kill()
    caller.wait()
    wait_for_end(child)
