"""Write the tables of README.md and docs/results.md from results/*.json, between markers that name file and columns.

    python -m benchmarks.readme           rewrite
    python -m benchmarks.readme --check   only say whether it is up to date (exit code 1 when not)

`<!-- rows quickstart: model, accuracy=accuracy %, size_mb=MB -->` ... `<!-- end -->` holds the rows of
results/quickstart.json with those columns (`key=title`); `<!-- claims sst2 -->` ... `<!-- end -->` its claims.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from benchmarks.claims import RESULTS, number, read
from benchmarks.show import measured

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
_BLOCK = re.compile(r"(<!-- (rows|claims) ([\w-]+)(?:: ([^\n]*?))? -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite the pages, or check them."""
    stale = [page for page in PAGES if page.read_text(encoding="utf-8") != made(page)]
    if "--check" in sys.argv[1:]:
        names = " and ".join(page.name for page in stale)
        sys.exit(f"{names}: not what results/ say; run `make results`" if stale else 0)
    for page in stale:
        page.write_text(made(page), encoding="utf-8")
        print(f"{page.relative_to(ROOT)}: tables written anew")


def made(page: Path) -> str:
    """The page with its tables as the results say."""
    return filled(page.read_text(encoding="utf-8"))


def filled(text: str, folder: Path = RESULTS) -> str:
    """The text with every block made from its results file; a block whose file is not there stays as it is."""

    def fill(block: re.Match[str]) -> str:
        path = folder / f"{block[3]}.json"
        if not path.is_file():
            return block[0]
        document = read(path)
        body = (
            claims_table(document["claims"]) if block[2] == "claims" else rows_table(document["rows"], block[4] or "")
        )
        return f"{block[1]}{body}{source(document)}{block[5]}"

    return _BLOCK.sub(fill, text)


def rows_table(rows: list[dict[str, Any]], columns: str) -> str:
    """A Markdown table of rows. `columns`: `key` or `key=title`, comma-separated; all keys of the first row without."""
    names = [part.strip().partition("=") for part in columns.split(",") if part.strip()]
    keys = [(key, title or key.replace("_", " ")) for key, _, title in names] or [(key, key) for key in rows[0]]
    aligned = ["---" if isinstance(rows[0].get(key), str) else "---:" for key, _ in keys]
    body = [[cell(row.get(key)) for key, _ in keys] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in ([title for _, title in keys], aligned, *body))


def claims_table(claims: list[dict[str, Any]]) -> str:
    """A Markdown table of claims."""
    body = [[c["name"], c["target"], measured(c), "met" if c["met"] else "**short**"] for c in claims]
    lines = [["claim", "target", "measured", ""], ["---", "---", "---", "---"], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(value: Any) -> str:
    """A text as it is, a number in four digits, an interval in brackets, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return f"[{', '.join(map(cell, value))}]"
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def source(document: dict[str, Any]) -> str:
    """The line under a table: machine, GPU, what was timed elsewhere, date, commit."""
    machine = document["machine"]
    facts = place(machine) if isinstance(machine, dict) else [machine]
    if isinstance(machine, dict) and "speed" in machine:
        facts.append(f"timed on {', '.join(place(machine['speed']))}")
    commit = f"commit {document['commit']}" if document["commit"] else ""
    told = " · ".join(str(fact) for fact in (*facts, document["date"], commit) if fact)
    return f"\n<sub>{told} · `benchmarks/results/{document['benchmark']}.json`</sub>\n"


def place(machine: dict[str, Any]) -> list[str]:
    """CPU, cores and GPUs of an environment."""
    return [str(machine.get("cpu")), f"{machine.get('cores')} cores", *machine.get("gpu", [])]


if __name__ == "__main__":
    main()
