"""What `import compress` does to the Auto classes: in whatever order, once, and nothing else."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModel
from transformers.models.auto import configuration_auto, modeling_auto

from compress.shapes import auto, hook
from compress.shapes.auto import WATCHED, Asked, register
from compress.shapes.hook import Watcher, install
from compress.shapes.settle import settle
from tests.runtime.tiny import LABELS, model_of, word_piece
from tests.shapes.carved import carve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uneven BERT with its tokenizer."""
    place = tmp_path_factory.mktemp("uneven")
    tokenizer = word_piece()
    settle(carve(model_of("bert", "classify", tokenizer, LABELS["classify"]))).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def run(code: str, folder: Path) -> str:
    """What a process of its own prints; `folder` is the model's."""
    text = f"folder = {str(folder)!r}\n{textwrap.dedent(code)}"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_compress_before_transformers(folder: Path) -> None:
    """Prevents a hook that is not there yet, or not any more, when the app asks transformers for the folder."""
    code = """
        import sys
        import compress
        assert not {"torch", "transformers", "pydantic"} & set(sys.modules)
        from transformers import AutoTokenizer
        print(type(AutoTokenizer.from_pretrained(folder)).__name__)
        assert "transformers.models.bert.modeling_bert" not in sys.modules
        from transformers import AutoModelForSequenceClassification, pipeline
        print(type(AutoModelForSequenceClassification.from_pretrained(folder)).__name__)
        print(len(pipeline("text-classification", folder)("a b")))
        assert "pydantic" not in sys.modules
    """
    assert run(code, folder).split() == ["BertTokenizer", "UnevenBertForSequenceClassification", "1"]


def test_transformers_before_compress(folder: Path) -> None:
    """Prevents an app that imported its Auto classes first from being told that the model type is unknown."""
    code = """
        from transformers import AutoConfig, AutoModel, AutoTokenizer
        import compress
        print(type(AutoModel.from_pretrained(folder)).__name__, AutoConfig.from_pretrained(folder).stock_model_type)
        print(type(AutoTokenizer.from_pretrained(folder)).__name__)
    """
    assert run(code, folder).split() == ["UnevenBertModel", "bert", "BertTokenizer"]


def test_without_compress_it_is_refused_but_for_its_tokenizer(folder: Path) -> None:
    """Prevents random weights in a process that never heard of Stillroom; an ONNX app still gets its tokenizer."""
    code = """
        from transformers import AutoModel, AutoTokenizer, BertForSequenceClassification, BertModel
        print(type(AutoTokenizer.from_pretrained(folder)).__name__)
        for kind in (AutoModel, BertModel, BertForSequenceClassification):
            for options in ({}, {"ignore_mismatched_sizes": True}):
                try:
                    kind.from_pretrained(folder, **options)
                except (ValueError, RuntimeError, TypeError) as error:
                    print(type(error).__name__)
                else:
                    print("LOADED")
    """
    found = run(code, folder).split()
    assert found[0] == "BertTokenizer" and len(found) == 7 and "LOADED" not in found


def test_installing_twice_is_as_good_as_once() -> None:
    """Prevents a chain of finders that grows with every reload."""
    before = list(sys.meta_path)
    install()
    importlib.reload(hook).install()
    assert sys.meta_path == before
    first = configuration_auto.CONFIG_MAPPING._extra_content
    register(configuration_auto)
    assert isinstance(first, Asked) and configuration_auto.CONFIG_MAPPING._extra_content is first
    importlib.reload(hook)


def test_two_finders_do_not_ask_each_other() -> None:
    """Prevents an endless recursion where two copies of the finder are installed."""
    extra = [Watcher(), Watcher()]
    sys.meta_path[:0] = extra
    try:
        assert importlib.util.find_spec("transformers.models.auto.modeling_auto") is not None
        found = extra[0].find_spec("transformers.models.auto.modeling_auto", list(_package().__path__))
        assert found is not None and found.origin == modeling_auto.__file__
    finally:
        for one in extra:
            sys.meta_path.remove(one)


def test_modules_stay_readable_and_can_be_loaded_anew() -> None:
    """Prevents a loader that hides the source of transformers from debuggers, or loses the hook on a reload."""
    name = "transformers.models.auto.configuration_auto"
    watcher: Any = next(one for one in sys.meta_path if type(one).__name__ == "Watcher")
    spec = watcher.find_spec(name, list(_package().__path__))
    assert type(spec.loader).__name__ == "SourceFileLoader" and "class AutoConfig" in spec.loader.get_source(name)
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert "stillroom-bert" in fresh.CONFIG_MAPPING and fresh.CONFIG_MAPPING is not configuration_auto.CONFIG_MAPPING
    assert "AutoConfig" in inspect.getsource(configuration_auto)
    assert watcher.find_spec("json") is None and watcher.find_spec("no.such.module") is None


def test_what_is_not_ours_stays_unknown() -> None:
    """Prevents a mapping that claims every name, so that a typing error ends in a strange place."""
    mapping = configuration_auto.CONFIG_MAPPING
    for name in ("stillroom-nonesuch", "stillroom-", "nonesuch"):
        assert name not in mapping
        with pytest.raises(KeyError):
            mapping[name]
    assert object not in modeling_auto.MODEL_MAPPING and int not in modeling_auto.MODEL_MAPPING


def test_a_task_that_the_family_has_no_head_for_is_refused() -> None:
    """Prevents an uneven class behind an Auto class whose stock kin does not exist."""
    config = AutoConfig.for_model("stillroom-electra", shapes={})
    assert type(config) not in modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
    assert type(config) in modeling_auto.MODEL_MAPPING


def test_many_threads_get_one_class() -> None:
    """Prevents two classes of one name, of which one fails the other's isinstance."""
    found: list[Any] = []
    config = AutoConfig.for_model("stillroom-bert", shapes={})
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait()
        found.append((modeling_auto.MODEL_MAPPING[type(config)], configuration_auto.CONFIG_MAPPING["stillroom-bert"]))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_the_places_that_are_watched_are_there() -> None:
    """Prevents a new transformers whose mappings are kept elsewhere from opening nothing, silently."""
    for name in WATCHED:
        module = importlib.import_module(name)
        mappings = [value for value in vars(module).values() if hasattr(value, "_extra_content")]
        assert mappings and all(isinstance(one._extra_content, Asked) for one in mappings), name
    assert AutoModel._model_mapping is modeling_auto.MODEL_MAPPING
    assert auto.CONFIGS in WATCHED


def _package() -> Any:
    return importlib.import_module("transformers.models.auto")
