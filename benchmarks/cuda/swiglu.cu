// silu(gate) * up: every thread reads some vectors of both before it computes, so that many loads are under way.
#include "vectors.cuh"

namespace {

__device__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }

template <typename T, int VECTORS, int THREADS>
__global__ void __launch_bounds__(THREADS)
    swiglu(const uint4* __restrict__ gate, const uint4* __restrict__ up, uint4* __restrict__ y, long long vectors) {
    const long long first = static_cast<long long>(blockIdx.x) * (VECTORS * THREADS) + threadIdx.x;
    uint4 left[VECTORS], right[VECTORS];
#pragma unroll
    for (int v = 0; v < VECTORS; ++v)
        if (first + v * THREADS < vectors) {
            left[v] = __ldcs(gate + first + v * THREADS);
            right[v] = __ldcs(up + first + v * THREADS);
        }
#pragma unroll
    for (int v = 0; v < VECTORS; ++v)
        if (first + v * THREADS < vectors) {
            float a[LANES], b[LANES];
            unpack<T>(left[v], a);
            unpack<T>(right[v], b);
#pragma unroll
            for (int i = 0; i < LANES; ++i)
                a[i] = silu(a[i]) * b[i];
            __stcs(y + first + v * THREADS, pack<T>(a));
        }
}

struct Call {
    const uint4 *gate, *up;
    uint4* y;
    long long vectors;
    cudaStream_t stream;
};

template <typename T, int VECTORS, int THREADS> int launch(const Call& call) {
    constexpr int TILE = VECTORS * THREADS;
    const auto blocks = static_cast<unsigned>((call.vectors + TILE - 1) / TILE);
    swiglu<T, VECTORS, THREADS><<<blocks, THREADS, 0, call.stream>>>(call.gate, call.up, call.y, call.vectors);
    return cudaGetLastError();
}

template <typename T> int tile(int number, const Call& call) {
    switch (number) {
    case 0: return launch<T, 1, 128>(call);
    case 1: return launch<T, 2, 128>(call);
    case 2: return launch<T, 4, 128>(call);
    case 3: return launch<T, 1, 256>(call);
    case 4: return launch<T, 2, 256>(call);
    case 5: return launch<T, 4, 256>(call);
    case 6: return launch<T, 1, 512>(call);
    case 7: return launch<T, 2, 512>(call);
    case 8: return launch<T, 4, 512>(call);
    default: return NO_SUCH_TILE;
    }
}

} // namespace

// As many numbers as are whole vectors, one behind another.
extern "C" int bench_swiglu(int number, int wide, const void* gate, const void* up, void* y, long long numbers,
                            void* stream) {
    const Call call{static_cast<const uint4*>(gate), static_cast<const uint4*>(up), static_cast<uint4*>(y),
                    numbers / LANES, static_cast<cudaStream_t>(stream)};
    return wide ? tile<__nv_bfloat16>(number, call) : tile<__half>(number, call);
}
