"""Who runs this process, as the audit trail names them."""

import getpass
import os


def account() -> str:
    """Give the account of the operating system; where nobody gave its number a name, as in a container, the number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
