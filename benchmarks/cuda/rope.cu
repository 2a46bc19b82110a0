// Rotary embedding of heads before tokens: a thread turns a vector of both halves of some heads, whose angles it reads once.
#include "vectors.cuh"

namespace {

__device__ void read(const float* __restrict__ from, float (&numbers)[LANES]) {
    const float4* vectors = reinterpret_cast<const float4*>(from);
#pragma unroll
    for (int i = 0; i < LANES / 4; ++i) {
        const float4 vector = __ldg(vectors + i);
        numbers[4 * i] = vector.x;
        numbers[4 * i + 1] = vector.y;
        numbers[4 * i + 2] = vector.z;
        numbers[4 * i + 3] = vector.w;
    }
}

// The tables hold every angle twice, as models have them; one half of a row is enough.
template <typename T, int WIDTH, int HEADS, int THREADS>
__global__ void __launch_bounds__(THREADS)
    rope(const uint4* __restrict__ x, const float* __restrict__ cos, const float* __restrict__ sin,
         uint4* __restrict__ y, int heads, int tokens) {
    constexpr int HALF = WIDTH / LANES / 2;
    const int index = blockIdx.x * THREADS + threadIdx.x;
    const int token = index / HALF, at = index % HALF;
    if (token >= tokens)
        return;
    const int first = blockIdx.y * HEADS;

    uint4 left[HEADS], right[HEADS];
    long long places[HEADS];
#pragma unroll
    for (int h = 0; h < HEADS; ++h) {
        places[h] = (static_cast<long long>(first + h) * tokens + token) * (2 * HALF) + at;
        if (first + h < heads) {
            left[h] = __ldcs(x + places[h]);
            right[h] = __ldcs(x + places[h] + HALF);
        }
    }
    float c[LANES], s[LANES];
    read(cos + static_cast<long long>(token) * WIDTH + at * LANES, c);
    read(sin + static_cast<long long>(token) * WIDTH + at * LANES, s);
#pragma unroll
    for (int h = 0; h < HEADS; ++h) {
        if (first + h >= heads)
            break;
        float a[LANES], b[LANES], upper[LANES], lower[LANES];
        unpack<T>(left[h], a);
        unpack<T>(right[h], b);
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            upper[i] = a[i] * c[i] - b[i] * s[i];
            lower[i] = b[i] * c[i] + a[i] * s[i];
        }
        __stcs(y + places[h], pack<T>(upper));
        __stcs(y + places[h] + HALF, pack<T>(lower));
    }
}

struct Call {
    const uint4* x;
    const float *cos, *sin;
    uint4* y;
    int heads, tokens;
    cudaStream_t stream;
};

template <typename T, int WIDTH, int HEADS, int THREADS> int launch(const Call& call) {
    const int vectors = call.tokens * (WIDTH / LANES / 2);
    const dim3 blocks((vectors + THREADS - 1) / THREADS, (call.heads + HEADS - 1) / HEADS);
    rope<T, WIDTH, HEADS, THREADS>
        <<<blocks, THREADS, 0, call.stream>>>(call.x, call.cos, call.sin, call.y, call.heads, call.tokens);
    return cudaGetLastError();
}

template <typename T, int WIDTH> int tile(int number, const Call& call) {
    switch (number) {
    case 0: return launch<T, WIDTH, 1, 128>(call);
    case 1: return launch<T, WIDTH, 2, 128>(call);
    case 2: return launch<T, WIDTH, 4, 128>(call);
    case 3: return launch<T, WIDTH, 8, 128>(call);
    case 4: return launch<T, WIDTH, 1, 256>(call);
    case 5: return launch<T, WIDTH, 2, 256>(call);
    case 6: return launch<T, WIDTH, 4, 256>(call);
    case 7: return launch<T, WIDTH, 8, 256>(call);
    default: return NO_SUCH_TILE;
    }
}

} // namespace

// x and y: [heads, tokens, width], of all sequences of a batch; tables of f32: [tokens, width]. Widths are 64 or 128.
extern "C" int bench_rope(int number, int wide, const void* x, const void* cos, const void* sin, void* y, int heads,
                          int tokens, int width, void* stream) {
    const Call call{static_cast<const uint4*>(x),  static_cast<const float*>(cos), static_cast<const float*>(sin),
                    static_cast<uint4*>(y), heads, tokens,                         static_cast<cudaStream_t>(stream)};
    if (width == 128)
        return wide ? tile<__nv_bfloat16, 128>(number, call) : tile<__half, 128>(number, call);
    if (width == 64)
        return wide ? tile<__nv_bfloat16, 64>(number, call) : tile<__half, 64>(number, call);
    return UNFIT;
}
