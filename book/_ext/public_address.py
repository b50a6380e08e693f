"""A Sphinx extension that gives the pages what needs a public address: launch buttons for Binder and Colab, and the card of a shared link.

The address is that of the repository, from `repository: url` in `_config.yml` or the environment variable `CAUSALPOSE_REPOSITORY`, which
wins. Without one no page has any of it, so that no link leads nowhere. The pages themselves are thought to lie where GitHub and GitLab
publish them; `html: baseurl` names another place.
"""

import html
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

VARIABLE = "CAUSALPOSE_REPOSITORY"
BINDER, COLAB = "https://mybinder.org", "https://colab.research.google.com"
# The branch that holds the built pages, and in them the notebooks: Colab opens notebooks from a repository only.
PAGES_BRANCH = "gh-pages"
CARD = Path(__file__).resolve().parents[2] / "figures" / "social_card.png"
CARD_ALT = "CausalPose: a clip, the same clip with one cause changed, and the pose that the model predicts"
LONGEST = 200  # characters of a card's description; services cut at about here


@dataclass(frozen=True)
class Address:
    """Where the repository lies, and the addresses that follow from it."""

    repository: str
    branch: str = "main"
    base: str = ""

    def __post_init__(self):
        parts = urlsplit(self.repository)
        if parts.scheme != "https" or not parts.netloc or len(self.parts) < 2:
            raise ExtensionError(
                f"the repository's address {self.repository!r} is none; write https://HOST/OWNER/NAME "
                f"as `repository: url` in _config.yml or in the environment variable {VARIABLE}"
            )

    @property
    def host(self) -> str:
        """The host's name."""
        return urlsplit(self.repository).netloc.lower()

    @property
    def parts(self) -> list[str]:
        """Owner and name of the repository, and groups between them where there are."""
        return urlsplit(self.repository).path.strip("/").removesuffix(".git").split("/")

    @property
    def pages(self) -> str:
        """Where the built pages are published, with a slash at the end; empty where that is not known."""
        hosts = {"github.com": "github.io", "gitlab.com": "gitlab.io"}
        if self.base:
            return self.base.rstrip("/") + "/"
        if self.host not in hosts:
            return ""
        owner, *rest = self.parts
        return f"https://{owner.lower()}.{hosts[self.host]}/{'/'.join(rest)}/"

    def binder(self, page: str) -> str:
        """Binder with the page's student notebook open; `.binder/postBuild` has written it."""
        path = "/".join(self.parts)
        place = {
            "github.com": f"gh/{path}",
            "gitlab.com": f"gl/{quote(path, safe='')}",
        }.get(self.host, f"git/{quote(self.repository, safe='')}")
        return f"{BINDER}/v2/{place}/{quote(self.branch, safe='')}?urlpath=lab/tree/notebooks/{page}-student.ipynb"

    def colab(self, page: str) -> str:
        """Colab with the page's student notebook open; empty where Colab cannot read the repository."""
        if self.host != "github.com":
            return ""
        return f"{COLAB}/github/{'/'.join(self.parts)}/blob/{PAGES_BRANCH}/notebooks/{page}-student.ipynb"


def address(app: Sphinx) -> Address | None:
    """The configured address, or None."""
    options = app.config.html_theme_options
    repository = os.environ.get(VARIABLE) or options.get("repository_url") or ""
    if not repository:
        return None
    return Address(repository, options.get("repository_branch") or "main", app.config.html_baseurl or "")


def buttons(where: Address, page: str) -> dict:
    """The group of launch buttons in the theme's form."""
    targets = {"Binder": (where.binder(page), "logo_binder.svg"), "Colab": (where.colab(page), "logo_colab.png")}
    links = [
        {"type": "link", "text": name, "tooltip": f"Launch on {name}", "icon": f"_static/images/{logo}", "url": url}
        for name, (url, logo) in targets.items()
        if url
    ]
    return {
        "type": "group", "tooltip": "Launch interactive content", "icon": "fas fa-rocket", "buttons": links, "label": "launch-buttons",
    }  # fmt: skip


def description(doctree) -> str:
    """The page's first paragraph that stands on its own, cut at a word."""
    free = (node for node in doctree.findall(nodes.paragraph) if isinstance(node.parent, (nodes.section, nodes.document)))
    text = re.sub(r"\s+", " ", next(free, nodes.paragraph()).astext()).strip()
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


def card(where: Address, page: str, title: str, text: str) -> str:
    """The tags from which a service makes a shared link's card."""
    facts = {
        "og:type": "article", "og:site_name": "CausalPose", "og:title": title, "og:description": text,
        "og:url": f"{where.pages}{page}.html", "og:image": f"{where.pages}_static/{CARD.name}", "og:image:width": "1200",
        "og:image:height": "630", "og:image:alt": CARD_ALT,
    }  # fmt: skip
    tags = [f'<meta property="{name}" content="{html.escape(value)}">' for name, value in facts.items() if value]
    return "\n".join([*tags, '<meta name="twitter:card" content="summary_large_image">', ""])


def add_to_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree) -> None:
    """The buttons of a chapter with code, and the card of every page."""
    where = address(app)
    if where is None or doctree is None:
        return
    if "kernelspec" in app.env.metadata[pagename]:
        context.setdefault("header_buttons", []).insert(0, buttons(where, pagename))
    if where.pages:
        title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title", "")))
        context["metatags"] = context.get("metatags", "") + card(where, pagename, title, description(doctree))


def copy_card(app: Sphinx) -> None:
    """The card's picture beside the pages, and the file without which GitHub leaves out `_static`.

    A faulty address stops the build here, before the first chapter runs.
    """
    where = address(app)
    if where is not None and where.pages and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / CARD.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CARD, target)
        (Path(app.outdir) / ".nojekyll").touch()


def tell_notebooks(app: Sphinx) -> None:
    """Notebooks that are opened elsewhere begin by fetching the repository."""
    where = address(app)
    app.config.chapter_notebooks_clone = where.repository if where else ""


def setup(app: Sphinx) -> dict:
    """Register all. The theme makes the list of buttons at 500 and its own entries at 501; the notebooks are written at 500."""
    app.add_config_value("chapter_notebooks_clone", "", "")
    app.connect("builder-inited", tell_notebooks, priority=400)
    app.connect("builder-inited", copy_card, priority=401)
    app.connect("html-page-context", add_to_page, priority=502)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
