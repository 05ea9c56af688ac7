"""A teacher that speaks from a store says what the live one says, and refuses what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.trace import Trace
from compress.distill.objective import Objective
from compress.distill.stored import StoredTeacher, check_signals
from compress.distill.teacher import LiveTeacher
from compress.losses.attention_mse import AttentionMSE
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.signals.arrays import form_of
from compress.signals.keep import Keep
from compress.signals.maker import Maker, looking, probe
from compress.signals.store import Facts, Signals, open_shards
from compress.tasks.classify import Classify
from compress.train.batches import Batch, Feature
from tests.models import tiny
from tests.signals.made import COLLATE, TASK, batch_of, keys_of, look_of, origin, rows, store_of

WANTED = Wanted(hidden=frozenset({0, 2}), attention=frozenset({2}), values=frozenset({1}), logits=True, embedding=True)


def live() -> LiveTeacher:
    return LiveTeacher(tiny("bert", layers=2), read=TASK.read, pool=TASK.pool)


def states(trace: Trace) -> dict[str, Tensor]:
    """Every array of a trace with padded positions at zero, since a live teacher says something there too."""
    found: dict[str, Any] = {"logits": trace.logits, "embedding": trace.embedding}
    for part in ("hidden", "queries", "keys", "values"):
        for layer, state in getattr(trace, part).items():
            real = trace.mask[:, :, None] if part == "hidden" else trace.mask[:, None, :, None]
            found[f"{part}.{layer}"] = state * real
    return found


def test_a_batch_from_the_store_is_the_live_trace(tmp_path: Path) -> None:
    """Rows in another order and with other neighbours than at labelling: a lookup by place would mix them up."""
    features = rows(24)
    stored, running = StoredTeacher(store_of(tmp_path, features)), live()
    stored.want(WANTED)
    running.want(WANTED)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(2)).tolist()
    for start in range(0, 24, 7):
        batch = batch_of([features[row] for row in order[start : start + 7]])
        one, two = states(stored.trace(batch)), states(running.trace(batch))
        assert one.keys() == two.keys()
        for name in one:
            assert one[name].shape == two[name].shape
            assert torch.allclose(one[name], two[name], atol=1e-6), name
    assert (stored.found, stored.missed) == (24, 0)
    assert stored.depth == running.depth and stored.width == running.width


def test_what_a_batch_says_of_its_rows_goes_on(tmp_path: Path) -> None:
    """Labels, groups and the outputs that count belong to the batch, not to the store."""
    features = rows(4)
    teacher = StoredTeacher(store_of(tmp_path, features, Keep()))
    teacher.want(Wanted())
    trace = teacher.trace(batch_of(features, groups=torch.tensor([0, 0, 1, 1])))
    assert trace.labels is not None and trace.labels.tolist() == [row["labels"] for row in features]
    assert trace.groups is not None and trace.outputs is not None and trace.depth == 2


def test_rows_that_are_missing_are_computed(tmp_path: Path) -> None:
    """Augmented and unlabelled rows come mixed with stored ones; each must get its own signals."""
    features, new = rows(6), rows(3, seed=9)
    mixed = [new[0], features[1], new[1], features[5], new[2]]
    stored, running = StoredTeacher(store_of(tmp_path, features), live=live()), live()
    stored.want(WANTED)
    running.want(WANTED)
    one, two = states(stored.trace(batch_of(mixed))), states(running.trace(batch_of(mixed)))
    assert all(torch.allclose(one[name], two[name], atol=1e-6) for name in two)
    assert (stored.found, stored.missed) == (2, 3)
    assert stored.measured()["rows_computed"] == 3


def test_rows_that_are_missing_are_refused_without_the_teacher(tmp_path: Path) -> None:
    """A row that silently gets zeros teaches the student zeros."""
    features, new = rows(6), rows(1, seed=9)
    teacher = StoredTeacher(store_of(tmp_path, features, Keep()), name="$labelled")
    teacher.want(Wanted())
    with pytest.raises(InputError, match=rf"\$labelled: 1 of 3 rows .*first: {len(new[0]['input_ids'])} tokens"):
        teacher.trace(batch_of([features[0], *new, features[1]]))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            Wanted(hidden=frozenset({1, 2}), logits=False),
            r"hold hidden 0, 2; a loss wants 1: .*keep: \{hidden: \[0, 1, 2",
        ),
        (Wanted(attention=frozenset({1}), logits=False), r"hold attention none; a loss wants 1"),
        (Wanted(), r"hold no logits, and a loss wants it: label again with keep: \{logits: true\}"),
        (Wanted(logits=False, embedding=True), "hold no embedding"),
    ],
)
def test_what_the_store_lacks_is_named(wanted: Wanted, words: str, tmp_path: Path) -> None:
    """A KeyError in the first batch says neither which layer nor what to do."""
    teacher = StoredTeacher(store_of(tmp_path, rows(3), Keep(logits=False, hidden=[0, 2])))
    with pytest.raises(InputError, match=words):
        teacher.want(wanted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher": "b" * 64}, "made with the teacher tttttttttttt..., and this step's is bbbbbbbbbbbb..."),
        ({"teacher": "hub/name@abc"}, "this step's is hub/name@abc"),
        ({"tokenizer": "b" * 64}, "made with the tokenizer kkkkkkkkkkkk"),
        ({"max_length": 64}, "made with the max_length 12, and this step's is 64"),
        ({"task": {"regress": {}}}, "made for the task classify, and this step's is regress"),
        (
            {"task": {"classify": {"pooling": "cls"}}},
            "made for the task classify, and this step's is classify pooling=cls",
        ),
    ],
)
def test_signals_of_something_else_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Another teacher's signals train a student without a complaint, to the wrong answers."""
    signals = store_of(tmp_path, rows(3), Keep())
    with pytest.raises(InputError, match=words):
        check_signals(signals, origin(**change), [LogitsKL()], "$labelled")
    check_signals(signals, origin(precision="bf16"), [LogitsKL()], "$labelled")
    if "task" in change:
        check_signals(signals, origin(**change), [HiddenMSE(), HardCE()], "$labelled")


