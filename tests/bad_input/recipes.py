"""Wrong recipes and wrong arguments."""

from __future__ import annotations

from tests.bad_input.scene import RUN, Case, both, edit, locked, put

SET = f"{RUN} --set"
STUDENT = "steps.student.distill"

CASES = [
    Case(
        "an unknown key at the top",
        RUN,
        ("recipe.yaml:3: stepz", "not a key of a recipe", 'did you mean "steps"?'),
        edit("steps:", "stepz:"),
    ),
    Case(
        "a misspelt option",
        RUN,
        ("recipe.yaml:13: steps.teacher.teach.epohcs", "not an option of teach", 'did you mean "epochs"?'),
        edit("epochs: 12", "epohcs: 12"),
    ),
    Case(
        "a misspelt option of a loss",
        RUN,
        (f"recipe.yaml:24: {STUDENT}.losses[0].logits_kl.temprature", 'did you mean "temperature"?'),
        edit("[logits_kl]", "[{logits_kl: {temprature: 2}}]"),
    ),
    Case(
        "an unknown loss",
        RUN,
        (f"recipe.yaml:24: {STUDENT}.losses[0]", "'logit_kl' is not a known loss", 'did you mean "logits_kl"?'),
        edit("[logits_kl]", "[logit_kl]"),
    ),
    Case(
        "an unknown student",
        RUN,
        (f"recipe.yaml:23: {STUDENT}.student", "'distillbert' is not a known student", 'did you mean "distilbert"?'),
        edit("{distilbert:", "{distillbert:"),
    ),
    Case(
        "an unknown verb",
        RUN,
        ("recipe.yaml:20: steps.student.distil", "not a known step", 'did you mean "distill"?'),
        edit("distill:", "distil:"),
    ),
    Case(
        "two verbs in one step",
        f"{RUN} --set steps.student.distil.epochs=3",
        ("steps.student: expected one verb as {verb: {options}}, came distill, distil",),
    ),
    Case(
        "a text for a number",
        RUN,
        ("recipe.yaml:13: steps.teacher.teach.epochs", "expected a number, came str 'six'"),
        edit("epochs: 12", "epochs: six"),
    ),
    Case("true for a number", f"{SET} seed=true", ("recipe.yaml:2: seed", "expected a whole number", "came True")),
    Case("a negative seed", f"{SET} seed=-3", ("recipe.yaml:2: seed", "from 0 to 2^32 - 1, came -3")),
    Case("a seed that is no number", f"{SET} seed=lucky", ("recipe.yaml:2: seed", "came 'lucky'")),
    Case(
        "no epochs",
        f"{SET} steps.teacher.teach.epochs=0",
        ("recipe.yaml:13: steps.teacher.teach.epochs", "expected greater than 0, came int 0"),
    ),
    Case(
        "a negative learning rate",
        f"{SET} {STUDENT}.learning_rate=-1e-3",
        (f"{STUDENT}.learning_rate", "expected greater than 0, came float -0.001"),
    ),
    Case(
        "a learning rate that is not a number",
        f"{SET} {STUDENT}.learning_rate=.nan",
        (f"{STUDENT}.learning_rate", "expected a finite number"),
    ),
    Case(
        "a temperature of 0",
        f"{SET} {STUDENT}.losses[0].logits_kl.temperature=0",
        (f"recipe.yaml:24: {STUDENT}.losses[0].logits_kl.temperature", "expected greater than 0"),
    ),
    Case(
        "a temperature past all use",
        f"{SET} {STUDENT}.losses[0].logits_kl.temperature=1e300",
        (f"recipe.yaml:24: {STUDENT}.losses[0].logits_kl.temperature", "expected less than or equal to 1000"),
    ),
    Case(
        "a loss that weighs nothing",
        f"{SET} {STUDENT}.losses[0].logits_kl.weight=0",
        (f"{STUDENT}.losses[0].logits_kl.weight", "expected greater than 0"),
    ),
    Case("no loss at all", f"{SET} {STUDENT}.losses=[]", (f"recipe.yaml:24: {STUDENT}.losses", "at least 1 item")),
    Case(
        "losses that are no list",
        f'{SET} "{STUDENT}.losses={{logits_kl: {{}}}}"',
        (f"recipe.yaml:24: {STUDENT}.losses", "expected a list"),
    ),
    Case(
        "a layer map of another name",
        f'{SET} "{STUDENT}.losses=[{{hidden_mse: {{map: unifrom}}}}]"',
        (
            f"{STUDENT}.losses[0].hidden_mse.map",
            "'uniform', 'last', 'first', 'attention' or 'transport'",
            "came str 'unifrom'",
        ),
    ),
    Case(
        "neither a teacher nor teachers",
        RUN,
        (f"recipe.yaml:20: {STUDENT}", "expected `teacher: $step` or `teachers: [$one, $two]`, came neither"),
        edit("    distill:\n      corpus: $corpus\n      teacher: $teacher\n", "    distill:\n      corpus: $corpus\n"),
    ),
    Case(
        "a teacher beside teachers",
        f'{SET} "{STUDENT}.teachers=[$teacher, ./model]"',
        (f"recipe.yaml:20: {STUDENT}", "`teachers: [$one, $two]`, came both"),
    ),
    Case(
        "several teachers of which one is no model",
        f'{SET} {STUDENT}.teacher=null --set "{STUDENT}.teachers=[$teacher, $corpus]"',
        (f"{STUDENT}.teachers[1]", "expected a Model, but $corpus makes a Corpus"),
    ),
    Case(
        "one weight for two teachers",
        f'{SET} {STUDENT}.teacher=null --set "{STUDENT}.teachers=[$teacher, ./model]" '
        f'--set "{STUDENT}.combine={{fixed: {{weights: [1]}}}}"',
        (STUDENT, "combine.fixed.weights: 1 weights for 2 teachers; give one for each"),
    ),
    Case(
        "teachers to combine where there is one",
        f"{SET} {STUDENT}.combine=confidence",
        (f"recipe.yaml:20: {STUDENT}", "combine: weighs several teachers, and one is given"),
    ),
    Case(
        "an unknown way to balance",
        f"{SET} {STUDENT}.balance=gradnorm",
        (f"{STUDENT}.balance", "'gradnorm' is not a known balance", "gradient_norm, none, uncertainty"),
    ),
    Case(
        "more heads to shut than there are",
        f'{SET} "{STUDENT}.gates={{movement: {{heads: 50}}}}"',
        (f"{STUDENT}.gates.movement.heads", "less than 1"),
    ),
    Case(
        "gates that shut nothing",
        f"{SET} {STUDENT}.gates=movement",
        (f"{STUDENT}.gates.movement", "`heads`", "without one nothing would go"),
    ),
    Case(
        "no update left after the gates are shut",
        f'{SET} "{STUDENT}.gates={{movement: {{ffn: 0.5, cooldown: 0.01}}}}"',
        ("recipe.yaml:20: steps.student.distill", "gates.movement.cooldown: 0.01 of a training of 10 updates", "raise"),
    ),
    Case(
        "a width that the heads do not divide",
        f'{SET} "{STUDENT}.student={{tinybert: {{layers: 1, width: 30, heads: 4}}}}"',
        (f"recipe.yaml:23: {STUDENT}.student.tinybert", "width 30 is not divisible by heads 4"),
    ),
    Case(
        "embedding tables wider than the layers",
        f'{SET} "{STUDENT}.student={{albert: {{embedding: 64, width: 32}}}}"',
        (f"recipe.yaml:23: {STUDENT}.student.albert", "embedding 64 is wider than the width 32", "use at most"),
    ),
    Case(
        "an unknown initialisation",
        f'{SET} "{STUDENT}.student={{bert: {{init: svdd}}}}"',
        (f"recipe.yaml:23: {STUDENT}.student.bert.init", "'svdd' is not a known init", 'did you mean "svd"?'),
    ),
    Case(
        "a teacher's width that the heads do not divide",
        f"{SET} steps.teacher.teach.model.scratch.heads=5",
        ("recipe.yaml:12: steps.teacher.teach.model.scratch", "width 32 cannot be divided among 5 heads"),
    ),
    Case(
        "a device of another name",
        f"{SET} {STUDENT}.device=gpu",
        (f"recipe.yaml:28: {STUDENT}.device", "expected 'auto', 'cpu' or 'cuda', came str 'gpu'"),
    ),
    Case(
        "a step used before it exists",
        f"{SET} steps.teacher.teach.model=$student",
        ("recipe.yaml:11: steps.teacher.teach.model", "$student stands below", "only what stands above"),
    ),
    Case(
        "a step that is not there",
        f"{SET} {STUDENT}.teacher=$techer",
        (f"recipe.yaml:22: {STUDENT}.teacher", "$techer is not a step above", 'did you mean "teacher"?'),
    ),
    Case(
        "a corpus for a model",
        f"{SET} {STUDENT}.teacher=$corpus",
        (f"recipe.yaml:22: {STUDENT}.teacher", "expected a Model, but $corpus makes a Corpus"),
    ),
    Case(
        "a required option left out",
        RUN,
        (f"recipe.yaml:20: {STUDENT}.student", "is required and missing"),
        edit("      student: {distilbert: {layers: 1}}\n", ""),
    ),
    Case(
        "a setting that is not there",
        RUN,
        ("recipe.yaml:6: steps.corpus.prepare.source.jsonl.path", "${date} is not in settings", 'did you mean "data"?'),
        both(edit("seed: 5", "settings: {data: data}"), edit("path: data", "path: '${date}'")),
    ),
    Case(
        "a misspelt setting on the command line",
        f"{SET} settings.dta=elsewhere",
        ("settings.dta", "is used nowhere", 'did you mean "data"?'),
        both(edit("seed: 5", "settings: {data: data}"), edit("path: data", "path: '${data}'")),
    ),
    Case("--set without a value", f"{SET} seed", ("--set seed", "expected dotted.path=value", "epochs=1")),
    Case(
        "--set of a step that is not there",
        f"{SET} steps.studnet.distill.epochs=1",
        ("--set steps.studnet.distill.epochs=1", "no step 'studnet'", 'did you mean "student"?'),
    ),
    Case("--set of an item past the list", f"{SET} {STUDENT}.losses[4]=hard_ce", ("there is no item [4]", "has 1")),
    Case("--set of a broken value", f'{SET} "seed=[1"', ("--set seed=[1", "not valid YAML")),
    Case("--until a step that is not there", f"{RUN} --until int4", ("int4", "int8")),
    Case("a recipe that is not there", "run recipes.yaml", ("recipes.yaml", "no such recipe", "compress init")),
    Case("a recipe that is a folder", "run data", ("data", "expected a recipe file, came a folder")),
    Case("an empty recipe", RUN, ("recipe.yaml", "came an empty file", "compress init"), put("recipe.yaml", "")),
    Case(
        "a recipe without steps",
        RUN,
        ("recipe.yaml", "steps: expected at least one `name: {verb: {options}}`"),
        put("recipe.yaml", "name: base\n"),
    ),
    Case(
        "a recipe that is not UTF-8",
        RUN,
        ("recipe.yaml", "cannot be read as UTF-8 text"),
        put("recipe.yaml", "name: b\xe4se\n".encode("latin-1")),
    ),
    Case(
        "a tab in YAML",
        RUN,
        ("recipe.yaml:2", "not valid YAML", "'\\t'"),
        put("recipe.yaml", "steps:\n\tcorpus: {prepare: {}}\n"),
    ),
    Case(
        "an unclosed brace",
        RUN,
        ("recipe.yaml:", "not valid YAML"),
        edit("{distilbert: {layers: 1}}", "{distilbert: {layers: 1}"),
    ),
    Case(
        "one step twice",
        RUN,
        ("recipe.yaml:29", "the key 'student' stands twice"),
        edit("  int8:", "  student:"),
    ),
    Case(
        "several faults at once",
        f"check recipe.yaml --set seed=x --set {STUDENT}.epochs=0 --set {STUDENT}.lossess=1",
        ("3 faults:", "recipe.yaml:2: seed", f"{STUDENT}.epochs", f"{STUDENT}.lossess"),
    ),
    Case(
        "a file where the run should go",
        f"{RUN} --out blocked",
        ("blocked", "cannot be written", "choose another folder with --out"),
        put("blocked", "mine"),
    ),
    Case(
        "a folder in which another run works",
        f"{RUN} --out busy",
        ("busy", "another run works in this folder", "wait for it, or use --out"),
        locked("busy"),
        code=1,
    ),
    Case(
        "a folder under a file",
        f"{RUN} --out blocked/run",
        ("blocked/run", "cannot be written", "choose another folder with --out"),
        put("blocked", "mine"),
    ),
    Case(
        "somebody's files where an artifact should go",
        f"{RUN} --out mine",
        ("mine/corpus", "exists and is not an artifact", "move it away"),
        put("mine/corpus/notes.txt", "mine"),
    ),
]
