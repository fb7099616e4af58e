"""Hooks of the documentation site: pages of the repository beside docs/, the API reference, and formulas as MathML.

Pages under docs/ link to files of the repository with relative paths, which work in any viewer of Markdown. In the site
such a link leads to a page with that file's text.
"""

import html
import os
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(?=[)#])")
FORMULAS = (
    re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL),
    re.compile(r":math:<code>(.*?)</code>"),
)
OUTSIDE = re.compile(
    r"""<(?:script|img|iframe|link rel="(?:stylesheet|preconnect)")[^>]*(?:src|href)="((?:https?:)?//[^"]*)"""
)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".md": "markdown", ".json": "json"}
PROJECT = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
}
API = {
    "use": (
        "Read and predict",
        "ecgmtl.inference.trained data_prep.record data_prep.readers data_prep.preprocess data_prep.errors",
    ),
    "configure": (
        "Configure a run",
        "ecgmtl.config.run ecgmtl.config.stage ecgmtl.data.masking ecgmtl.data.augment ecgmtl.model.heads "
        "ecgmtl.optimization.optimizer",
    ),
    "extend": (
        "Add a part",
        "ecgmtl.model.encoders.base ecgmtl.model.encoders.blocks ecgmtl.model.sharing.base ecgmtl.tasks.base "
        "ecgmtl.data.batch ecgmtl.optimization.weighting.base ecgmtl.optimization.gradient_rules.base",
    ),
}
"""Pages of the API reference: title and modules."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the API reference, the pages of the project, and a page for each file that another page links to."""
    for name, (title, modules) in API.items():
        files.append(File.generated(config, f"api/{name}.md", content=api_page(title, modules.split())))
    files.append(File.generated(config, "api/index.md", content=api_index()))
    for path, uri in PROJECT.items():
        files.append(File.generated(config, uri, content=(ROOT / path).read_text(encoding="utf-8")))
    waiting = [target for file in files.documentation_pages() for target in targets(file)]
    while waiting:
        path = waiting.pop()
        if files.get_file_from_path(uri := uri_of(path)) is None and uri.startswith("source/"):
            files.append(File.generated(config, uri, content=source_page(path)))
            waiting += parts(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  (MkDocs' names)
    """Point links at the pages of the site."""
    if page.file.src_uri.startswith(("source/", "api/")):
        return markdown
    folder = posixpath.dirname(page.file.src_uri) or "."
    return LINK.sub(lambda link: posixpath.relpath(uri_of(resolve(page.file, link[1])), folder), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Convert formulas to MathML, which browsers draw without a script or a font."""
    for formula in FORMULAS:
        content = formula.sub(lambda match: mathml(match[1]), content)
    return content


def on_post_build(config: MkDocsConfig) -> None:
    """Raise PluginError where a page loads something from elsewhere."""
    for path in sorted(Path(config.site_dir).rglob("*.html")):
        if outside := OUTSIDE.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.name} loads {outside[1]}; a page should load only files of the site")


def mathml(formula: str) -> str:
    """Convert TeX, escaped for HTML, to MathML.

    Raises:
        ValueError: a command of the formula is unknown.
    """
    converted = convert(html.unescape(formula))
    if unknown := re.search(r"\\\w+", converted):
        raise ValueError(f"the formula {formula} has the command {unknown[0]}, which latex2mathml does not know")
    return converted


def targets(file: File) -> list[Path]:
    """Return the files and folders of the repository to which a page links."""
    return [resolve(file, link) for link in LINK.findall(file.content_string)]


def resolve(file: File, link: str) -> Path:
    """Return the file or folder that a link on a page means."""
    origins = {uri: path for path, uri in PROJECT.items()}
    origin = origins.get(file.src_uri, f"docs/{file.src_uri}")
    return Path(os.path.normpath(ROOT / Path(origin).parent / link))


def uri_of(path: Path) -> str:
    """Return the source path of the page, or of the picture, that shows a file of the repository."""
    name = path.relative_to(ROOT).as_posix()
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return PROJECT.get(name, f"source/{name}/index.md" if path.is_dir() else f"source/{name}.md")


def parts(path: Path) -> list[Path]:
    """Return the files of a folder; none of a file."""
    return sorted(part for part in path.glob("*.*") if part.is_file()) if path.is_dir() else []


def source_page(path: Path) -> str:
    """Return a page with the text of a file, or with links to the files of a folder."""
    head = f"---\nsearch: {{exclude: true}}\nhide: [toc]\n---\n# {path.relative_to(ROOT).as_posix()}\n\n"
    if path.is_dir():
        return head + "\n".join(f"- [{part.name}]({part.name}.md)" for part in parts(path))
    return head + f"~~~~~{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8')}~~~~~\n"


def api_page(title: str, modules: list[str]) -> str:
    """Return a page with the docstrings of modules."""
    return f"# {title}\n\n" + "\n\n".join(f"::: {module}" for module in modules)


def api_index() -> str:
    """Return the first page of the API reference."""
    rows = [
        f"| [{title}]({name}.md) | {', '.join(f'`{module}`' for module in modules.split())} |"
        for name, (title, modules) in API.items()
    ]
    text = (
        "The public names of `ecgmtl` and of `data_prep` are imported from the package itself when they are first used."
    )
    return "\n".join(
        [
            "# API reference",
            "",
            f"{text} [Python](../python.md) shows them in use.",
            "",
            "| to | modules |",
            "|---|---|",
            *rows,
        ]
    )
