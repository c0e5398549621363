from __future__ import annotations

import pytest

from adamtune.catalog import ONE_MINUS, as_trained
from adamtune.config.space_section import owners
from adamtune.optimizers.base import BETA1
from adamtune.optimizers.registry import OPTIMIZERS
from adamtune.schedules.registry import SCHEDULES
from adamtune.tasks.registry import TASKS


def test_the_complement_mirrors_the_legal_range():
    mirrored = BETA1.forms[1]
    assert mirrored.name == "one_minus_beta1"
    assert mirrored.legal == "[1e-12, 1]"
    assert mirrored.default == pytest.approx(0.1)


@pytest.mark.parametrize("entry", OPTIMIZERS.values(), ids=lambda entry: entry.name)
def test_the_ends_of_a_complement_are_legal_for_the_plain_form(entry):
    for plain in (each for each in entry.hyperparameters if each.complement):
        form = entry.forms[ONE_MINUS + plain.name]
        for value in (form.low, form.high):
            assert plain.allows(as_trained(form.name, value)[1])


def test_no_name_stands_for_two_things():
    groups = [
        {name for entry in OPTIMIZERS.values() for name in entry.forms},
        {name for entry in SCHEDULES.values() for name in entry.forms},
        {name for entry in TASKS.values() for name in entry.settings.model_fields},
        {"optimizer", "schedule", "task", "name"},
    ]
    assert len(set().union(*groups)) == sum(map(len, groups))


def test_a_name_has_the_same_kind_wherever_it_is():
    for catalog in (OPTIMIZERS, SCHEDULES):
        forms = [form for entry in catalog.values() for form in entry.forms.values()]
        assert len({(form.name, form.kind) for form in forms}) == len({form.name for form in forms})


def test_owners():
    assert owners("momentum", OPTIMIZERS) == ["rmsprop", "sgd"]
    assert owners("one_minus_alpha", OPTIMIZERS) == ["rmsprop"]
    assert owners("momentum", SCHEDULES) == []
