"""The writes into paged caches of vLLM and FlashInfer as specs."""

from __future__ import annotations

CACHE_WRITES = {
    "vLLM: reshape_and_cache": """
op reshape_and_cache(
    key: T[L, H, E*X], value: T[L, H, V],
    mut key_cache: C[Blocks, H, E, Page, X], mut value_cache: C[Blocks, H, V, Page],
    distinct slots: i64[L],
    k_scale: f32 = 1.0, v_scale: f32 = 1.0,
)
where T in {f16, bf16, f32}, C in {f16, bf16, f8e4m3}, V == E*X:
    \"\"\"Keys in groups of X neighbours, values with the places of a page innermost; a slot of -1 is padding.\"\"\"
    key_cache[slots // Page, index(H), index(E), slots % Page] = key / k_scale
    value_cache[slots // Page, index(H), index(V), slots % Page] = value / v_scale
""",
    "vLLM: reshape_and_cache_flash": """
op reshape_and_cache_flash(
    key: T[L, H, D], value: T[L, H, D],
    mut key_cache: C[Blocks, Page, H, D], mut value_cache: C[Blocks, Page, H, D],
    distinct slots: i64[L],
    k_scale: f32 = 1.0, v_scale: f32 = 1.0,
)
where T in {f16, bf16, f32}, C in {f16, bf16, f8e4m3}:
    key_cache[slots // Page, slots % Page] = key / k_scale
    value_cache[slots // Page, slots % Page] = value / v_scale
""",
    "vLLM: concat_and_cache_mla": """
op concat_and_cache_mla(
    kv_c: T[L, R], k_pe: T[L, P],
    mut kv_cache: C[Blocks, Page, R + P],
    distinct slots: i64[L],
    scale: f32 = 1.0,
)
where T in {f16, bf16, f32}, C in {f16, bf16, f8e4m3}:
    kv_cache[slots // Page, slots % Page] = concat(kv_c, k_pe) / scale
""",
    "FlashInfer: append_paged_kv_cache, NHD": """
op append_paged_kv_cache(
    append_key: T[L, H, D], append_value: T[L, H, D],
    batch_indices: i32[L], positions: i32[L],
    mut k_cache: C[Pages, Page, H, D], mut v_cache: C[Pages, Page, H, D],
    kv_indices: i32[N], kv_indptr: i32[B + 1],
)
where T in {f16, bf16}, C in {f16, bf16, f8e4m3}:
    page = kv_indices[kv_indptr[batch_indices] + positions // Page]
    k_cache[page, positions % Page] = append_key
    v_cache[page, positions % Page] = append_value
""",
    "FlashInfer: append_paged_kv_cache, HND": """
op append_paged_kv_cache_hnd(
    append_key: T[L, H, D], append_value: T[L, H, D],
    batch_indices: i32[L], positions: i32[L],
    mut k_cache: C[Pages, H, Page, D], mut v_cache: C[Pages, H, Page, D],
    kv_indices: i32[N], kv_indptr: i32[B + 1],
)
where T in {f16, bf16}, C in {f16, bf16, f8e4m3}:
    page = kv_indices[kv_indptr[batch_indices] + positions // Page]
    k_cache[page, index(H), positions % Page] = append_key
    v_cache[page, index(H), positions % Page] = append_value
""",
}
