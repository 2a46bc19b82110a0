"""Softmax and its relatives: masks, caps, sinks, losses, choices of the largest."""

from __future__ import annotations

import torch
from torch.nn import functional

from .table import spec


@spec("""
op log_probabilities(x: T[..., V]) -> y: f32[..., V]
where T in {f16, bf16, f32}:
    y = log_softmax(x, over=V)
""")
def log_probabilities(x):
    return torch.log_softmax(x, -1)


@spec("""
op log_sum_exp(x: T[..., N]) -> y: f32[...]
where T in {f16, bf16, f32, f64}:
    y = logsumexp(x, over=N)
""")
def log_sum_exp(x):
    return x.logsumexp(-1)


@spec("""
op masked_log_sum_exp(x: T[M, N], length: i64[M], peak: i64[M]) -> (masked: f32[M], peaked: f32[M], logp: f32[M, N])
where T in {f16, bf16, f32, f64}:
    with_peak = where(index(N) == peak, inf, x)
    masked = logsumexp(where(index(N) < length, x, -inf), over=N)
    peaked = logsumexp(with_peak, over=N)
    logp = log_softmax(with_peak, over=N)
""")
def masked_log_sum_exp(x, length, peak):
    at = torch.arange(x.shape[1])
    with_peak = x.masked_fill(at == peak[:, None], torch.inf)
    masked = x.masked_fill(at >= length[:, None], -torch.inf)
    return masked.logsumexp(1), with_peak.logsumexp(1), with_peak.log_softmax(1)


@spec("""
op tempered_softmax(scores: T[B, H, Q, K], mask: bool[B, K], bias: T[H, Q, K] = 0, temperature: f32 = 1)
  -> p: T[B, H, Q, K]
where T in {f16, bf16, f32}:
    p = softmax(where(mask, scores / temperature + bias, -inf), over=K)
""")
def tempered_softmax(scores, mask, bias, temperature):
    scores = scores / temperature + (0 if bias is None else bias)
    return scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)


@spec("""
op causal_softmax(scores: T[B, H, Q, K], scale: f32 = 0.125, window: i32 = 1000) -> p: T[B, H, Q, K]
where T in {f16, bf16, f32}:
    distance = index(Q) + K - Q - index(K)
    p = softmax(where(distance >= 0 and distance < window, scores * scale, -inf), over=K)
""")
def causal_softmax(scores, scale, window):
    queries, keys = scores.shape[2:]
    kept = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries).triu(keys - queries - window + 1)
    return (scores * scale).masked_fill(~kept, -torch.inf).softmax(-1)


@spec("""
op capped_softmax(scores: T[..., N], cap: f32 = 30) -> p: T[..., N]
where T in {f16, bf16, f32}:
    p = softmax(cap * tanh(scores / cap), over=N)
""")
def capped_softmax(scores, cap):
    return (torch.tanh(scores / cap) * cap).softmax(-1)


@spec("""
op alibi_softmax(scores: T[B, H, Q, K], slopes: f32[H]) -> p: T[B, H, Q, K]
where T in {f16, bf16, f32}:
    p = softmax(scores + slopes * (index(K) - index(Q)), over=K)
""")
def alibi_softmax(scores, slopes):
    queries, keys = torch.arange(scores.shape[2]), torch.arange(scores.shape[3])
    return (scores + slopes[:, None, None] * (keys - queries[:, None])).softmax(-1)


@spec("""
op sink_softmax(scores: T[B, H, Q, K], sink: T[H]) -> p: T[B, H, Q, K]
where T in {bf16, f32}:
    top = maximum(amax(scores, over=K), sink)
    e = exp(scores - top)
    p = e / (sum(e, over=K) + exp(sink - top))
""")
def sink_softmax(scores, sink):
    column = sink[:, None, None].expand(*scores.shape[:3], 1)
    return torch.cat((scores, column), -1).softmax(-1)[..., :-1]


@spec("""
op row_entropy(x: T[M, N]) -> h: f32[M]
where T in {f16, f32}:
    h = -sum(softmax(x, over=N) * log_softmax(x, over=N), over=N)
""")
def row_entropy(x):
    return torch.distributions.Categorical(logits=x).entropy() if x.numel() else -(x.softmax(1)).sum(1)


