"""A certificate authority for loopback, one a process, so that a proxy can trust every provider."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme

VENDOR_HOSTS = (
    "api.anthropic.com",
    "api.openai.com",
    "generativelanguage.googleapis.com",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files."""

    ca: Path
    certificate: Path
    key: Path


@functools.cache
def certificates() -> Certificates:
    """A certificate for localhost, 127.0.0.1 and the vendors' hosts, and the CA that vouches."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", *VENDOR_HOSTS)
    files = Certificates(*(_folder() / name for name in ("ca.pem", "cert.pem", "key.pem")))
    authority.cert_pem.write_to_path(files.ca)
    leaf.cert_chain_pems[0].write_to_path(files.certificate)
    leaf.private_key_pem.write_to_path(files.key)
    return files


def _folder() -> Path:
    """A new folder that goes when the interpreter does."""
    folder = tempfile.mkdtemp(prefix="lab-certificates-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
