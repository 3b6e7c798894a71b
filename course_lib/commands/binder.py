"""`python -m course_lib binder OWNER/REPO`: the address that opens a lesson on Binder, and a badge.

Binder (mybinder.org) is a public service that builds the environment of a published repository and
opens it in a browser, without an account. This command only writes the address; it asks nobody.
"""

import argparse
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from course_lib.commands.bootstrap import SetupError, complaint
from course_lib.commands.refresh import parse as notebooks_named

HOST = "https://mybinder.org"
FORMS = {
    "gh": "OWNER/REPO, as in the repository's address on GitHub",
    "gl": "GROUP/REPO or GROUP/SUBGROUP/REPO, as in the repository's address on GitLab",
    "git": "the address that `git clone` takes, beginning with https://",
}
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?")
# What git refuses in the name of a branch or a tag.
NO_REF = re.compile(r"[\s~^:?*\[\\\x00-\x1f\x7f]|\.\.|@\{|//|^[/-]|[/.]$|\.lock$")


class Link(NamedTuple):
    """What to paste."""

    address: str
    badge: str  # Markdown


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read the command's options; raise SetupError for those that no Binder could open."""
    parser = argparse.ArgumentParser(prog="python -m course_lib binder", description=__doc__)
    parser.error = complaint("python -m course_lib binder OWNER/REPO [--lesson 02]")
    parser.add_argument("repository", help="OWNER/REPO, or its address")
    parser.add_argument("--ref", default="main", help="branch, tag or commit (default main)")
    parser.add_argument("--lesson", default="00", help="2, 02 or 02_dqn (default 00)")
    parser.add_argument("--provider", choices=FORMS, default="gh", help="GitHub, GitLab, any git")
    parser.add_argument("--host", default=HOST, help=f"a BinderHub (default {HOST})")
    options = parser.parse_args(argv)
    options.repository = _repository(options.repository, options.provider)
    if not options.ref or NO_REF.search(options.ref):
        raise SetupError(f"`{options.ref}` is no name of a branch, a tag or a commit.")
    options.host = _host(options.host)
    options.notebook = notebooks_named([options.lesson])[0].name
    return options


def _repository(text: str, provider: str) -> str:
    """The name of a repository in the provider's own form."""
    if provider == "git":
        address = urlsplit(text)
        if address.scheme != "https" or not address.hostname or address.path in ("", "/"):
            raise SetupError(f"With --provider git, name {FORMS['git']}, not `{text}`.")
        if address.username or address.password:
            raise SetupError("A public link must not hold a user name or a password.")
        return text
    site = "github" if provider == "gh" else "gitlab"
    start = rf"(https?://|ssh://git@|git@)?(www\.)?{site}\.com[/:]"
    parts = re.sub(start, "", text, count=1, flags=re.I).rstrip("/").removesuffix(".git").split("/")
    fits = len(parts) == 2 if provider == "gh" else len(parts) >= 2
    if not fits or not all(NAME.fullmatch(part) for part in parts):
        raise SetupError(f"With --provider {provider}, name {FORMS[provider]}, not `{text}`.")
    return "/".join(parts)


def _host(text: str) -> str:
    address = urlsplit(text)
    if address.scheme not in ("http", "https") or not address.hostname or address.query:
        raise SetupError(f"--host takes an address such as {HOST}, not `{text}`.")
    return text.rstrip("/")


def link(options: argparse.Namespace) -> Link:
    """The address in BinderHub's form `/v2/PROVIDER/REPOSITORY/REF?urlpath=PATH`.

    A GitHub repository stands in it as it is; GitLab's groups nest, so its name, like a whole
    address, is one part of the path with its slashes escaped.
    """
    repository = quote(options.repository, safe="/" if options.provider == "gh" else "")
    path = quote(f"lab/tree/notebooks/{options.notebook}", safe="")
    ref = quote(options.ref, safe="/")
    address = f"{options.host}/v2/{options.provider}/{repository}/{ref}?urlpath={path}"
    return Link(address, f"[![Open on Binder]({options.host}/badge_logo.svg)]({address})")


def main(argv: Sequence[str]) -> int:
    """Print the address and the badge."""
    for line in link(parse(argv)):
        print(line)
    return 0
