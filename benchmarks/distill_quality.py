"""What students keep on five tasks: half depth and two layers, each with and without a teacher.

    python -m benchmarks.distill_quality --data DATA --body MODEL [--tasks mrpc stsb ...] [--seeds 1 2 3] [--out runs]

Purpose: the tasks of docs/results.md. DATA holds the folders that TASKS names; MODEL is a BERT body of six layers. Each
task has one teacher (its seed is fixed); every seed trains four students from it, those with a teacher also on texts
that it is asked about (TASKS, `distill_words.py`), once for all of them. The score is the task's main metric on dev (on
test where the data has no dev: dev is then cut from train); dev picks the best evaluation of each training and nothing
else. Finished steps are skipped, so a broken run goes on; `--collect` only reads. Writes results/distill_quality.json,
where a task of which OUT has nothing keeps the rows of an earlier run, which say so; tasks that
have never been run, or with one seed only, are claims that are not met.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import yaml

from benchmarks.claims import claim
from benchmarks.distill_words import write_words
from benchmarks.fan_out import add_jobs, fan_out
from benchmarks.record import record, with_earlier
from benchmarks.seeds import over, over_seeds
from compress.pipeline.recipe import Recipe, parse_recipe
from compress.pipeline.run import run

ROOT = Path(__file__).resolve().parents[1]
STUDENTS = ("half", "half-alone", "two", "two-alone")
CARVE = 0.1
# Source and task of each data set; epochs of its teacher, of students without one and of students with one; longest
# input; what else the teacher is asked about: new texts (`augment`, copies of each row), or sentences of other texts;
# rate: that of its students, with a teacher and without.
TASKS: dict[str, dict[str, Any]] = {
    "sst2": {
        "source": {"jsonl": {"path": "sst2"}}, "task": {"classify": {}}, "labels": ["negative", "positive"],
        "metric": "accuracy", "split": "dev", "epochs": (1, 2, 1), "max_length": 64,
        "more": {"methods": ["joined", "ngrams"], "copies": 4},
    },
    "mrpc": {
        "source": {"jsonl": {"path": "mrpc"}}, "task": {"classify": {"text": "text_a", "text_pair": "text_b"}},
        "metric": "accuracy", "split": "dev", "epochs": (4, 8, 3), "max_length": 128,
        "more": {"methods": ["ngrams"], "copies": 16},
    },
    "stsb": {
        "source": {"jsonl": {"path": "stsb"}}, "task": {"regress": {"text": "text_a", "text_pair": "text_b"}},
        "metric": "spearman", "split": "dev", "epochs": (4, 8, 3), "max_length": 128,
        "more": {"methods": ["ngrams"], "copies": 16},
    },
    "conll2000": {
        "source": {"jsonl": {"path": "conll2000"}}, "task": {"tag": {}}, "dev_share": CARVE,
        "metric": "f1", "split": "test", "epochs": (3, 6, 4), "max_length": 128, "words": True, "rate": 3e-4,
    },
    "squad": {
        "source": {"squad": {"path": "squad"}}, "task": {"answer": {}},
        "metric": "f1", "split": "dev", "epochs": (3, 4, 8), "max_length": 256,
    },
}  # fmt: skip
HARD = {"regress": ["hard_mse"]}
# Which of the student's states learn from which of the teacher's.
STATES = {"half": [[1, 2], [2, 4], [3, 6]], "two": [[1, 3], [2, 6]]}
SOFT = {"regress": [{"logits_mse": {}}]}
RATE = 1e-4  # of students, where TASKS has none
TARGETS = {"half": ">= 99.5", "two": ">= 97"}
Row = dict[str, Any]


def main() -> None:
    """Run what is not finished, then collect."""
    options = arguments()
    if not options.collect:
        recipes = [recipe(name, seed, options) for name in options.tasks for seed in options.seeds]
        fan_out(recipes, options.out, options.jobs)
        for seed in options.seeds:
            for name in options.tasks:
                run_recipe(name, seed, options)
    rows = with_earlier("distill_quality", rows_of(options), "task", list(TASKS))
    for row in rows:
        print({key: value for key, value in row.items() if key != "by_seed"})
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    print(record("distill_quality", seeds, rows, claims(rows), machine(options)).relative_to(ROOT))


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--body", required=True, help="folder of the pretrained body")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASKS), default=list(TASKS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=ROOT / "runs")
    add_jobs(parser)
    parser.add_argument("--collect", action="store_true", help="run nothing, read finished runs")
    return parser.parse_args(given)


def recipe_of(name: str, data: Path, body: str, words: Path) -> dict[str, Any]:
    """The recipe of one task, as YAML would say it. words: a file of sentences without tags."""
    facts = TASKS[name]
    ((kind, options),) = facts["source"].items()
    ((task, _),) = facts["task"].items()
    source = {kind: {**options, "path": str(data / options["path"])}}
    if "words" in facts:
        untagged = {"source": {"jsonl": {"unlabeled": str(words)}}, "into": "unlabeled"}
        source = {"mix": {"parts": [{"source": source}, untagged]}}
    prepare = {"source": source, "task": facts["task"], "seed": 13}
    prepare |= {key: facts[key] for key in ("labels", "dev_share") if key in facts}
    teaching, alone, told = facts["epochs"]
    common = {"batch_size": 32, "max_length": facts["max_length"], "evaluate_per_epoch": 2}
    soft = SOFT.get(task, [{"logits_kl": {"temperature": 2}}])
    steps: dict[str, Any] = {
        "corpus": {"prepare": prepare},
        "teacher": {"teach": {**common, "corpus": "$corpus", "model": {"pretrained": {"name": body}}, "mode": "full",
                              "seed": 13, "epochs": teaching, "learning_rate": 5e-5}},
    }  # fmt: skip
    if "more" in facts:
        steps["more"] = {"augment": {"corpus": "$corpus", "seed": 13, **facts["more"]}}
    text = "$more" if "more" in facts else "$corpus"
    keep = {"logits": True, "hidden": sorted({theirs for pairs in STATES.values() for _, theirs in pairs})}
    asked = {"corpus": text, "teacher": "$teacher", "keep": keep, "max_length": facts["max_length"]}
    steps["said"] = {"label": asked}  # once for all students and seeds
    for shape, layers in (("half", "half"), ("two", 2)):
        student = {"distilbert": {"layers": layers, "dropout": 0}}
        rest = {**common, "learning_rate": facts.get("rate", RATE), "student": student}
        losses = [*soft, {"hidden_mse": {"map": STATES[shape], "embeddings": False}}]
        steps[shape] = {"distill": {**rest, "corpus": text, "teacher": "$teacher", "signals": "$said", "losses": losses,
                                    "epochs": told}}  # fmt: skip
        steps[f"{shape}-alone"] = {"distill": {**rest, "corpus": "$corpus", "teacher": body, "epochs": alone,
                                               "losses": HARD.get(task, ["hard_ce"])}}  # fmt: skip
    return {"seed": 1, "steps": steps}


def folder(name: str, seed: int, options: argparse.Namespace) -> Path:
    """The run folder of a task and seed."""
    out: Path = options.out
    return out / f"quality-{name}-{seed}"


def recipe(name: str, seed: int, options: argparse.Namespace) -> Recipe:
    """The checked recipe of one task and seed."""
    words = options.out / "quality-words.jsonl"
    if "words" in TASKS[name]:
        write_words(options.data, words)
    asked = {**recipe_of(name, options.data, options.body, words), "seed": seed}
    return parse_recipe(yaml.safe_dump(asked, sort_keys=False))


def run_recipe(name: str, seed: int, options: argparse.Namespace) -> None:
    """All four students of one task and seed; the teacher is taken from the shared store of runs."""
    run(recipe(name, seed, options), folder(name, seed, options))


def finished(name: str, options: argparse.Namespace) -> list[int]:
    """The seeds of which every student is there."""
    return [s for s in options.seeds if all((folder(name, s, options) / one).is_dir() for one in STUDENTS)]


def scores(name: str, step: str, options: argparse.Namespace) -> list[float]:
    """The main metric in per cent, by finished seed."""
    found = []
    for seed in finished(name, options):
        text = (folder(name, seed, options) / step / "manifest.json").read_text(encoding="utf-8")
        found.append(100 * float(json.loads(text)["measured"][TASKS[name]["split"]][TASKS[name]["metric"]]))
    return found


def rows_of(options: argparse.Namespace) -> list[Row]:
    """The rows of every task that has finished runs."""
    return [row for name in TASKS for row in table(name, options)]


def table(name: str, options: argparse.Namespace) -> list[Row]:
    """One row for each model of a task that has finished runs."""
    teacher = scores(name, "teacher", options)
    rows = []
    for step in ("teacher", *STUDENTS) if teacher else ():
        values = scores(name, step, options)
        kept = [100 * mine / theirs for mine, theirs in zip(values, teacher, strict=True)]
        rows.append(
            {"task": name, "metric": TASKS[name]["metric"], "split": TASKS[name]["split"], "model": step,
             "score": round(statistics.mean(values), 2), "kept": round(statistics.mean(kept), 2),
             "kept_interval": over_seeds(kept), "seeds": finished(name, options), "by_seed": values}
        )  # fmt: skip
    return rows


def claims(rows: list[Row]) -> list[dict[str, Any]]:
    """Seeds, and for every task and shape the share of the teacher and the gain over the same without one."""
    found = {(row["task"], row["model"]): row["by_seed"] for row in rows}
    made = [claim("seeds", min(len(found.get((name, "teacher"), [])) for name in TASKS), ">= 3")]
    for name in TASKS:
        by_seed = {step: found.get((name, step), []) for step in ("teacher", *STUDENTS)}
        for shape, target in TARGETS.items():
            kept = [100 * mine / theirs for mine, theirs in zip(by_seed[shape], by_seed["teacher"], strict=True)]
            gain = [mine - theirs for mine, theirs in zip(by_seed[shape], by_seed[f"{shape}-alone"], strict=True)]
            made.append(over(f"{name}, {shape}: share of the teacher", kept, target, "%"))
            made.append(over(f"{name}, {shape}: above the same without a teacher", gain, "> 0", "points"))
    return made


def machine(options: argparse.Namespace) -> dict[str, Any] | None:
    """The environment that the first finished run was made in."""
    for name in TASKS:
        for seed in finished(name, options):
            text = (folder(name, seed, options) / "half" / "manifest.json").read_text(encoding="utf-8")
            found: dict[str, Any] = json.loads(text)["environment"]
            return found
    return None


if __name__ == "__main__":
    main()
