"""The pipeline's steps: one file per step, each run by its DVC stage as `python -m tasks.<step>`."""

from tasks import environment

environment.switch()  # the one thing that happens at import: numpy, mlflow and dvc read these when they are imported
