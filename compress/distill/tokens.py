"""Which tokenizer a student has, and what it makes of the teacher's embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from compress.core.reporter import Reporter
from compress.corpora.corpus import Corpus
from compress.corpora.running_text import corpus_texts
from compress.corpora.tokenizers.base import TokenizerTraining
from compress.distill.align import Interpreter
from compress.distill.checks import check_vocabulary
from compress.distill.embeddings import check_padding, with_vocabulary
from compress.distill.spelling import same_tokens
from compress.tasks.base import Task
from compress.train.facts import model_inputs
from compress.train.folder import Loaded
from compress.train.tokenizers import load_tokenizer


@dataclass
class StudentTokens:
    """A student's tokenizer. own: whether it differs from the teacher's. facts: for the manifest, empty if not own."""

    tokenizer: Any
    own: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def source_of(self, teacher: Loaded) -> PreTrainedModel:
        """The model that the student is built from: the teacher, with embeddings of the student's tokens."""
        if not self.own:
            return teacher.model
        model, found = with_vocabulary(teacher.model, teacher.tokenizer, self.tokenizer)
        self.facts["embeddings"] = found
        return model

    def settle(self, student: PreTrainedModel, inherited: dict[str, Any]) -> None:
        """Have the tokenizer give what the built student reads, and say so if it took no embeddings over.

        Raises InputError for a padding id that the student's family cannot work with.
        """
        if self.own:
            check_padding(student, self.tokenizer)
            self.tokenizer.model_input_names = model_inputs(student, self.tokenizer)
            if "embeddings" not in inherited:
                self.facts.pop("embeddings", None)

    def interpreter(
        self, task: Task, teacher: Any, corpus: Corpus, lengths: tuple[int, int], reporter: Reporter
    ) -> Interpreter | None:
        """What joins the teacher's tokens to the student's; None when they are the same. Looks at how well they fit.

        teacher: its tokenizer. lengths: the longest inputs of student and teacher in tokens.
        """
        if not self.own:
            return None
        max_length, longest = lengths
        found = Interpreter(task, self.tokenizer, teacher, longest)
        self.facts["fit"] = found.check(corpus.texts("train"), max_length, reporter)
        return found


def student_tokens(
    choice: TokenizerTraining | str | None,
    teacher: Loaded,
    start: Loaded | None,
    corpus: Corpus,
    *,
    resolve: Callable[[str], str],
    words: bool,
    max_length: int,
    source: str,
) -> StudentTokens:
    """The student's tokenizer: what `tokenizer:` says, else the start's, else the teacher's.

    words: whether the task gives it words one by one. source: the start, for errors. Raises InputError when `tokenizer`
    and `start` are of different vocabularies.
    """
    if choice is None:
        if start is None or start.tokenizer.get_vocab() == teacher.tokenizer.get_vocab():
            return StudentTokens(teacher.tokenizer)
        return tokens_of(start.tokenizer, f"the start's ({source})", teacher)
    if isinstance(choice, str):
        tokenizer, said = load_tokenizer(resolve(choice), words=words), choice
    else:
        tokenizer, said = choice.train(corpus_texts(corpus), max_length), choice.registered_name
    if start is not None:
        check_vocabulary(start.tokenizer, tokenizer, source)
    return tokens_of(tokenizer, said, teacher)


def tokens_of(tokenizer: Any, said: str, teacher: Loaded) -> StudentTokens:
    """This tokenizer for a student, or the teacher's when both give the same tokens. said: where it came from."""
    if same_tokens(tokenizer, teacher.tokenizer):
        return StudentTokens(teacher.tokenizer)
    facts = {"from": said, "vocabulary": len(tokenizer), "teacher_vocabulary": len(teacher.tokenizer)}
    return StudentTokens(tokenizer, True, facts)
