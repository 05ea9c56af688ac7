"""A teacher with another tokenizer: nothing changes where both are the same, and nothing is compared that differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.anatomy.capture import Wanted
from compress.core.errors import InputError
from compress.core.reporter import Reporter
from compress.core.trace import Trace
from compress.distill.align import OWN, Interpreter
from compress.distill.objective import Objective
from compress.distill.pooling import LOWEST, averaging, on_spans
from compress.distill.spans import shared_spans
from compress.distill.teacher import LiveTeacher
from compress.losses.attention_mse import AttentionMSE
from compress.losses.base import Loss
from compress.losses.hard_ce import HardCE
from compress.losses.hidden_cosine import HiddenCosine
from compress.losses.hidden_mse import HiddenMSE
from compress.losses.logits_kl import LogitsKL
from compress.losses.logits_mse import LogitsMSE
from compress.tasks.answer import Answer
from compress.tasks.base import Task
from compress.tasks.classify import Classify
from compress.tasks.embed import Embed
from compress.tasks.features import collator, encode_rows
from compress.tasks.mask import Mask
from compress.tasks.tag import Tag
from tests.distill.tokens import byte_pieces, reader, reading, word_pieces

LONGEST = 16
POSITIONS: tuple[Loss, ...] = (HiddenMSE(), HiddenCosine(), AttentionMSE())
PAIRS: list[dict[str, Any]] = [
    {"text": "Playing a café 😀", "text_pair": "the world!", "label": 0},
    {"text": "a  b", "text_pair": "don't", "label": 2},
]
TAGGED: list[dict[str, Any]] = [
    {"tokens": ["Playing", "a", "café"], "tags": [0, 1, 2]},
    {"tokens": ["don't", "\u0000", "stop", "the", "world"], "tags": [2, 1, 0, 1, 2]},
]
TEXTS: list[dict[str, Any]] = [{"text": "Playing a cafe was lovely"}, {"text": "the world stop"}]
ASKED: list[dict[str, Any]] = [
    {
        "question": "the cafe", "context": "Playing a cafe was lovely the world don't stop a b c",
        "answers": [{"text": "cafe", "answer_start": 10}],
    },
    {"question": "a", "context": "the world", "answers": [{"text": "world", "answer_start": 4}]},
]  # fmt: skip
ROWS: list[tuple[Task, str, list[dict[str, Any]], tuple[Loss, ...]]] = [
    (Classify(text_pair="text_pair"), "classify", PAIRS, (LogitsKL(), LogitsMSE(), HardCE(), *POSITIONS)),
    (Tag(), "tag", TAGGED, (LogitsKL(), HardCE(), *POSITIONS)),
    (Mask(share=0.5), "mask", TEXTS, (HardCE(), *POSITIONS)),
    (Answer(), "answer", ASKED, (LogitsKL(), LogitsMSE(), HardCE(), *POSITIONS)),
]
NAMES = ["classify", "tag", "mask", "answer"]


class Ears(Reporter):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


STATES = Wanted(hidden=frozenset({1}))


def aligned(
    task: Task, mine: Any, theirs: Any, rows: Sequence[dict[str, Any]], wanted: Wanted = STATES, limit: int = LONGEST
) -> tuple[Interpreter, dict[str, Tensor]]:
    """An interpreter and its batch of the rows."""
    interpreter = Interpreter(task, mine, theirs, LONGEST)
    features = interpreter.paired(rows, limit, wanted)
    collate = interpreter.pairing(collator(task, mine.pad_token_id))
    return interpreter, collate(features, torch.Generator().manual_seed(3))


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(("task", "head", "rows", "losses"), ROWS, ids=NAMES)
def test_equal_tokenizers_give_the_losses_of_one(
    task: Task, head: str, rows: list[dict[str, Any]], losses: tuple[Loss, ...], family: str
) -> None:
    """Prevents an alignment that changes a loss: with the same tokenizer on both sides every value stays."""
    tokenizer = word_pieces() if family == "bert" else byte_pieces()
    student = reader(tokenizer, family, layers=2, width=8, head=head)
    teacher = reader(tokenizer, family, head=head)
    plain = collator(task, tokenizer.pad_token_id)(
        encode_rows(task, tokenizer, rows, LONGEST), torch.Generator().manual_seed(3)
    )
    interpreter, batch = aligned(task, tokenizer, tokenizer, rows)
    values = []
    for given in (plain, batch):
        live = LiveTeacher(teacher, read=task.read, pool=task.pool)
        told = live if given is plain else interpreter.teacher(live)
        torch.manual_seed(1)  # the projections
        objective = Objective(student, told, losses, read=task.read, pool=task.pool).eval()
        values.append({name: float(term) for name, term in objective(given)[1].items()})
        objective.close()
    assert values[0] == pytest.approx(values[1], rel=1e-6, abs=1e-6)


def both_ways(task: Task, head: str, losses: Sequence[Loss]) -> tuple[Any, Any, Objective]:
    """A WordPiece student under a byte-level teacher."""
    mine, theirs = word_pieces(), byte_pieces()
    student = reader(mine, "bert", layers=2, width=8, head=head)
    live = LiveTeacher(reader(theirs, "roberta", head=head), read=task.read)
    teacher = Interpreter(task, mine, theirs, LONGEST).teacher(live)
    return mine, theirs, Objective(student, teacher, losses, read=task.read).eval()


@pytest.mark.parametrize(("task", "head", "rows", "losses"), ROWS, ids=NAMES)
def test_padding_never_counts(task: Task, head: str, rows: list[dict[str, Any]], losses: tuple[Loss, ...]) -> None:
    """Prevents padding of either side in a span: other ids there change nothing, and every parameter still learns."""
    mine, theirs, objective = both_ways(task, head, losses)
    _, batch = aligned(task, mine, theirs, rows)
    total, terms = objective(batch)
    for ids, mask in (("input_ids", "attention_mask"), (f"{OWN}input_ids", f"{OWN}attention_mask")):
        assert (batch[mask] == 0).any()
        batch[ids] = torch.where(batch[mask] == 0, 7, batch[ids])
    again, _ = objective(batch)
    assert again.item() == pytest.approx(total.item(), rel=1e-6)
    assert all(bool(term.isfinite()) for term in terms.values())
    total.backward()
    assert all(weight.grad is not None for weight in objective.projections.parameters())


def test_words_that_both_saw_are_compared() -> None:
    """Prevents logits of different words beside each other: cut words and words without tokens are left out."""
    mine, theirs = word_pieces(), byte_pieces()
    _, batch = aligned(Tag(), mine, theirs, TAGGED, limit=8)
    # Row 2 of the student: [CLS] don ' t stop the world [SEP] has no token for the control character (word 1).
    assert batch["outputs"].sum(1).tolist() == [3, 4]
    # The teacher's 16 tokens end inside "world" (word 4); it reads word 1, which the student does not.
    assert batch[f"{OWN}words_mine"].nonzero().tolist() == [[0, 1], [0, 3], [0, 4], [1, 1], [1, 4], [1, 5], [1, 6]]
    theirs_ids = batch[f"{OWN}input_ids"][batch[f"{OWN}words_theirs"]]
    assert theirs.convert_ids_to_tokens(theirs_ids.tolist()) == ["ĠPlay", "Ġa", "Ġ", "Ġ", "Ġ", "Ġthe", "Ġ"]
    _, short = aligned(Tag(), mine, theirs, TAGGED, limit=6)
    assert short[f"{OWN}words_mine"].sum(1).tolist() == short[f"{OWN}words_theirs"].sum(1).tolist() == [3, 2]


def test_what_is_hidden_from_the_student_is_hidden_from_the_teacher() -> None:
    """Prevents a teacher that reads the masked words: every token of a span with a hidden one is its mask token."""
    mine, theirs = word_pieces(), byte_pieces()
    rows = [{"text": "the cafe was lovely the world was a cafe"}]
    _, batch = aligned(Mask(share=0.9), mine, theirs, rows)
    spans, own = batch[f"{OWN}spans_mine"][0], batch[f"{OWN}input_ids"][0]
    plain = torch.tensor(theirs(rows[0]["text"], truncation=True, max_length=LONGEST)["input_ids"])
    hidden = set(spans[batch["input_ids"][0] == mine.mask_token_id].tolist())
    changed = set(spans[batch["input_ids"][0] != torch.tensor(mine(rows[0]["text"])["input_ids"])].tolist())
    hidden.discard(-1), changed.discard(-1)  # what the teacher's 16 tokens do not reach
    assert len(hidden) > 2
    for place, span in enumerate(batch[f"{OWN}spans_theirs"][0].tolist()):
        assert (own[place] == theirs.mask_token_id) == (span in hidden)
        assert span in changed or own[place] == plain[place]


def test_logits_over_vocabularies_are_refused() -> None:
    """Prevents token 7 of one vocabulary from being compared with token 7 of another."""
    with pytest.raises(InputError, match="different vocabularies"):
        both_ways(Mask(), "mask", [LogitsKL()])


def test_a_span_is_the_mean_of_its_tokens() -> None:
    """Prevents sums for means, and attention that is not the mean of q k^T over the token pairs of two spans."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, 4, 3, generator=draw)
    queries, keys = torch.randn(2, 1, 2, 4, 5, generator=draw)
    mask = torch.tensor([[True, True]])
    weights = averaging(torch.tensor([[0, 1, 1, -1]]), 2)
    trace = Trace(mask=torch.ones(1, 4).bool(), hidden={1: hidden}, queries={1: queries}, keys={1: keys}, depth=1)
    moved = on_spans(trace, weights, mask)
    torch.testing.assert_close(moved.hidden_at(1), torch.stack([hidden[:, 0], hidden[:, 1:3].mean(1)], 1))
    scores = trace.attention_scores(1)
    torch.testing.assert_close(moved.attention_scores(1)[0, :, 0, 1], scores[0, :, 0, 1:3].mean(-1))
    torch.testing.assert_close(moved.attention_scores(1)[0, :, 1, 1], scores[0, :, 1:3, 1:3].mean((-1, -2)))
    assert moved.mask is mask