@spec("""
op arg_max(x: T[M, N]) -> (at: i64[M], top: T[M])
where T in {f16, bf16, f32}:
    top = amax(x, over=N)
    at = amin(where(x == top, index(N), N), over=N)
""")
def arg_max(x):
    if not x.shape[1]:
        return torch.full((len(x),), 2**63 - 1), torch.full((len(x),), -torch.inf)
    return x.argmax(1), x.amax(1)


@spec("""
op token_loss(logits: T[M, V], labels: i64[M], ignored: i64 = -100) -> (loss: f32[M], lse: f32[M])
where T in {f16, bf16, f32}:
    lse = logsumexp(logits, over=V)
    picked = sum(where(index(V) == labels, logits, 0), over=V)
    loss = where(labels == ignored, 0, lse - picked)
""")
def token_loss(logits, labels, ignored):
    lse = logits.logsumexp(1)
    there = (labels >= 0) & (labels < logits.shape[1])
    picked = logits.gather(1, labels.where(there, 0)[:, None])[:, 0].where(there, 0) if logits.shape[1] else 0
    return torch.where(labels == ignored, 0, lse - picked), lse


@spec("""
op gathered_loss(logits: T[M, V], labels: i32[M], z_weight: f32 = 1e-4) -> loss: f32[M]
where T in {f16, bf16, f32}:
    lse = logsumexp(logits, over=V)
    loss = lse - logits[index(M), labels] + z_weight * lse * lse
""")
def gathered_loss(logits, labels, z_weight):
    lse = logits.logsumexp(1)
    there = (labels >= 0) & (labels < logits.shape[1])
    found = logits.gather(1, labels.where(there, 0)[:, None])[:, 0] if logits.numel() else lse
    picked = found.where(there, torch.nan)
    return lse - picked + z_weight * lse**2


@spec("""
op smoothed_loss(logits: T[M, V], labels: i64[M], smoothing: f32 = 0.125) -> loss: f32[M]
where T in {bf16, f32}:
    logp = log_softmax(logits, over=V)
    weight = where(index(V) == labels, 1 - smoothing, 0) + smoothing / V
    loss = -sum(weight * logp, over=V)
""")
def smoothed_loss(logits, labels, smoothing):
    size = logits.shape[1]
    target = (torch.arange(size) == labels[:, None]) * (1 - smoothing) + smoothing / max(size, 1)
    return -(target * logits.log_softmax(1)).sum(1)


@spec("""
op divergence(student: T[M, V], teacher: T[M, V], temperature: f32 = 2) -> loss: f32[M]
where T in {f16, bf16, f32}:
    p = softmax(teacher / temperature, over=V)
    loss = sum(p * (log_softmax(teacher / temperature, over=V) - log_softmax(student / temperature, over=V)), over=V)
""")
def divergence(student, teacher, temperature):
    target = (teacher / temperature).log_softmax(1)
    return functional.kl_div((student / temperature).log_softmax(1), target, reduction="none", log_target=True).sum(1)


@spec("""
op cosine_similarity(a: T[..., N], b: T[..., N], eps: f32 = 1e-8) -> y: f32[...]
where T in {f16, bf16, f32}:
    y = sum(a * b, over=N) * rsqrt(maximum(sum(a * a, over=N) * sum(b * b, over=N), eps * eps))
""")
def cosine_similarity(a, b, eps):
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).clamp_min(eps * eps).sqrt()


@spec("""
op softmax_of_the_middle(x: T[B, N, M]) -> y: T[B, N, M]
where T in {f16, f32}:
    y = softmax(x, over=N)
""")
def softmax_of_the_middle(x):
    return x.softmax(1)


@spec("""
op top_expert(router: T[M, E], bias: f32[E]) -> (expert: i32[M], gate: f32[M], share: f32[M, E])
where T in {bf16, f32}:
    score = sigmoid(router)
    best = amax(score + bias, over=E)
    expert = amin(where(score + bias == best, index(E), E), over=E)
    share = score / (sum(score, over=E) + 1e-20)
    gate = amax(share, over=E)
""")
def top_expert(router, bias):
    score = router.sigmoid()
    share = score / (score.sum(1, keepdim=True) + 1e-20)
    if not router.shape[1]:
        return torch.full((len(score),), 2**31 - 1), torch.full((len(score),), -torch.inf), share
    return (score + bias).argmax(1), share.amax(1), share
