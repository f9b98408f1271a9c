"""What MkDocs does not do by itself: pages that stand elsewhere, the command line's help, and equations as MathML.

Nothing is copied, so that nothing goes stale, and no page fetches anything from elsewhere or needs JavaScript to show
an equation.
"""

import html
import os
import re
from pathlib import Path
from typing import Any

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent

# Pages of the site, by the files of the repository that they are.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/RESULTS.md": "performance.md",
    "examples/README.md": "examples/index.md",
}
EXAMPLES = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*.py"))]
PAGES |= {path: f"{path.removesuffix('.py')}.md" for path in EXAMPLES}
_SOURCES = {page: source for source, page in PAGES.items()}
_COMMAND_LINE = "reference/command-line.md"

_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")
_EQUATION = re.compile(r'<(span|div) class="arithmatex">(.*?)</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that no file in `docs/` holds."""
    for page, source in _SOURCES.items():
        if source in EXAMPLES:
            files.append(File.generated(config, page, content=script(ROOT / source)))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, _COMMAND_LINE, content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Let links between the repository's files, which are right where those stand, be right in the site."""
    own = page.file.src_uri
    source = _SOURCES.get(own, f"docs/{own}")
    return _LINK.sub(lambda link: f"{link[1]}{moved(link[2], source, own)}{link[3]}", markdown)


def on_page_content(content: str, **kwargs: Any) -> str:
    """Turn a page's equations into MathML, which browsers show by themselves."""
    return _EQUATION.sub(lambda found: mathml(html.unescape(found[2])), content)


def moved(link: str, source: str, page: str) -> str:
    """Return a relative link as it is from a page of the site.

    Args:
        link: The link, from the folder of `source`.
        source: The file that holds it, from the repository's root.
        page: The page that the file is, from the site's root.

    Returns:
        The link, from the folder of the page.
    """
    target = os.path.normpath(os.path.join(os.path.dirname(source), link))
    return os.path.relpath(PAGES.get(target, target.removeprefix("docs/")), os.path.dirname(page) or ".")


def script(path: Path) -> str:
    """Return the page of an example: the script as it stands."""
    return f"# {path.name}\n\n```python\n{path.read_text(encoding='utf-8')}```\n"


def mathml(latex: str) -> str:
    r"""Return an equation, written \(...\) or \[...\], as MathML; one that can't be read ends the build."""
    latex = latex.strip()
    kind = "block" if latex.startswith(r"\[") else "inline"
    return latex2mathml.converter.convert(latex[2:-2].strip(), display=kind)


def command_line() -> str:
    """Return the page of the command line: what `--help` says, of every command."""
    os.environ["COLUMNS"] = "84"  # argparse's own measure of a line
    from lpft_keras.cli import _parser

    parser = _parser()
    commands = next(action for action in parser._actions if action.dest == "command")
    parts = [
        "# Command line\n",
        "What `lpft-keras COMMAND --help` says, written when this site was built. Exit status: 0 done, 2 the input was "
        "wrong (one line says what and how to mend it), 1 anything else, 130 interrupted.\n",
        f"```text\n{parser.format_help()}```\n",
    ]
    parts += [f"## {name}\n\n```text\n{one.format_help()}```\n" for name, one in dict(commands.choices or {}).items()]
    return "\n".join(parts)
