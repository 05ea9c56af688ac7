"""A student that exists already: any checkpoint of a known family, under the task's head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from transformers import PreTrainedModel

from compress.anatomy.base import anatomy_of
from compress.core.errors import Fault, InputError
from compress.core.options import ModelSource
from compress.students.base import NOTHING, STUDENTS, Built, Given, StudentArchitecture
from compress.students.shape import architecture_facts
from compress.train.folder import load_model
from compress.train.source import check_folder, is_folder


@STUDENTS.register("checkpoint")
class CheckpointStudent(StudentArchitecture):
    """A published or earlier model as it is: MiniLM, a small BERT, the student of another task.

    Its body is kept. Its head is kept when it gives the teacher's labels in the teacher's order, and new otherwise.
    """

    name: ModelSource = Field(description="folder, hub name, or $step")
    revision: str | None = Field(None, description="commit, tag or branch of a hub name; give one to pin the weights")

    def shaped_by(self) -> str:
        """The checkpoint."""
        return self.name

    def files(self) -> list[Path]:
        """The local folder, when it is one."""
        folder = Path(self.name)
        return [folder] if not self.name.startswith("$") and folder.is_dir() else []

    def preflight(self) -> list[Fault]:
        """A folder that is not there or holds no model."""
        if self.name.startswith("$"):
            return []
        try:
            if is_folder(self.name):
                check_folder(Path(self.name))
        except InputError as error:
            return [Fault("name", str(error))]
        return []

    def build(self, teacher: PreTrainedModel, auto_class: type[Any], given: Given = NOTHING) -> Built:
        """Load it under the teacher's head. Raises InputError for a broken checkpoint or an unknown family.

        The tokenizer that comes with it is `Built.tokenizer`; whether it may differ from the teacher's is the step's
        business.
        """
        source = given.resolve(self.name)
        auto_name = auto_class.__name__
        labels = _labels(teacher, auto_name)
        loaded = load_model(source, auto_name, num_labels=len(labels) or None, revision=self.revision, fresh_head=True)
        student = loaded.model
        anatomy_of(student)
        drawn: PreTrainedModel | None = None
        if len(labels) > 1 and loaded.labels != labels and not loaded.missing:
            drawn = auto_class.from_config(student.config)
            drawn.base_model.load_state_dict(student.base_model.state_dict())
            student = drawn
        _name(student, teacher, labels)
        facts = {
            "shape": architecture_facts(student),
            "checkpoint": self.name,
            "commit": loaded.commit,
            "random": sorted(_parts(loaded.missing) if drawn is None else _outside(drawn)),
        }
        return Built(student, facts, loaded.tokenizer, source)


def _labels(teacher: PreTrainedModel, auto_name: str) -> list[str]:
    """The teacher's label names in index order; none for a vocabulary or a bare model."""
    if not auto_name.endswith(("SequenceClassification", "TokenClassification")):
        return []
    config: Any = teacher.config
    return [str(config.id2label[index]) for index in range(config.num_labels)]


def _name(student: PreTrainedModel, teacher: PreTrainedModel, labels: list[str]) -> None:
    if labels:
        student.config.id2label, student.config.label2id = teacher.config.id2label, teacher.config.label2id
        student.config.problem_type = teacher.config.problem_type


def _parts(names: list[str]) -> set[str]:
    return {name.rpartition(".")[0] or name for name in names}


def _outside(model: PreTrainedModel) -> set[str]:
    inside = f"{model.base_model_prefix}."
    return _parts([name for name, _ in model.named_parameters() if not name.startswith(inside)])
