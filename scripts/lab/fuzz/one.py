"""Fuzzes one target until the time is up or it fails: `python -m lab.fuzz.one TARGET [OPTIONS]`.

Started by `scripts/fuzz`; the options are libFuzzer's. Coverage is measured of callerid's own
modules; an input that fails lies in a file afterwards, and the traceback on stderr.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["callerid"], enable_loader_override=False):
    from lab.fuzz import targets


def main() -> None:
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: targets.run(name, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
