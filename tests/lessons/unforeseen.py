"""Wrong answers that no exercise names as a mistake, to see whether its checks still refuse them.

Most of them are nearly right: they fail only for some inputs, or only by a little.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.lm.finetune import response_mask
from course_lib.lm.gpt import attention, causal_mask
from course_lib.rl import actor_critic, ppo, returns
from course_lib.rl.ppo import whiten
from course_lib.rlhf import dpo, grpo, pairwise
from course_lib.rlhf.constraints import dual_update
from course_lib.world_models import dyna, dynamics, horizons, planning, sequence
from course_lib.world_models.returns import continue_weights, dream_returns


def sequential_loss(chosen, rejected, ref_chosen, ref_rejected, beta):
    """The margin is never negative: a pair that is told wrongly teaches nothing more."""
    margin = (chosen - ref_chosen) - (rejected - ref_rejected)
    return -F.logsigmoid(beta * margin.clamp(min=0))


def sorted_ring(written, count, capacity):
    rows, size = dqn_ring(written, count, capacity)
    return np.sort(rows), size


def dqn_ring(written, count, capacity):
    return (written + np.arange(count)) % capacity, min(written + count, capacity)


def gae_resets_next(rewards, values, next_values, terminated, truncated, gamma, lam):
    """Cuts the trace one row too late."""
    ended = terminated | truncated
    late = torch.cat([torch.zeros_like(ended[:1]), ended[:-1]])
    delta = rewards + gamma * next_values * (1 - terminated.float()) - values
    advantage, out = torch.zeros_like(rewards[0]), torch.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        advantage = delta[t] + gamma * lam * (~late[t]).float() * advantage
        out[t] = advantage
    return out


def greedy_ties_last(q, epsilon):
    best = np.zeros_like(q, dtype=float)
    last = q.shape[-1] - 1 - np.argmax(np.flip(q, -1), -1)
    np.put_along_axis(best, last[..., None], 1.0, -1)
    return epsilon / q.shape[-1] + (1 - epsilon) * best


def top_p_strict(logits, p):
    """Keeps one token more than are needed."""
    ordered, order = logits.sort(dim=-1, descending=True)
    before = ordered.softmax(-1).cumsum(-1) - 2 * ordered.softmax(-1)
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(before >= p, -math.inf))


def top_p_one_threshold(logits, p):
    """Compares each probability with the largest one times 1 - p."""
    probability = logits.softmax(-1)
    least = probability.amax(-1, keepdim=True) * (1 - p)
    return logits.masked_fill(probability < least, -math.inf)


def stop_after(used, second, patience):
    """Stops as soon as the second judge falls `patience` times in a row."""
    falls = 0
    for i in range(1, len(second)):
        falls = falls + 1 if second[i] < second[i - 1] else 0
        if falls >= patience:
            return i - patience
    return len(second) - 1


def stop_at_highest_gap(used, second, patience):
    return int(np.argmin(np.asarray(used) - np.asarray(second)))


def last_before_padding(values, mask):
    """Right for padding on the right alone."""
    mask = mask.bool()
    first_gap = torch.where(mask, mask.shape[1], torch.arange(mask.shape[1])).amin(1)
    return values.gather(1, (first_gap - 1).clamp(min=0)[:, None])[:, 0] * mask.any(1)


def bits(x):
    return x / math.log(2)


def _shift(x):
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)


def _token_logp(logits, tokens):
    logp = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return torch.cat([torch.zeros_like(logp[:, :1]), logp], dim=1)


def _last(mask):
    column = torch.arange(mask.shape[1])
    return torch.where(mask.bool(), column, -1).amax(1, keepdim=True)


UNFORESEEN = {
    "start_here.success_rate": {
        "rounds to percent": lambda returns, goal: round(float((returns >= goal).mean()), 1),
        "mean return over goal": lambda returns, goal: float(min(1.0, returns.mean() / goal)),
        "one success too many": lambda returns, goal: float(
            ((returns >= goal).sum() + 1) / (len(returns) + 1)
        ),
    },
    "start_here.discounted_return": {
        "weights sum to one": lambda rewards, gamma: (
            sum(gamma**t * r for t, r in enumerate(rewards))
            / max(1e-12, sum(gamma**t for t in range(len(rewards))))
        ),
        "hyperbolic": lambda rewards, gamma: sum(
            r / (1 + t * (1 - gamma)) for t, r in enumerate(rewards)
        ),
    },
    "q_learning.bellman_backup": {
        "nothing for a reward of 0": lambda p, r, v, gamma: np.where(r == 0, 0, r + gamma * p @ v),
        "the likeliest successor alone": lambda p, r, v, gamma: r + gamma * v[p.argmax(-1)],
    },
    "q_learning.epsilon_greedy": {
        "the last of several best": greedy_ties_last,
        "softmax": lambda q, e: (
            e / q.shape[-1] + (1 - e) * np.exp(9 * q) / np.exp(9 * q).sum(axis=-1, keepdims=True)
        ),
    },
    "q_learning.q_update": {
        "squares the step": lambda v, target, alpha: v + alpha**2 * (target - v),
        "sign of the error": lambda v, target, alpha: v + alpha * float(np.sign(target - v)),
    },
    "q_learning.q_learning_target": {
        "never below zero": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * max(0.0, float(q.max()))
        ),
        "largest in size": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[np.abs(q).argmax()])
        ),
    },
    "q_learning.sarsa_target": {
        "the action after": lambda r, end, q, a, gamma: (
            r + gamma * (1 - end) * float(q[(a + 1) % len(q)])
        ),
        "discounts the reward as well": lambda r, end, q, a, gamma: (
            gamma * (r + (1 - end) * float(q[a]))
        ),
    },
    "dqn.epsilon_schedule": {
        "geometric": lambda step, start, end, n: (
            start * (max(end, 1e-9) / start) ** min(step / n, 1.0)
        ),
        "half the way": lambda step, start, end, n: start + (end - start) * min(step / n / 2, 1.0),
    },
    "dqn.ring_indices": {
        "in ascending order": sorted_ring,
        "one row short": lambda w, n, c: ((w + np.arange(n)) % c, min(w + n, c - 1)),
    },
    "dqn.td_target": {
        "second best": lambda r, end, q, gamma: (
            r + gamma * (1 - end.to(r)) * q.topk(2, dim=-1).values[:, 1]
        ),
        "rewards beyond 1 are cut": lambda r, end, q, gamma: (
            r.clamp(-1, 1) + gamma * (1 - end.to(r)) * q.max(-1).values
        ),
    },
    "dqn.n_step_target": {
        "divided by the steps": lambda r, end, cut, v, gamma: (
            returns.n_step_target(r, end, cut, v, gamma) / len(r)
        ),
        "values never below zero": lambda r, end, cut, v, gamma: max(
            0.0, returns.n_step_target(r, end, cut, v, gamma)
        ),
    },
    "dqn.double_dqn_target": {
        "means of both": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * ((online + target) / 2).max(-1).values
        ),
        "the online network's worst": lambda r, end, online, target, gamma: (
            r + gamma * (1 - end.to(r)) * target.gather(1, online.argmin(-1, True))[:, 0]
        ),
    },
    "actor_critic.return_to_go": {
        "in reverse order": lambda rewards, gamma: actor_critic.return_to_go(rewards, gamma).flip(
            0
        ),
        "one factor too many": lambda rewards, gamma: (
            gamma * actor_critic.return_to_go(rewards, gamma)
        ),
    },
    "actor_critic.policy_gradient_loss": {
        "whitened": lambda logp, a, mask: -(logp * whiten(a, mask) * mask).sum() / mask.sum(),
        "size of the advantage": lambda logp, a, mask: -(logp * a.abs() * mask).sum() / mask.sum(),
    },
    "actor_critic.leave_one_out": {
        "the best of the others": lambda totals: (
            totals
            - torch.stack(
                [
                    torch.cat([totals[:, :i], totals[:, i + 1 :]], 1).amax(1)
                    for i in range(totals.shape[1])
                ],
                1,
            )
        ),
        "divided by the deviation": lambda totals: (
            actor_critic.leave_one_out(totals) / (totals.std(1, keepdim=True) + 1e-8)
        ),
    },
    "actor_critic.gae": {
        "cuts one row late": gae_resets_next,
        "whitened": lambda *args: whiten(returns.gae(*args)),
    },
    "actor_critic.entropy_bonus": {
        "in bits": lambda logits: bits(actor_critic.entropy_bonus(logits)),
        "share of the most possible": lambda logits: (
            actor_critic.entropy_bonus(logits) / math.log(logits.shape[-1])
        ),
        "collision entropy": lambda logits: -(logits.softmax(-1) ** 2).sum(-1).log(),
    },
    "ppo.probability_ratio": {
        "kept below 10": lambda logp, old: (logp - old).exp().clamp(max=1.5),
        "one plus the difference": lambda logp, old: 1 + logp - old,
    },
    "ppo.clipped_surrogate": {
        "clips only above": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.clamp(max=1 + clip) * a)
        ),
        "half the room": lambda ratio, a, clip: ppo.clipped_surrogate(ratio, a, clip / 2),
        "clips in the logarithm": lambda ratio, a, clip: (
            -torch.min(ratio * a, ratio.log().clamp(-clip, clip).exp() * a)
        ),
    },
    "ppo.value_loss": {
        "absolute error": lambda v, t, old=None, clip=None: 0.5 * (v - t).abs(),
        "Huber": lambda v, t, old=None, clip=None: F.smooth_l1_loss(v, t, reduction="none"),
    },
    "ppo.approx_kl": {
        "twice": lambda logp, old: 2 * ppo.approx_kl(logp, old),
        "positive part": lambda logp, old: (old - logp).clamp(min=0),
    },
    "ppo.gaussian_logp": {
        "half the constant": lambda x, mean, s: (
            -0.5 * (((x - mean) / s.exp()) ** 2 + 0.5 * math.log(2 * math.pi)) - s
        ).sum(-1),
        "actions kept within 1": lambda x, mean, s: (
            ppo.gaussian_logp(x.clamp(-1, 1), mean, s) if hasattr(ppo, "gaussian_logp") else x
        ),
    },
    "transformer.attention": {
        "hard choice": lambda q, k, v, mask: (
            F.one_hot(
                (q @ k.transpose(-2, -1)).masked_fill(~mask, -math.inf).argmax(-1), k.shape[-2]
            ).to(v)
            @ v
        ),
        "keys and queries exchanged": lambda q, k, v, mask: (
            ((k @ q.transpose(-2, -1)) / q.shape[-1] ** 0.5)
            .masked_fill(~mask, -math.inf)
            .softmax(-1)
            @ v
            if q.shape[-2] == k.shape[-2]
            else attention(q, k, v, mask)
        ),
    },
    "transformer.causal_mask": {
        "looks one step back at most": lambda queries, keys: (
            causal_mask(queries, keys)
            & ~causal_mask(queries, keys).roll(-2, dims=1).tril(keys - queries - 2)
        ),
        "the first key is always seen": lambda queries, keys: (
            torch.ones(queries, keys, dtype=torch.bool)
            .tril(keys - queries - 1)
            .index_fill(1, torch.tensor([0]), True)
        ),
    },
    "transformer.residual_block": {
        "both branches twice": lambda x, n1, att, n2, ff: (
            x + 2 * att(n1(x)) + ff(n2(x + 2 * att(n1(x))))
        ),
        "half the stream": lambda x, n1, att, n2, ff: (
            0.5 * (x + att(n1(x))) + ff(n2(x + att(n1(x))))
        ),
    },
    "transformer.next_token_nll": {
        "two tokens ahead": lambda logits, tokens: F.pad(
            F.cross_entropy(logits[:, :-2].transpose(1, 2), tokens[:, 2:], reduction="none"),
            (0, 1),
        ),
        "smoothed labels": lambda logits, tokens: F.cross_entropy(
            logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none", label_smoothing=0.1
        ),
    },
    "transformer.top_p_filter": {"one token more": top_p_strict, "min-p": top_p_one_threshold},
    "adaptation.few_shot_prompt": {
        "a blank before each colon": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input : {a}\nOutput : {b}" for a, b in shots),
                f"Input : {question}\nOutput :",
            ]
        ),
        "only the first example": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input: {a}\nOutput: {b}" for a, b in shots[:1]),
                f"Input: {question}\nOutput:",
            ]
        ),
        "sorted examples": lambda instruction, shots, question: "\n\n".join(
            [
                *([instruction] if instruction else []),
                *(f"Input: {a}\nOutput: {b}" for a, b in sorted(shots)),
                f"Input: {question}\nOutput:",
            ]
        ),
    },
    "adaptation.response_mask": {
        "the last prompt token too": lambda prompt, lengths, T: response_mask(
            (prompt - 1).clamp(min=0), lengths, T
        ),
        "as long as the longest": lambda prompt, lengths, T: response_mask(
            prompt, lengths.amax().expand_as(lengths), T
        ),
    },
    "adaptation.lora_forward": {
        "through a ReLU": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale * F.linear(F.relu(F.linear(x.to(a.dtype), a)), b)
        ),
        "scale squared": lambda x, w, a, b, scale: (
            F.linear(x, w) + scale**2 * F.linear(F.linear(x.to(a.dtype), a), b)
        ),
    },
    "adaptation.merge_weight": {
        "half of it": lambda w, a, b, scale: (w.to(a.dtype) + scale / 2 * (b @ a)).to(w.dtype),
        "scale squared": lambda w, a, b, scale: (w.to(a.dtype) + scale**2 * (b @ a)).to(w.dtype),
    },
    "adaptation.masked_mean": {
        "unit length": lambda hidden, mask: F.normalize(
            (hidden * mask[..., None].to(hidden)).sum(1), dim=-1
        ),
        "the largest of each channel": lambda hidden, mask: hidden.masked_fill(
            ~mask.bool()[..., None], -1e9
        ).amax(1),
        "one token too many": lambda hidden, mask: (
            (hidden * mask[..., None].to(hidden)).sum(1)
            / (mask.sum(1, keepdim=True).to(hidden) + 1)
        ),
    },
    "reward_models.pairwise_nll": {
        "half the difference": lambda c, r, share: pairwise.pairwise_nll(c / 2, r / 2, share),
        "hinge": lambda c, r, share: (
            share * F.relu(1 - (c - r)) + (1 - share) * F.relu(1 + (c - r))
        ),
        "without the entropy of the label": lambda c, r, share: (
            pairwise.pairwise_nll(c, r, share)
            + torch.xlogy(share, share)
            + torch.xlogy(1 - share, 1 - share)
        ),
    },
    "reward_models.last_token": {
        "up to the first gap": last_before_padding,
        "the largest value": lambda values, mask: torch.where(
            mask.bool().any(1), values.masked_fill(~mask.bool(), -1e9).amax(1), 0.0
        ),
    },
    "reward_models.accuracy": {
        "close is equal": lambda c, r, share: pairwise.accuracy(c.round(), r.round(), share),
        "mean probability": lambda c, r, share: (
            share * (c - r).sigmoid() + (1 - share) * (r - c).sigmoid()
        ).mean(),
    },
    "reward_models.noisy_nll": {
        "half the carelessness": lambda c, r, share, flip: pairwise.noisy_nll(
            c, r, share, flip / 2
        ),
        "subtracts the floor": lambda c, r, share, flip: (
            pairwise.noisy_nll(c, r, share, flip) + math.log(1 - flip)
        ),
    },
    "rlhf_ppo.token_logp": {
        "in bits": lambda logits, tokens, mask: bits(_token_logp(logits, tokens)).masked_fill(
            ~mask.bool(), 0
        ),
        "running total": lambda logits, tokens, mask: (
            _token_logp(logits, tokens).masked_fill(~mask.bool(), 0).cumsum(1) * mask
        ),
        "best token": lambda logits, tokens, mask: _shift(
            logits.log_softmax(-1).amax(-1)
        ).masked_fill(~mask.bool(), 0),
    },
    "rlhf_ppo.terminal_rewards": {
        "at the first and the last": lambda scores, mask: torch.where(
            (torch.arange(mask.shape[1]) == _last(mask))
            | (torch.arange(mask.shape[1]) == mask.int().argmax(1, keepdim=True)),
            scores[:, None],
            0.0,
        ),
        "per token of the response": lambda scores, mask: torch.where(
            torch.arange(mask.shape[1]) == _last(mask),
            (scores / mask.sum(1).clamp(min=1))[:, None],
            0.0,
        ),
    },
    "rlhf_ppo.kl_shaped_rewards": {
        "half of it": lambda r, logp, ref, mask, beta: r - 0.5 * beta * (logp - ref) * mask,
        "only where it costs": lambda r, logp, ref, mask, beta: (
            r - beta * (logp - ref).clamp(min=0) * mask
        ),
        "starts with the second token": lambda r, logp, ref, mask, beta: (
            r - beta * (logp - ref) * (mask & _shift(mask.int()).bool())
        ),
    },
    "rlhf_ppo.whiten_advantages": {
        "twice the deviation": lambda a, mask: (whiten(a, mask) / 2).masked_fill(~mask.bool(), 0),
        "outliers cut": lambda a, mask: whiten(a, mask).clamp(-1, 1).masked_fill(~mask.bool(), 0),
        "the median for the mean": lambda a, mask: (
            whiten(a, mask) - whiten(a, mask)[mask.bool()].median()
        ).masked_fill(~mask.bool(), 0),
    },
    "dpo_grpo.pair_loss": {
        "no margin below zero": sequential_loss,
        "beta on the reference alone": lambda c, r, rc, rr, beta: (
            -F.logsigmoid((c - r) - beta * (rc - rr))
        ),
        "squared": lambda c, r, rc, rr, beta: dpo.pair_loss(c, r, rc, rr, beta) ** 2,
    },
    "dpo_grpo.group_advantages": {
        "against the median": lambda rewards, scale="std": (
            grpo.group_advantages(rewards, scale)
            + (rewards.mean(1, keepdim=True) - rewards.median(1, keepdim=True).values)
        ),
        "against the others": lambda rewards, scale="std": (
            grpo.group_advantages(rewards, scale) * rewards.shape[1] / (rewards.shape[1] - 1)
        ),
        "ranks": lambda rewards, scale="std": grpo.group_advantages(
            rewards.argsort(1).argsort(1).float(), scale
        ),
    },
    "dpo_grpo.kl_estimate": {
        "never negative": lambda logp, ref, kind="k3": grpo.kl_estimate(logp, ref, kind).clamp(
            min=0
        ),
        "k2 for k3": lambda logp, ref, kind="k3": grpo.kl_estimate(
            logp, ref, "k2" if kind == "k3" else kind
        ),
    },
    "dpo_grpo.token_weights": {
        "root of the length": lambda mask, normalise="sequence", max_new_tokens=1: (
            grpo.token_weights(mask, normalise, max_new_tokens)
            * (mask.sum(1, keepdim=True).float().sqrt() if normalise == "sequence" else 1)
        ),
        "empty rows do not count": lambda mask, normalise="sequence", max_new_tokens=1: (
            grpo.token_weights(mask, normalise, max_new_tokens)
            * (len(mask) / mask.bool().any(1).sum().clamp(min=1) if normalise != "token" else 1)
        ),
    },
    "alignment.best_of_n_kl": {
        "of n minus one": lambda n: math.log(max(n - 1, 1)) - (n - 1) / n,
        "half": lambda n: 0.5 * (math.log(n) - (n - 1) / n),
    },
    "alignment.best_value": {
        "the median of the best n": lambda proxy, value, n: (
            value.double().gather(-1, proxy.topk(n, -1).indices).median(-1).values
        ),
        "weights by softmax": lambda proxy, value, n: (
            (proxy.double() * n).softmax(-1) * value.double()
        ).sum(-1),
    },
    "alignment.dual_update": {
        "at most one": lambda price, cost, limit, rate: min(
            1.0, dual_update(price, cost, limit, rate)
        ),
        "only the sign counts": lambda price, cost, limit, rate: max(
            0.0, price + rate * float(np.sign(cost - limit))
        ),
        "relative excess": lambda price, cost, limit, rate: max(
            0.0, price + rate * (cost - limit) / max(limit, 0.1)
        ),
    },
    "alignment.stop_at": {
        "falls in a row": stop_after,
        "the narrowest gap": stop_at_highest_gap,
        "in the middle of the run": lambda used, second, patience: len(second) // 2,
    },
    "world_models.dyna_update": {
        "backwards through the pairs": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs[::-1], alpha, gamma
        ),
        "no bootstrap at all": lambda q, model, pairs, alpha, gamma: dyna.dyna_update(
            q, model, pairs, alpha, 0.0
        ),
    },
    "world_models.gaussian_nll": {
        "no variance above 1": lambda mean, log_var, targets: dynamics.gaussian_nll(
            mean, log_var.clamp(max=0), targets
        ),
        "in bits": lambda mean, log_var, targets: bits(
            dynamics.gaussian_nll(mean, log_var, targets)
        ),
    },
    "world_models.elite_update": {
        "one elite more": lambda plans, scores, mean, std, elites, keep: planning.elite_update(
            plans, scores, mean, std, elites + 1, keep
        ),
        "the median of the elites": lambda plans, scores, mean, std, elites, keep: (
            keep * mean
            + (1 - keep)
            * plans.gather(
                1,
                scores.topk(elites, 1).indices[:, :, None, None].expand(-1, -1, *plans.shape[2:]),
            )
            .median(1)
            .values,
            planning.elite_update(plans, scores, mean, std, elites, keep)[1],
        ),
    },
    "world_models.horizon_weights": {
        "squared": lambda returns, floor=1e-8: (
            horizons.horizon_weights(returns, floor) ** 2
            / (horizons.horizon_weights(returns, floor) ** 2).sum(0, keepdim=True)
        ),
        "the range for the variance": lambda returns, floor=1e-8: (
            (1 / (returns.amax(0) - returns.amin(0) + floor))
            / (1 / (returns.amax(0) - returns.amin(0) + floor)).sum(0, keepdim=True)
        ),
    },
    "transformer_world_model.block_causal_mask": {
        "the step before at most": lambda ended, places: (
            sequence.block_causal_mask(ended, places)
            & ~torch.ones(ended.shape[1], ended.shape[1], dtype=torch.bool)
            .tril(-2)
            .repeat_interleave(places, 0)
            .repeat_interleave(places, 1)
        ),
        "the first step is always seen": lambda ended, places: (
            sequence.block_causal_mask(ended, places)
            | (torch.arange(ended.shape[1] * places) < places)
        ),
    },
    "transformer_world_model.event_nll": {
        "surer than it is": lambda reward_logits, end_logits, rewards, ended, valid: (
            sequence.event_nll(2 * reward_logits, end_logits, rewards, ended, valid)
        ),
        "in bits": lambda *args: bits(sequence.event_nll(*args)),
    },
    "transformer_world_model.sample_frame": {
        "draws from above": lambda chance_logits, decode, draws, temperature=1.0: (
            sequence.sample_frame(chance_logits, decode, 1 - draws, temperature)
        ),
        "cells upside down": lambda chance_logits, decode, draws, temperature=1.0: (
            1 - sequence.sample_frame(chance_logits, decode, draws, temperature)
        ),
    },
    "transformer_world_model.dream_returns": {
        "one step short": lambda rewards, next_values, continues, gamma, lam: torch.cat(
            [
                dream_returns(rewards, next_values, continues, gamma, lam)[1:],
                next_values[-1:],
            ]
        ),
        "gamma on the bootstrap twice": lambda rewards, next_values, continues, gamma, lam: (
            dream_returns(rewards, gamma * next_values, continues, gamma, lam)
        ),
    },
    "transformer_world_model.continue_weights": {
        "the least of them": lambda continues: torch.cat(
            [torch.ones_like(continues[:1]), continues[:-1].cummin(0).values]
        ),
        "squared": lambda continues: continue_weights(continues) ** 2,
    },
}