def test_the_largest_logits_are_not_enough_for_every_loss(tmp_path: Path) -> None:
    """The mean squared error over logits that were filled in evenly would be a made-up number."""
    signals = store_of(tmp_path, rows(3), Keep(top=2), model=tiny("bert", layers=2, labels=5))
    check_signals(signals, origin(), [LogitsKL(), HardCE()], "$labelled")
    with pytest.raises(InputError, match=r"hold the 2 largest of 5 logits .*logits_mse needs all of them"):
        check_signals(signals, origin(), [LogitsKL(), LogitsMSE()], "$labelled")


def test_an_objective_gives_the_same_terms_from_the_store(tmp_path: Path) -> None:
    """Every kind of signal through every kind of loss, with unequal widths."""
    features = rows(8)
    signals: Signals = store_of(tmp_path, features)
    batch = batch_of(features[2:7])
    losses = [LogitsKL(), LogitsMSE(), HiddenMSE(map=[[0, 0], [1, 2]]), AttentionMSE(map=[[1, 2]])]
    terms = []
    for teacher in (live(), StoredTeacher(signals)):
        torch.manual_seed(3)
        objective = Objective(tiny("bert", layers=1, width=8), teacher, losses, read=TASK.read, pool=TASK.pool).eval()
        total, found = objective(batch)
        total.backward()
        terms.append({**found, "total": total.detach()})
        objective.close()
    assert terms[0].keys() == terms[1].keys()
    assert all(torch.allclose(terms[0][name], terms[1][name], rtol=1e-5) for name in terms[0])


class Spans(Classify):
    """Scores of tokens `[b, 2, s]`, as extractive answering has them, with a large negative number at padding."""

    fill: ClassVar[float] = -1e4

    def read(self, outputs: Any, batch: Mapping[str, Tensor]) -> Tensor:
        """Two numbers of each token's state."""
        raw = outputs.hidden_states[-1][..., :2].transpose(1, 2)
        return raw.masked_fill(batch["attention_mask"][:, None, :] == 0, self.fill)


@pytest.mark.parametrize("seen", [slice(None), slice(2, 3)])
def test_scores_of_tokens_keep_their_shape_and_their_filling(seen: slice, tmp_path: Path) -> None:
    """A softmax over tokens that sees zeros where padding is gives every short text another distribution, also when no
    row that decided the form was padded.
    """
    features, task = rows(12), Spans()
    model = tiny("bert", layers=2)
    model.config.output_hidden_states = True
    kept = Keep().of(2, "fp16")
    device = torch.device("cpu")
    with looking(
        model, kept.wanted, read=task.read, pool=task.pool, device=device, precision="fp32", longest=64
    ) as look:
        form = probe(look, COLLATE, features[seen], kept, task.fill)
        maker = Maker(tmp_path, origin(), kept, look, COLLATE, form, 5)
        names = maker.make(features, 12, "rows")
        batch = batch_of([features[7], features[2], features[11]])
        live = look(batch).logits
    assert form.tokens_last and form.fill == -1e4 and form.by_token == ["logits"]
    teacher = StoredTeacher(open_shards(tmp_path, names, Facts(origin(), kept, form, 2, 16)))
    teacher.want(Wanted())
    got = teacher.trace(batch).logits
    assert live is not None and got is not None and got.shape == live.shape
    assert torch.allclose(got, live, atol=1e-6)
    with pytest.raises(InputError, match="scores of tokens, all of which are kept"):
        form_of(Trace(mask=batch["attention_mask"].bool(), logits=live), Keep(top=1).of(2, "fp16"))


def test_two_texts_of_one_feature_are_two_rows(tmp_path: Path) -> None:
    """Pairs for embeddings stand in a batch as two rows; a key for each feature would lose the second text."""
    firsts, seconds = rows(6), rows(6, seed=5)
    pairs = [{**one, "second": two["input_ids"]} for one, two in zip(firsts, seconds, strict=True)]

    def collate(features: list[Feature], generator: torch.Generator) -> Batch:
        return COLLATE([row for one in features for row in ({**one}, {**one, "input_ids": one["second"]})], generator)

    kept = Keep().of(2, "fp16")
    with look_of(kept) as look:
        maker = Maker(tmp_path, origin(), kept, look, collate, probe(look, collate, pairs, kept), 2)
        names = maker.make(pairs, 6, "pairs")
    signals = open_shards(tmp_path, names, Facts(origin(), kept, maker.form, 2, 16))
    assert len(signals) == 12 and bool((signals.find(keys_of([*firsts, *seconds])) >= 0).all())
