"""A table of results, made once, and its forms: CSV, Markdown and LaTeX. `lpft_keras.tables` prints it on a terminal.

Names of tasks, shifted sets and backbones are the user's. Each form escapes them, so that no name is taken for markup,
for a command, or by a spreadsheet for a formula.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lpft_keras.markdown import escaped_markdown, one_line
from lpft_keras.storage import csv_cell


@dataclass(frozen=True)
class ResultTable:
    """A table as it is read, and its numbers as they are computed with.

    Attributes:
        title: What was measured.
        columns: Headings.
        rows: One string a column: names first, then numbers as they are shown; "" where there is none.
        notes: What a reader has to know.
        records: The numbers in full precision, one mapping a number, all with the same keys: what CSV and JSON hold.
            They make a data frame: `pandas.DataFrame(table.records)`.
        names: How many of the columns, from the left, are names.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    records: tuple[dict[str, Any], ...]
    names: int


def as_csv(tables: Sequence[ResultTable]) -> str:
    """Return the numbers of tables of one kind as CSV, one line a number, in full precision.

    Args:
        tables: What `result_tables` or `difference_table` gives.

    Returns:
        A header and lines. Numbers are fractions as in `metrics.json`; what has no value is empty. A name that a
        spreadsheet would run as a formula begins with an apostrophe.

    Example:
        >>> Path("results.csv").write_text(as_csv(result_tables(results)))
    """
    text = io.StringIO(newline="")
    records = [record for table in tables for record in table.records]
    writer = csv.DictWriter(text, records[0], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: csv_cell(value) for name, value in record.items()})
    return text.getvalue()


def as_markdown(tables: Sequence[ResultTable]) -> str:
    """Return tables in GitHub's Markdown.

    Args:
        tables: What `result_tables` gives, or `[difference_table(...)]`.

    Returns:
        A heading in bold, the table and its notes, of each.

    Example:
        >>> print(as_markdown(result_tables(results)))
    """
    return "\n".join(map(_markdown, tables))


def _markdown(table: ResultTable) -> str:
    numbers = len(table.columns) - table.names
    lines = [_markdown_row([escaped_markdown(name) for name in table.columns])]
    lines.append(_markdown_row([":--"] * table.names + ["--:"] * numbers))
    for row in table.rows:
        names = [escaped_markdown(name) for name in row[: table.names]]
        lines.append(_markdown_row([*names, *row[table.names :]]))
    notes = escaped_markdown("; ".join(table.notes))
    return f"**{escaped_markdown(table.title)}**\n\n" + "\n".join(lines) + f"\n\n{notes}\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def as_latex(tables: Sequence[ResultTable]) -> str:
    r"""Return tables in LaTeX, in the style of the package booktabs.

    Args:
        tables: What `result_tables` gives, or `[difference_table(...)]`.

    Returns:
        A `table` environment of each, for a document with `\usepackage{booktabs}`.

    Example:
        >>> print(as_latex(result_tables(results, paper=True)))
    """
    return "\n".join(map(_latex, tables))


def _latex(table: ResultTable) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped_latex('; '.join([table.title, *table.notes]))}}}",
        rf"\begin{{tabular}}{{{'l' * table.names}{'r' * (len(table.columns) - table.names)}}}",
        r"\toprule",
        _latex_row(map(escaped_latex, table.columns)),
        r"\midrule",
    ]
    for row in table.rows:
        names = [escaped_latex(name) for name in row[: table.names]]
        lines.append(_latex_row([*names, *map(_latex_number, row[table.names :])]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_number(text: str) -> str:
    """Return a number as mathematics, where a minus is one and powers of ten are raised."""
    powers = re.sub(r"e([+-]\d+)", lambda found: rf" \cdot 10^{{{int(found[1])}}}", text)
    return f"${powers}$".replace("±", r" \pm ") if text else ""


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    # After the end of a row these would be its arguments.
    "[": "{[}",
    "*": "{*}",
}


def escaped_latex(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_LATEX.get(sign, sign) for sign in one_line(text))
