"""Tokens of one step, chosen row by row."""

from collections import Counter
from math import exp
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teola.runtime.engines.protocol import Sampling

pytestmark = pytest.mark.models  # it needs PyTorch

logits = st.lists(st.floats(-8, 8, width=32), min_size=6, max_size=6)
rows = st.lists(logits, min_size=1, max_size=4)
seeds = st.integers(0, 1 << 55)


def chosen(table, *step):
    """The token that greedy decoding takes of each row, after what is wanted is done."""
    import torch

    from teola.runtime.engines.transformers.token_choice import Wanted, choose

    made = [Wanted(**{**one, "allowed": mask(one.get("allowed"))}) for one in step]
    return choose(torch.tensor(table), made).argmax(dim=1).tolist()


def mask(allowed):
    import torch

    return None if allowed is None else torch.tensor(allowed)


def softmax(values):
    powers = [exp(value) for value in values]
    return [power / sum(powers) for power in powers]


@given(table=rows, data=st.data())
def test_a_row_is_chosen_as_if_it_were_alone(table, data):
    """Whatever else is in the step, and rows that want nothing stay greedy."""
    step = {
        row: {
            "temperature": data.draw(st.sampled_from([0.0, 0.3, 1.0, 2.0])),
            "top_p": data.draw(st.sampled_from([0.1, 0.6, 1.0])),
            "seed": data.draw(seeds),
            "allowed": data.draw(st.sampled_from([[True] * 6, [False, True] * 3])),
        }
        for row in range(len(table))
        if data.draw(st.booleans())
    }
    together = chosen(table, *({"row": row, **one} for row, one in step.items()))
    for row, values in enumerate(table):
        own = [{"row": 0, **step[row]}] if row in step else []
        assert together[row] == chosen([values], *own)[0]
        if row in step:
            assert step[row]["allowed"][together[row]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_come_as_often_as_the_softmax_says(temperature):
    values, count = [1.0, 0.0, -1.0, 2.0, 0.5, -3.0], 4000
    step = [{"row": row, "temperature": temperature, "seed": row} for row in range(count)]
    found = Counter(chosen([values] * count, *step))
    for token, chance in enumerate(softmax([value / temperature for value in values])):
        assert abs(found[token] / count - chance) < 0.03


def test_what_rounding_changes_draws_the_same():
    """Of two thousand draws from nearly even chances hardly one."""
    values, count = [0.0] * 500, 2000
    step = [{"row": row, "temperature": 1.0, "seed": row} for row in range(count)]
    rounded = [1e-5 * (place % 7) for place in range(500)]
    pairs = zip(chosen([values] * count, *step), chosen([rounded] * count, *step), strict=True)
    assert sum(one != other for one, other in pairs) <= 2


@given(values=logits, top_p=st.floats(0.05, 0.95), seed=seeds)
def test_top_p_keeps_the_fewest_tokens_that_have_so_much(values, top_p, seed):
    chances = softmax(values)
    (token,) = chosen([values], {"row": 0, "temperature": 1.0, "top_p": top_p, "seed": seed})
    assert sum(one for one in chances if one > chances[token] + 1e-6) < top_p + 1e-6


@pytest.mark.parametrize("most", [{"top_p": 1e-6}, {"temperature": 1e-9}])
def test_a_tiny_top_p_or_temperature_is_greedy(most):
    step = [{"row": row, "temperature": 1.0, "seed": row, **most} for row in range(20)]
    assert chosen([[1.0, 3.0, 2.0]] * 20, *step) == [1] * 20


def test_tokens_that_the_grammar_does_not_know_are_not_chosen():
    """A model's output layer may be wider than its vocabulary."""
    assert chosen([[1.0, 2.0, 9.0]], {"row": 0, "allowed": [True, False]}) == [0]


def in_step(told=None, **more):
    """A request of a step, as transformers has it: it has got 20 tokens now, of which 4 are new."""
    from teola.runtime.engines.transformers.token_choice import NAME, TokenChoice

    choice = TokenChoice(Sampling(), None, told)
    state = SimpleNamespace(logit_processor_kwargs={NAME: choice}, position_offset=20)
    return SimpleNamespace(state=state, query_length=4, **more)


def test_a_requests_first_step_tells_what_of_its_prompt_is_there():
    from teola.runtime.engines.transformers.token_choice import TokenChoices
    from teola.runtime.engines.transformers.told import Told

    told, choices = Told(), TokenChoices()
    one = in_step(told, has_new_token=False)
    choices.prepare_tensor_args([one], None)
    one.state.position_offset += 4
    choices.prepare_tensor_args([one], None)
    assert told.cached == 16


def test_a_rehearsed_step_is_nobodys():
    """The library makes such requests up by itself: they carry nothing of ours."""
    from teola.runtime.engines.transformers.token_choice import TokenChoices

    one = in_step(has_new_token=True)
    one.state.logit_processor_kwargs = {}
    assert TokenChoices().prepare_tensor_args([one], "room") == "room"


def test_steps_that_give_no_token_are_told():
    """Each as it begins: prompts are computed in parts."""
    from teola.runtime.engines.transformers.token_choice import TokenChoices

    told = []
    choices = TokenChoices(lambda: told.append("silent"))
    part, last = in_step(has_new_token=False), in_step(has_new_token=True)
    for step in ([part], [part, last], [last], [part, part]):
        assert choices.prepare_tensor_args(step, "room") == "room"
    assert told == ["silent", "silent"]


def test_draws_depend_on_seed_and_place_alone():
    from teola.runtime.engines.transformers.token_choice import TokenChoice

    one, same, other = (TokenChoice(Sampling(1.0, seed=seed), None) for seed in (5, 5, 6))
    places = [one.seed(place) for place in range(100)]
    assert places == [same.seed(place) for place in range(100)]
    assert len({*places, *(other.seed(place) for place in range(100))}) == 200


def test_calls_without_a_seed_differ():
    from teola.runtime.engines.transformers.token_choice import TokenChoice

    assert TokenChoice(Sampling(1.0), None).seed(1) != TokenChoice(Sampling(1.0), None).seed(1)


@given(values=logits, seed=seeds)
def test_the_likeliest_tokens_are_told_before_anything_is_drawn(values, seed):
    """Of those that the grammar allows, whose chances are 1 together."""
    told, allowed = [], [True, False] * 3
    how = {"temperature": 2.0, "seed": seed, "allowed": allowed, "logprobs": 9, "told": told}
    chosen([values], {"row": 0, **how})
    (step,) = told
    chances = softmax([one for one, there in zip(values, allowed, strict=True) if there])
    assert sorted(step) == [0, 2, 4]
    assert [exp(step[token]) for token in (0, 2, 4)] == pytest.approx(chances, abs=1e-5)
    assert list(step.values()) == sorted(step.values(), reverse=True)
