// RMSNorm: some threads hold a row in registers, in vectors of 16 bytes; it is read once and written once.
#include "vectors.cuh"

namespace {

constexpr int WARP = 32;

template <typename T, int THREADS, int VECTORS, int ROWS>
__global__ void __launch_bounds__(THREADS* ROWS)
    rmsnorm(const uint4* __restrict__ x, const uint4* __restrict__ weight, uint4* __restrict__ y, long long rows,
            int vectors, float eps) {
    __shared__ float sums[ROWS][THREADS / WARP];
    const int lane = threadIdx.x % THREADS, part = threadIdx.x / THREADS;
    const long long row = static_cast<long long>(blockIdx.x) * ROWS + part;
    const bool inside = row < rows;

    uint4 held[VECTORS], gain[VECTORS];
#pragma unroll
    for (int v = 0; v < VECTORS; ++v) {
        const int at = lane + v * THREADS;
        held[v] = inside && at < vectors ? __ldcs(x + row * vectors + at) : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (int v = 0; v < VECTORS; ++v) {
        const int at = lane + v * THREADS;
        gain[v] = at < vectors ? __ldg(weight + at) : uint4{0, 0, 0, 0};
    }

    float sum = 0;
#pragma unroll
    for (int v = 0; v < VECTORS; ++v) {
        float numbers[LANES];
        unpack<T>(held[v], numbers);
#pragma unroll
        for (int i = 0; i < LANES; ++i)
            sum += numbers[i] * numbers[i];
    }
#pragma unroll
    for (int apart = WARP / 2; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if constexpr (THREADS > WARP) {
        if (lane % WARP == 0)
            sums[part][lane / WARP] = sum;
        __syncthreads();
        sum = 0;
#pragma unroll
        for (int warp = 0; warp < THREADS / WARP; ++warp)
            sum += sums[part][warp];
    }
    const float inverse = rsqrtf(sum / (vectors * LANES) + eps);

#pragma unroll
    for (int v = 0; v < VECTORS; ++v) {
        const int at = lane + v * THREADS;
        float numbers[LANES], factors[LANES];
        unpack<T>(held[v], numbers);
        unpack<T>(gain[v], factors);
#pragma unroll
        for (int i = 0; i < LANES; ++i)
            numbers[i] *= inverse * factors[i];
        if (inside && at < vectors)
            __stcs(y + row * vectors + at, pack<T>(numbers));
    }
}

struct Call {
    const uint4 *x, *weight;
    uint4* y;
    long long rows;
    int vectors;
    float eps;
    cudaStream_t stream;
};

template <typename T, int THREADS, int VECTORS> int launch(const Call& call) {
    constexpr int ROWS = THREADS < 128 ? 128 / THREADS : 1;
    // A tile of more than twice the row would leave most of its threads without work.
    if (call.vectors > THREADS * VECTORS || 2 * call.vectors <= THREADS * VECTORS)
        return UNFIT;
    const auto blocks = static_cast<unsigned>((call.rows + ROWS - 1) / ROWS);
    rmsnorm<T, THREADS, VECTORS, ROWS><<<blocks, THREADS * ROWS, 0, call.stream>>>(
        call.x, call.weight, call.y, call.rows, call.vectors, call.eps);
    return cudaGetLastError();
}

template <typename T> int tile(int number, const Call& call) {
    switch (number) {
    case 0: return launch<T, 32, 2>(call);
    case 1: return launch<T, 32, 4>(call);
    case 2: return launch<T, 32, 8>(call);
    case 3: return launch<T, 64, 2>(call);
    case 4: return launch<T, 64, 4>(call);
    case 5: return launch<T, 64, 8>(call);
    case 6: return launch<T, 128, 1>(call);
    case 7: return launch<T, 128, 2>(call);
    case 8: return launch<T, 128, 4>(call);
    case 9: return launch<T, 128, 8>(call);
    case 10: return launch<T, 256, 1>(call);
    case 11: return launch<T, 256, 2>(call);
    case 12: return launch<T, 256, 4>(call);
    case 13: return launch<T, 512, 1>(call);
    case 14: return launch<T, 512, 2>(call);
    case 15: return launch<T, 512, 8>(call);
    default: return NO_SUCH_TILE;
    }
}

} // namespace

// Rows of whole vectors, one behind another; all pointers are multiples of 16 bytes. `wide` numbers are bf16, others f16.
extern "C" int bench_rmsnorm(int number, int wide, const void* x, const void* weight, void* y, long long rows,
                             int columns, float eps, void* stream) {
    const Call call{static_cast<const uint4*>(x), static_cast<const uint4*>(weight), static_cast<uint4*>(y), rows,
                    columns / LANES,              eps,                               static_cast<cudaStream_t>(stream)};
    return wide ? tile<__nv_bfloat16>(number, call) : tile<__half>(number, call);
}
