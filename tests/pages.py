"""The documents' shell commands, for the tests that follow them."""

import re
from pathlib import Path


def bash_blocks(page: Path) -> list[str]:
    """What stands between "```bash" and "```", in order."""
    return re.findall(r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
