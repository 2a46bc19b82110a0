"""The writes into paged caches that serving needs: verified as any op, and held against plain loops."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cache_writes import CACHE_WRITES
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import Budget, cases

TOKENS, HEADS, HEAD, PAGES, PAGE, X, ROPE = 11, 2, 16, 4, 8, 4, 6


@pytest.mark.parametrize("shape", ["rows", "split_rows"])
@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in CACHE_WRITES.items()])
def test_drawn_calls_are_within_their_bound(text: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(text, tmp_path)
    assert not op.program.last

    @settings(
        max_examples=6,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(op.program.graph, Budget(rows=16, elements=600)))
    def holds(case: Case) -> None:
        with on_chip(op.module, CHIPS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device)

    holds()


def slots(generator: torch.Generator) -> torch.Tensor:
    """Places of the cache, each once, two of them padding."""
    found = torch.randperm(PAGES * PAGE, generator=generator)[:TOKENS]
    found[[3, 7]] = -1
    return found


def drawn(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=generator).to(torch.bfloat16)


def reshape_and_cache(g: torch.Generator) -> tuple[list[Any], list[torch.Tensor], list[torch.Tensor]]:
    key, value = (drawn(TOKENS, HEADS, HEAD, generator=g) for _ in range(2))
    keys = drawn(PAGES, HEADS, HEAD // X, PAGE, X, generator=g)
    values = drawn(PAGES, HEADS, HEAD, PAGE, generator=g)
    at = slots(g)
    wanted = [keys.clone(), values.clone()]
    for token, slot in enumerate(at.tolist()):
        for head in range(HEADS if slot >= 0 else 0):
            for d in range(HEAD):
                wanted[0][slot // PAGE, head, d // X, slot % PAGE, d % X] = key[token, head, d]
                wanted[1][slot // PAGE, head, d, slot % PAGE] = value[token, head, d]
    return [key, value, keys, values, at], [keys, values], wanted


def reshape_and_cache_flash(g: torch.Generator) -> tuple[list[Any], list[torch.Tensor], list[torch.Tensor]]:
    key, value = (drawn(TOKENS, HEADS, HEAD, generator=g) for _ in range(2))
    # Keys and values of one buffer, as FlashInfer and FlashAttention have them: views that interleave.
    both = drawn(PAGES, 2, PAGE, HEADS, HEAD, generator=g)
    caches, at = [both[:, 0], both[:, 1]], slots(g)
    wanted = [cache.clone() for cache in caches]
    for token, slot in enumerate(at.tolist()):
        if slot >= 0:
            wanted[0][slot // PAGE, slot % PAGE] = key[token]
            wanted[1][slot // PAGE, slot % PAGE] = value[token]
    return [key, value, *caches, at], caches, wanted


def concat_and_cache_mla(g: torch.Generator) -> tuple[list[Any], list[torch.Tensor], list[torch.Tensor]]:
    latent, rope = drawn(TOKENS, HEAD, generator=g), drawn(TOKENS, ROPE, generator=g)
    cache, at = drawn(PAGES, PAGE, HEAD + ROPE, generator=g), slots(g)
    wanted = cache.clone()
    for token, slot in enumerate(at.tolist()):
        if slot >= 0:
            wanted[slot // PAGE, slot % PAGE] = torch.cat([latent[token], rope[token]])
    return [latent, rope, cache, at], [cache], [wanted]


def append_paged_kv_cache(
    g: torch.Generator, heads_first: bool = False
) -> tuple[list[Any], list[torch.Tensor], list[torch.Tensor]]:
    key, value = (drawn(TOKENS, HEADS, HEAD, generator=g) for _ in range(2))
    shape = (PAGES, HEADS, PAGE, HEAD) if heads_first else (PAGES, PAGE, HEADS, HEAD)
    caches = [drawn(*shape, generator=g) for _ in range(2)]
    indptr, indices = torch.tensor([0, 1, 3], dtype=torch.int32), torch.tensor([2, 0, 3], dtype=torch.int32)
    # Two tokens behind the one page of the first request, the rest behind nine of the second.
    batch = torch.tensor([0] * 2 + [1] * (TOKENS - 2), dtype=torch.int32)
    places = torch.tensor([4, 5, *range(2, TOKENS)], dtype=torch.int32)
    wanted = [cache.clone() for cache in caches]
    for token in range(TOKENS):
        place = int(places[token])
        page = int(indices[int(indptr[batch[token]]) + place // PAGE])
        for cache, row in zip(wanted, (key[token], value[token]), strict=True):
            (cache[page, :, place % PAGE] if heads_first else cache[page, place % PAGE]).copy_(row)
    return [key, value, batch, places, *caches, indices, indptr], caches, wanted


CALLS: dict[str, Callable[..., tuple[list[Any], list[torch.Tensor], list[torch.Tensor]]]] = {
    "vLLM: reshape_and_cache": reshape_and_cache,
    "vLLM: reshape_and_cache_flash": reshape_and_cache_flash,
    "vLLM: concat_and_cache_mla": concat_and_cache_mla,
    "FlashInfer: append_paged_kv_cache, NHD": append_paged_kv_cache,
    "FlashInfer: append_paged_kv_cache, HND": lambda g: append_paged_kv_cache(g, heads_first=True),
}


@pytest.mark.parametrize("name", CACHE_WRITES)
def test_tokens_go_where_a_loop_puts_them(name: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(CACHE_WRITES[name], tmp_path)
    arguments, caches, wanted = CALLS[name](torch.Generator().manual_seed(5))
    if device.type != "cpu":
        arguments = [value.to(device) for value in arguments]
        caches = [value for value in arguments if value.shape in {cache.shape for cache in caches}][-len(caches) :]
    assert op.call(*arguments) is None
    for cache, expected in zip(caches, wanted, strict=True):
        assert torch.equal(cache.cpu(), expected)