def test_scores_of_tokens_become_probabilities_of_spans() -> None:
    """Prevents a span of three tokens from losing to one: probabilities add up; where none is allowed none arises."""
    logits = torch.tensor([[[2.0, 1.0, 0.5, LOWEST, LOWEST, LOWEST]]])
    mask = torch.tensor([[True, True, True, True, False]])
    trace = Trace(mask=torch.ones(1, 6).bool(), logits=logits)
    weights = averaging(torch.tensor([[0, 1, 1, 2, 2, 3]]), 5)
    found = on_spans(trace, weights, mask, over_tokens=True).logits
    assert found is not None
    expected = logits.softmax(-1)[0, 0]
    torch.testing.assert_close(found.softmax(-1)[0, 0, :2], torch.stack([expected[0], expected[1:3].sum()]))
    assert found[0, 0, 2:].tolist() == [LOWEST] * 3


def test_texts_need_no_spans() -> None:
    """Prevents the cost of an alignment where whole texts are compared; the teacher still reads its own tokens."""
    mine, theirs = word_pieces(), byte_pieces()
    interpreter, batch = aligned(Classify(text_pair="text_pair"), mine, theirs, PAIRS, Wanted(embedding=True))
    assert f"{OWN}spans" not in batch and f"{OWN}input_ids" in batch
    assert not interpreter.compares_tokens(Wanted(logits=True)) and interpreter.compares_tokens(
        Wanted(values=frozenset({1}))
    )


