"""Where our own files lie, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parents[1]  # config/ and traces.db stand beside addon/
_IS_CHECKOUT = (_CHECKOUT / "addon" / "main.py").is_file()

PACKAGES = _PACKAGE.parent  # what must be on sys.path
CONFIG = _CHECKOUT / "config" if _IS_CHECKOUT else _PACKAGE / "config"
SCRIPT = _CHECKOUT / "addon" / "main.py" if _IS_CHECKOUT else _PACKAGE / "script" / "main.py"


def traces() -> Path:
    """The traces.db that is meant where none is named: at the top of a checkout, or right here."""
    return (_CHECKOUT if _IS_CHECKOUT else Path.cwd()) / "traces.db"


def authority() -> Path:
    """The certificate by which mitmproxy vouches for those that it stands before."""
    return Path("~/.mitmproxy/mitmproxy-ca-cert.pem").expanduser()
