"""The one family of errors a user may see. Every message says what is wrong, where, and what to do."""

from collections.abc import Callable


class IlmError(Exception):
    """A mistake or a state that the user can mend; shown as one message, without traceback, exit code 2."""


class ConfigError(IlmError):
    """params.yaml or a command-line option is wrong."""


class DataError(IlmError):
    """Input data are missing, malformed, or break the data contract."""


class ArtifactError(IlmError):
    """A model file or artifact is missing, damaged, or does not belong with the others."""


class TrainingDiverged(IlmError):
    """A loss or gradient became NaN or infinite."""


class LookupFailed(IlmError):
    """What a model is asked cannot be answered."""


class UnknownName(LookupFailed):
    """A user, an item or a title that was asked for does not exist.

    Args:
        message: what everybody may read.
        hint: finds what helps the person who runs the project, such as other users' ids; not for strangers. A search
            among all users takes its time, so it is asked only when the message is read.
    """

    def __init__(self, message: str, hint: Callable[[], str] = lambda: "") -> None:
        super().__init__(message)
        self.message, self._hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self._hint()}".rstrip()