def test_pairs_of_texts_are_rows_of_their_own() -> None:
    """Prevents a second text beside the teacher's first one, and spans of one text laid over another."""
    mine, theirs = word_pieces(), byte_pieces()
    task, rows = (
        Embed(text_pair="text_pair"),
        [{"text": "a", "text_pair": "the world"}, {"text": "b", "text_pair": "c"}],
    )
    _, batch = aligned(task, mine, theirs, rows, Wanted(logits=False, embedding=True))
    assert mine.batch_decode(batch["input_ids"], skip_special_tokens=True) == ["a", "the world", "b", "c"]
    told = theirs.batch_decode(batch[f"{OWN}input_ids"], skip_special_tokens=True)
    assert [text.strip() for text in told] == ["a", "the world", "b", "c"]
    assert f"{OWN}spans" not in batch


def test_each_text_of_a_pair_has_its_own_spans() -> None:
    """Prevents spans of one text laid over another where states of pairs are compared, and of a text that is alone."""
    mine, theirs = word_pieces(), byte_pieces()
    rows = [{"text": "a", "text_pair": "the world"}, {"text": "playing", "text_pair": None}]
    _, batch = aligned(Embed(text_pair="text_pair"), mine, theirs, rows)
    for row, text in enumerate(("a", "the world", "playing")):
        one, two = reading(mine, text), reading(theirs, text)
        spans = shared_spans(one, two)
        assert batch[f"{OWN}spans_mine"][row, : len(one.ids)].tolist() == spans.mine
        assert batch[f"{OWN}spans_theirs"][row, : len(two.ids)].tolist() == spans.theirs
        assert int(batch[f"{OWN}spans"][row].sum()) == spans.count
    assert batch[f"{OWN}spans"].shape[0] == 3


def test_how_well_two_tokenizers_fit() -> None:
    """Prevents a student that sees nothing but unknown tokens, and a poor fit that nobody is told of."""
    mine, theirs, ears = word_pieces(), byte_pieces(), Ears()
    good = [{"text": "the world was lovely", "label": 0}] * 3
    assert Interpreter(Classify(), mine, theirs, 64).check(good, LONGEST, ears)["characters"] == 1.0
    assert ears.warnings == []
    half = [{"text": "the world xyzzy", "label": 0}]
    assert Interpreter(Classify(), mine, theirs, 64).check(half, LONGEST, ears)["characters"] < 0.9
    assert "61.5%" in ears.warnings[0]
    with pytest.raises(InputError, match="made for other text"):
        Interpreter(Classify(), mine, theirs, 64).check([{"text": "мир прекрасен", "label": 0}], LONGEST, ears)
