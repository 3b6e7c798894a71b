"""Every lesson in a browser: its stored page, its widget, a wrong answer and a right one.

One row for each lesson. Only what the row needs is run here, in short: the whole notebook runs when
its outputs are compared. The quick lessons run as a whole, as *Run All* does it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.browser.lab import Notebook, slider, turn

USED = "From here on the notebook uses your version."
LIBRARY = "Until it is right the notebook goes on with the library's version"


@dataclass(frozen=True)
class Row:
    """What is done in one lesson and what has to be read afterwards."""

    notebook: str
    widget: str  # a piece of the code of its cell
    moves: str  # one a line: see TEXT, turn SLIDER: KEY TIMES, click BUTTON, select OPTION, ...
    exercise: str  # the whole name
    stub: str  # its first lines
    wrong: str
    hint: str  # what the verdict on the wrong answer says
    right: str
    cells: Sequence[str] = ()  # further cells to run
    short: Mapping[str, str] = field(default_factory=dict)  # pieces of code to run instead
    whole: bool = False  # run all cells
    videos: int = 0  # that the stored page shows


ROWS = [
    Row(
        "00_start_here",
        "DiscountExplorer(gamma=0.9)",
        """
        see gamma 0.90:
        turn gamma: ArrowRight 5
        see gamma 0.95: the return of 100 rewards is 19.9
        """,
        "start_here.discounted_return",
        "def discounted_return(rewards, gamma):\n    return ",
        "sum(rewards)",
        "",
        "sum(gamma**k * r for k, r in enumerate(rewards))",
        whole=True,
    ),
    Row(
        "01_q_learning",
        "BellmanExplorer()",
        """
        click one sweep
        see 1 sweep with gamma 0.95
        click ten sweeps
        see 11 sweeps with gamma 0.95
        """,
        "q_learning.q_update",
        "def q_update(value, target, alpha):\n    return ",
        "target",
        "You replaced the value by the target.",
        "value + alpha * (target - value)",
        whole=True,
        videos=3,
    ),
    Row(
        "02_dqn",
        "TargetExplorer()",
        """
        see = 1 + 0.99 * 1 * 24.0 = 24.76
        turn gamma: ArrowLeft 9
        see = 1 + 0.90 * 1 * 24.0 = 22.60
        turn target right: ArrowLeft 2
        see = 1 + 0.90 * 1 * 23.0 = 21.70
        select terminated: the pole fell
        see = 1 + 0.90 * 0 * 23.0 = 1.00
        """,
        "dqn.td_target",
        "def td_target(rewards, terminated, next_q, gamma):\n    return ",
        "rewards + gamma * next_q.max(dim=1).values",
        "You bootstrapped through a terminal state",
        "rewards + gamma * (1 - terminated) * next_q.max(dim=1).values",
        videos=3,
    ),
    Row(
        "03_actor_critic",
        "explorer = AdvantageExplorer(stretch)",
        """
        see lambda 0.95
        turn lambda: Home 1
        see lambda 0.00:
        """,
        "actor_critic.policy_gradient_loss",
        "def policy_gradient_loss(logp, advantages, mask):\n    return ",
        "(logp * advantages * mask).sum() / mask.sum()",
        "Your sign is turned.",
        "-(logp * advantages.detach() * mask).sum() / mask.sum()",
        whole=True,
        videos=2,
    ),
    Row(
        "04_ppo",
        "ClipExplorer(ratio=1.0)",
        """
        see objective +1.000, gradient +1.00
        turn ratio: ArrowRight 30
        see objective +1.200, gradient 0.
        new picture
        """,
        "ppo.clipped_surrogate",
        "def clipped_surrogate(ratio, advantages, clip):\n"
        "    both = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages\n    return ",
        "-torch.max(*both)",
        "You let the larger of the two objectives count",
        "-torch.min(*both)",
        videos=4,
    ),
    Row(
        "05_transformer",
        "attention_by_hand()",
        """
        see "his" asks, and sees itself and earlier words
        select crown
        see "crown" asks
        turn divisor: Home 1
        see divided by 0.25
        """,
        "transformer.top_p_filter",
        "def top_p_filter(logits, p):\n"
        "    ordered, order = logits.sort(dim=-1, descending=True)\n"
        "    shares = ordered.softmax(dim=-1)\n"
        "    before = shares.cumsum(dim=-1) - shares\n"
        "    ordered = ordered.masked_fill(before >= p, -torch.inf)\n    return ",
        "ordered",
        "The right logits, in the wrong places",
        "torch.empty_like(logits).scatter(-1, order, ordered)",
    ),
    Row(
        "06_adaptation",
        "costs = {",  # the widget of this lesson has a test of its own: test_talk.py
        "",
        "adaptation.response_mask",
        "def response_mask(prompt_lengths, lengths, T):\n    column = torch.arange(T)\n    return ",
        "(column >= prompt_lengths[:, None]) & (column < lengths[:, None] - 1)",
        "The last token of each response is missing.",
        "(column >= prompt_lengths[:, None]) & (column < lengths[:, None])",
    ),
    Row(
        "07_reward_models",
        "draw_label_curves(measured, column, ax)",  # test_labels.py
        "",
        "reward_models.last_token",
        "def last_token(values, valid_mask):\n    ",
        "return values[:, -1]",
        "You read the last column.",
        "column = torch.arange(values.shape[1])\n"
        "    last = torch.where(valid_mask, column, -1).amax(dim=1)\n"
        "    picked = values.gather(1, last.clamp(min=0)[:, None])[:, 0]\n"
        "    return torch.where(last >= 0, picked, 0.0)",
    ),
    Row(
        "08_rlhf_ppo",
        "pupil, ppo.Critic(pupil)",
        """
        see advantage
        click Another reply
        new words
        turn : ArrowLeft 2
        see at 0 points each
        """,
        "rlhf_ppo.terminal_rewards",
        "def terminal_rewards(scores, response_mask):\n"
        "    column = torch.arange(response_mask.shape[1])\n    last = ",
        "torch.full((len(scores), 1), response_mask.shape[1] - 1)"
        "\n    return torch.where(column == last, scores[:, None], 0.0)",
        "You put every score into the last column.",
        "torch.where(response_mask, column, -1).amax(dim=1, keepdim=True)"
        "\n    return torch.where(column == last, scores[:, None], 0.0)",
        cells=['question = "where is the pool ?"'],
    ),
    Row(
        "09_dpo_grpo",
        "group = GroupExplorer()",
        """
        see the prompt is hard
        select tied
        see this prompt teaches nothing
        select half right
        see about half solved
        """,
        "dpo_grpo.kl_estimate",
        "def kl_estimate(logp, ref_logp, kind):\n    d = logp - ref_logp\n"
        '    if kind == "k1":\n        return d\n    if kind == "k2":\n        return d**2 / 2\n'
        "    return ",
        "torch.exp(d) - d - 1",
        "Your k3 has exp(d)",
        "torch.exp(-d) + d - 1",
    ),
    Row(
        "10_alignment",
        "explorer = GoodhartExplorer(run)",
        """
        see Update 1: proxy
        turn : ArrowRight 5
        see Update 6: proxy
        hidden true reward +
        tick
        see The best you could have kept was update
        """,
        "alignment.dual_update",
        "def dual_update(price, cost, limit, rate):\n    return ",
        "max(0.0, price - rate * (cost - limit))",
        "Your price falls while the limit is exceeded",
        "max(0.0, price + rate * (cost - limit))",
    ),
    Row(
        "11_world_models",
        "explorer = DreamExplorer",
        """
        see model of 300 real steps. After 40 imagined steps
        turn training data: ArrowRight 1
        see model of 1,000 real steps
        turn horizon: ArrowLeft 2
        see After 38 imagined steps (1.90 s)
        turn start, degrees: ArrowLeft 1
        see Start 30° from upright
        click Other torques
        new words
        """,
        "world_models.dyna_update",
        "def dyna_update(q, model, pairs, alpha, gamma):\n    q = q.copy()\n"
        "    for state, action in pairs:\n        memory = model[state, action]\n"
        "        future = q[memory.next_state].max()",
        "\n        q[state, action] += alpha * (memory.reward + gamma * future - q[state, action])"
        "\n    return q",
        "You added a future after the end.",
        " * (1 - memory.terminated)\n"
        "        q[state, action] += alpha * (memory.reward + gamma * future - q[state, action])"
        "\n    return q",
        short={"updates=600": "updates=60"},
        videos=3,
    ),
    Row(
        "12_transformer_world_model",
        "figures.draw_tokens(frame, tokenizer, ax)",  # test_dream.py
        "",
        "transformer_world_model.continue_weights",
        "def continue_weights(continues):\n    ",
        "return continues.cumprod(0)",
        "Your weight of a step contains its own",
        "reached = torch.ones_like(continues)\n    reached[1:] = continues[:-1].cumprod(0)\n"
        "    return reached",
        videos=1,
    ),
    Row(
        "13_decision_transformer",
        "ask_for_a_return(model)",
        """
        see Nothing is asked for yet.
        turn asked: ArrowLeft 3
        see Play asks for 3 in 8 games.
        click Play
        see Asked for 3 in 8 games: got
        """,
        "decision_transformer.interleave",
        "def interleave(returns, states, actions):\n    return ",
        "torch.cat([returns, states, actions], dim=1)",
        "First come all returns, then all states",
        "torch.stack((returns, states, actions), 2).flatten(1, 2)",
        cells=("offline_data.describe()", 'label="decision transformer"'),
        short={"steps=1_000": "steps=20"},
    ),
    Row(
        "14_language_agents",
        "tell_the_agent(agent, ",
        """
        see Room 1:
        click New room
        see Room 2:
        click Do it
        see A look-up would have heard
        """,
        "language_agents.film",
        "def film(features, scale, shift):\n    if features.dim() == 3:\n"
        "        scale, shift = scale[:, None], shift[:, None]\n    return ",
        "features * scale + shift",
        "You multiply by the scale itself.",
        "(1 + scale) * features + shift",
        cells=("ppo.train(agent",),
        short={
            "ppo.train(agent, envs, instructions.PPO, seed=0)": "islice(ppo.train(agent, envs, "
            "instructions.PPO, seed=0), 1)"
        },
        videos=4,
    ),
]


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.notebook)
def lesson(request, chromium_path, server):
    """A lesson, open in a window of its own, and its row."""
    from tests.browser.lab import window

    row = request.param
    with window(chromium_path) as page:
        yield Notebook(page, server, f"notebooks/{row.notebook}.ipynb"), row


def test_the_stored_page_shows_its_videos_and_no_error(lesson):
    notebook, row = lesson
    assert notebook.errors() == []
    found = [i for i, source in enumerate(notebook.sources) if "video.show(" in source]
    shown = [video for index in found for video in notebook.cell(index).locator("video").all()]
    assert len(shown) >= row.videos
    for video in shown[-1:]:
        seconds = video.evaluate(
            "async (v) => { while (v.readyState < 1) await new Promise((r) => setTimeout(r, 100));"
            " return v.duration; }"
        )
        assert seconds > 1, "the browser can read the video"
    notebook.shoot(f"{row.notebook[:2]}_stored")


def test_untouched_exercises_say_so_and_nothing_fails(lesson):
    notebook, row = lesson
    if row.whole:
        notebook.run_all(300)
    else:
        # A row without moves names a cell to look at; its widget has a test of its own.
        notebook.run_short([*row.cells, row.widget] if row.moves else row.cells, row.short)
    assert notebook.errors() == []
    for index, source in enumerate(notebook.sources):
        if source.startswith("@exercise(") and "..." in source:
            assert "Not attempted yet" in notebook.text(index), source.split("\n")[0]
    notebook.shoot(f"{row.notebook[:2]}_ran")


def test_the_widget_answers(lesson):
    notebook, row = lesson
    cell = notebook.cell(notebook.find(row.widget))
    before = {}
    for move in row.moves.strip().splitlines():
        kind, _, what = move.strip().partition(" ")
        if kind == "see":
            cell.get_by_text(what).last.wait_for(timeout=30_000)
        elif kind == "hidden":
            assert cell.get_by_text(what).count() == 0
        elif kind == "turn":
            before["picture"] = _picture(cell)
            name, key, times = re.fullmatch(r"(.*): (\w+) (\d+)", what).groups()
            turn(slider(cell, name) if name else cell.locator(".widget-slider"), key, int(times))
        elif kind == "click":
            before["words"] = cell.inner_text()
            cell.get_by_role("button", name=what).click()
        elif kind == "select":
            cell.locator("select").first.select_option(what)
        elif kind == "tick":
            cell.locator("input[type=checkbox]").check()
        elif what == "words":
            _until(notebook, lambda: cell.inner_text() != before["words"])
        elif what == "picture":
            _until(notebook, lambda: _picture(cell) != before["picture"])
        else:
            raise ValueError(f"a move that nobody knows: {move!r}")
    notebook.wait_idle(30)  # the picture follows the words
    notebook.shoot(f"{row.notebook[:2]}_widget")


def test_a_wrong_answer_is_named_and_the_right_one_is_taken(lesson):
    notebook, row = lesson
    head = f'@exercise("{row.exercise}")\n{row.stub}'
    index = notebook.find(f'@exercise("{row.exercise}")')
    cell = notebook.cell(index)
    notebook.type(index, head + row.wrong)
    cell.get_by_text(row.hint or re.compile("library's version")).first.wait_for(timeout=30_000)
    assert LIBRARY in notebook.text(index)
    notebook.shoot(f"{row.notebook[:2]}_wrong")
    notebook.type(index, head + row.right)
    cell.get_by_text(USED).wait_for(timeout=30_000)
    notebook.shoot(f"{row.notebook[:2]}_right")
    standing = max(i for i, source in enumerate(notebook.sources) if source.startswith("progress("))
    notebook.run(standing)
    assert re.search(r"[1-9] of \d exercises right", notebook.text(standing))
    assert "Traceback" not in notebook.text(standing)


def _picture(cell) -> str | None:
    picture = cell.locator("img.widget-image")
    return picture.first.get_attribute("src") if picture.count() else None


def _until(notebook: Notebook, holds) -> None:
    for _ in range(100):
        if holds():
            return
        notebook.page.wait_for_timeout(200)
    raise AssertionError("nothing changed within 20 s")
