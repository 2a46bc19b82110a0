// Vectors of 16 bytes: eight numbers of 16 bits, which are computed with in f32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

constexpr int LANES = 8;

template <typename T> struct Pair;

template <> struct Pair<__half> {
    using type = __half2;
    static __device__ float2 wide(type pair) { return __half22float2(pair); }
    static __device__ type narrow(float2 pair) { return __float22half2_rn(pair); }
};

template <> struct Pair<__nv_bfloat16> {
    using type = __nv_bfloat162;
    static __device__ float2 wide(type pair) { return __bfloat1622float2(pair); }
    static __device__ type narrow(float2 pair) { return __float22bfloat162_rn(pair); }
};

template <typename T> __device__ void unpack(const uint4& bits, float (&numbers)[LANES]) {
    const auto* pairs = reinterpret_cast<const typename Pair<T>::type*>(&bits);
#pragma unroll
    for (int i = 0; i < LANES / 2; ++i) {
        const float2 pair = Pair<T>::wide(pairs[i]);
        numbers[2 * i] = pair.x;
        numbers[2 * i + 1] = pair.y;
    }
}

template <typename T> __device__ uint4 pack(const float (&numbers)[LANES]) {
    uint4 bits;
    auto* pairs = reinterpret_cast<typename Pair<T>::type*>(&bits);
#pragma unroll
    for (int i = 0; i < LANES / 2; ++i)
        pairs[i] = Pair<T>::narrow(make_float2(numbers[2 * i], numbers[2 * i + 1]));
    return bits;
}

// What a launcher answers beside the errors of CUDA: its tile cannot take the call, or there is no such tile.
constexpr int UNFIT = -1, NO_SUCH_TILE = -2;
