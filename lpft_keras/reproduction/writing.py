"""Tables and figures that were made, written in every form: text, CSV, Markdown and LaTeX; PNG, SVG and PDF."""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lpft_keras.atomic import write_atomically
from lpft_keras.exhibits import Exhibit
from lpft_keras.figures import save_figure
from lpft_keras.report import ResultTable, as_csv, as_latex, as_markdown
from lpft_keras.report.cells import PAPERS_BACKBONE
from lpft_keras.report.rendering import escaped_latex
from lpft_keras.reproduction.making import Drawn
from lpft_keras.storage import slug, write_csv
from lpft_keras.tables import print_result_tables


def write_exhibit(
    folder: Path,
    name: str,
    exhibit: Exhibit,
    backbones: Sequence[str],
    tables: Sequence[ResultTable],
    figures: Sequence[Drawn],
) -> list[Path]:
    """Write an exhibit's files.

    Args:
        folder: Where to: in a folder of it named by the backbone, where there is one.
        name: What the files of its tables are called, without an ending.
        exhibit: Which it is.
        backbones: Of which backbones it was made.
        tables: Its tables, together in one file of each form.
        figures: Its figures, files of each.

    Returns:
        What was written.
    """
    used = list(dict.fromkeys(backbones))
    if used:
        folder = folder / (slug(used[0]) if len(used) == 1 else "several")
    written = []
    if tables:
        text = io.StringIO()
        text.write(f"{exhibit.title_in_full}\n\n")
        print_result_tables(tables, text)
        forms = {".txt": text.getvalue(), ".csv": as_csv(tables), ".md": as_markdown(tables), ".tex": as_latex(tables)}
        written += [_write_text(folder / f"{name}{ending}", content) for ending, content in forms.items()]
    for drawn in figures:
        stem = "-".join([exhibit.name, *map(slug, drawn.place)])
        for ending in (".png", ".svg", ".pdf"):
            save_figure(drawn.figure, folder / f"{stem}{ending}")
            written.append(folder / f"{stem}{ending}")
        write_csv(folder / f"{stem}.csv", drawn.records[0], drawn.records)
        caption = caption_in_full(exhibit, drawn, used)
        written.append(folder / f"{stem}.csv")
        written.append(_write_text(folder / f"{stem}.txt", f"{caption}\n"))
        written.append(_write_text(folder / f"{stem}.tex", _latex_figure(stem, caption)))
    return written


def caption_in_full(exhibit: Exhibit, drawn: Drawn, backbones: Sequence[str]) -> str:
    """Return a figure's caption, with what it is made of, and that the paper's is of another backbone."""
    other = exhibit.in_paper and any(backbone != PAPERS_BACKBONE for backbone in backbones)
    of_paper = " The paper's figure is of RoBERTa-base." if other else ""
    return f"{exhibit.title_in_full} ({', '.join(drawn.place)}; {', '.join(backbones)}). {drawn.caption}{of_paper}"


def _latex_figure(stem: str, caption: str) -> str:
    lines = [
        r"\begin{figure}",
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{stem}.pdf}}",
        rf"\caption{{{escaped_latex(caption)}}}",
        r"\end{figure}",
    ]
    return "\n".join(lines) + "\n"


def _write_text(path: Path, content: str) -> Path:
    write_atomically(path, partial(_write, content.encode()))
    return path


def _write(content: bytes, file: Any) -> None:
    file.write(content)
