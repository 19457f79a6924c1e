"""What mitmproxy loads: `mitmdump -s addon/main.py`."""

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# mitmproxy leaves this folder first on sys.path for ever, as it was typed; put it there once, and
# whole. Touching this file reloads everything: mitmproxy itself would re-read only this file.
sys.path[:] = [str(_HERE), *(p for p in sys.path if not p or Path(p).resolve() != _HERE)]
for _name in [n for n in sys.modules if n == "callerid" or n.startswith("callerid.")]:
    del sys.modules[_name]

from callerid.proxy.addon import CallerId  # noqa: E402

addons = [CallerId()]
