/* test/kern/check_vec.c - the vector entries. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/ckd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "check.h"
#include "rows.h"

enum { FRONT = 16, CASES = 60 };

/* ---- vectors ---- */

/* What a vector entry is called with, and what it gives; a canary is before out. */
struct vectors {
    size_t n, heads, dim, rot;
    float *in[3], *cs, *front, *out;
    float value; // that a function returned, and the greatest
    float max;
    bool finite;
};

/* Ends of ranges, tiny and huge values among ordinary ones; all finite. */
static void floats_wild(float *out, size_t n, uint64_t seed)
{
    static const float wild[] = {0.0f,   -0.0f,  88.0f,   -88.0f,   87.0f,  -87.1f, 1e30f,
                                 -1e30f, 1e-40f, -1e-40f, 0x1p-24f, 120.0f, 1.0f,   -300.0f};
    floats_random(out, n, seed);
    for (size_t i = draw(seed, n, 1) % 9; i < n; i += 1 + draw(seed, i, 2) % 23)
        out[i] = wild[draw(seed, i, 3) % ARRAY_LEN(wild)];
}

static void vectors_open(struct vectors *v, size_t n, uint64_t seed)
{
    *v = (struct vectors){.n = n, .heads = 1, .dim = n};
    for (size_t i = 0; i < 3; i++) {
        v->in[i] = guarded_floats(n);
        floats_wild(v->in[i], n, seed * 3 + i);
    }
    v->cs = guarded_floats(n);
    floats_random(v->cs, n, seed + 1000);
    v->front = guarded_floats(FRONT + n);
    v->out = v->front + FRONT;
    memcpy(v->out, v->in[1], n * sizeof(float)); // what add and rope begin with
}

static void vectors_close(struct vectors *v)
{
    for (size_t i = 0; i < 3; i++)
        guarded_free(v->in[i], v->n * sizeof(float));
    guarded_free(v->cs, v->n * sizeof(float));
    guarded_free(v->front, (FRONT + v->n) * sizeof(float));
}

typedef void (*vector_call)(const struct kernels *k, struct vectors *v);

static void call_rms_norm(const struct kernels *k, struct vectors *v)
{
    k->rms_norm(v->out, v->in[0], v->in[1], v->n, 1e-5f);
}

static void call_rms_norm_onto(const struct kernels *k, struct vectors *v)
{
    k->rms_norm(v->out, v->out, v->in[0], v->n, 1e-6f);
}

static void call_layer_norm(const struct kernels *k, struct vectors *v)
{
    k->layer_norm(v->out, v->in[0], v->in[1], v->in[2], v->n, 1e-5f);
}

static void call_layer_norm_onto(const struct kernels *k, struct vectors *v)
{
    k->layer_norm(v->out, v->out, v->in[0], v->in[1], v->n, 1e-6f);
}

static void call_rope(const struct kernels *k, struct vectors *v)
{
    k->rope(v->out, v->heads, v->dim, v->rot, v->cs);
}

static void call_rope_halves(const struct kernels *k, struct vectors *v)
{
    k->rope_halves(v->out, v->heads, v->dim, v->rot, v->cs);
}

static void call_silu_mul(const struct kernels *k, struct vectors *v)
{
    k->silu_mul(v->out, v->in[0], v->in[1], v->n);
}

static void call_silu_mul_onto_gate(const struct kernels *k, struct vectors *v)
{
    k->silu_mul(v->out, v->out, v->in[0], v->n);
}

static void call_silu_mul_onto_up(const struct kernels *k, struct vectors *v)
{
    k->silu_mul(v->out, v->in[0], v->out, v->n);
}

static void call_gelu_mul(const struct kernels *k, struct vectors *v)
{
    k->gelu_mul(v->out, v->in[0], v->in[1], v->n);
}

static void call_gelu_mul_onto_gate(const struct kernels *k, struct vectors *v)
{
    k->gelu_mul(v->out, v->out, v->in[0], v->n);
}

static void call_clamped_mul(const struct kernels *k, struct vectors *v)
{
    k->clamped_mul(v->out, v->in[0], v->in[1], v->n);
}

static void call_clamped_mul_onto_up(const struct kernels *k, struct vectors *v)
{
    k->clamped_mul(v->out, v->in[0], v->out, v->n);
}

static void call_gelu(const struct kernels *k, struct vectors *v)
{
    k->gelu(v->out, v->n);
}

static void call_gelu_erf(const struct kernels *k, struct vectors *v)
{
    k->gelu_erf(v->out, v->n);
}

static void call_soft_cap(const struct kernels *k, struct vectors *v)
{
    k->soft_cap(v->out, v->n, 2.5f);
}

static void call_scale(const struct kernels *k, struct vectors *v)
{
    k->scale(v->out, v->n, 0.3f);
}

static void call_add_scaled(const struct kernels *k, struct vectors *v)
{
    k->add_scaled(v->out, v->in[0], v->n, 0.3f);
}

static void call_add(const struct kernels *k, struct vectors *v)
{
    k->add(v->out, v->in[0], v->n);
}

static void call_exp_max(const struct kernels *k, struct vectors *v)
{
    v->value = k->exp_max(v->out, v->in[0], v->n, &v->max);
}

static void call_exp_max_onto(const struct kernels *k, struct vectors *v)
{
    for (size_t i = 1; i < v->n; i += 3)
        v->out[i] = -INFINITY;
    v->value = k->exp_max(v->out, v->out, v->n, &v->max);
}

static void call_all_finite(const struct kernels *k, struct vectors *v)
{
    v->finite = k->all_finite(v->in[0], v->n);
}

/* A vector of every small size, and of some that are not small. */
static size_t size_at(size_t i)
{
    static const size_t odd[] = {64, 127, 172, 513, 2048, 5632, 5633};
    return i < CASES ? 1 + i : odd[i - CASES];
}

static bool compare_vectors(vector_call call, size_t i, const struct kernels *k,
                            const struct kernels *scalar)
{
    struct vectors want, got;
    vectors_open(&want, size_at(i), i);
    vectors_open(&got, size_at(i), i);
    want.heads = got.heads = 1 + i % 4;
    want.dim = got.dim = want.n / want.heads;
    want.rot = got.rot = (i % 3 ? want.dim : want.dim / 2) & ~(size_t)1;
    call(scalar, &want);
    call(k, &got);
    bool same = check_same(want.front, got.front, (FRONT + want.n) * sizeof(float), sizeof(float),
                           "n %zu, after %d canaries", want.n, FRONT) &&
                check_same(&want.value, &got.value, sizeof(float), sizeof(float), "the sum") &&
                check_same(&want.max, &got.max, sizeof(float), sizeof(float), "the greatest") &&
                check_canary(got.front, FRONT * sizeof(float), "what stands before a vector");
    vectors_close(&want);
    vectors_close(&got);
    return same;
}

/* The entries: ways to call them, a size to time, and the arrays that are touched. */
enum {
    RMS_NORM,
    LAYER_NORM,
    ROPE,
    ROPE_HALVES,
    EXP_MAX,
    SILU_MUL,
    GELU_MUL,
    CLAMPED_MUL,
    GELU,
    GELU_ERF,
    SOFT_CAP,
    ADD,
    SCALE,
    ADD_SCALED,
    ALL_FINITE
};

static const struct {
    vector_call calls[3];
    size_t n, arrays;
} vector_cases[] = {
    [RMS_NORM] = {{call_rms_norm, call_rms_norm_onto}, 2048, 3},
    [LAYER_NORM] = {{call_layer_norm, call_layer_norm_onto}, 2048, 4},
    [ROPE] = {{call_rope}, 2048, 2},
    [ROPE_HALVES] = {{call_rope_halves}, 2048, 2},
    [EXP_MAX] = {{call_exp_max, call_exp_max_onto}, 5632, 2},
    [SILU_MUL] = {{call_silu_mul, call_silu_mul_onto_gate, call_silu_mul_onto_up}, 5632, 3},
    [GELU_MUL] = {{call_gelu_mul, call_gelu_mul_onto_gate}, 5632, 3},
    [CLAMPED_MUL] = {{call_clamped_mul, call_clamped_mul_onto_up}, 5632, 3},
    [GELU] = {{call_gelu}, 5632, 2},
    [GELU_ERF] = {{call_gelu_erf}, 5632, 2},
    [SOFT_CAP] = {{call_soft_cap}, 5632, 2},
    [ADD] = {{call_add}, 2048, 3},
    [SCALE] = {{call_scale}, 2048, 2},
    [ADD_SCALED] = {{call_add_scaled}, 2048, 3},
    [ALL_FINITE] = {{call_all_finite}, 5632, 1},
};

static bool check_vector(const struct check_op *op, const struct kernels *k,
                         const struct kernels *scalar)
{
    const vector_call *calls = vector_cases[op->arg].calls;
    for (size_t way = 0; way < 3 && calls[way]; way++)
        for (size_t i = 0; i < CASES + 7; i++)
            if (!compare_vectors(calls[way], i, k, scalar))
                return false;
    return true;
}

/* A value that is not finite at each place of a vector, or none. */
static bool check_all_finite(const struct check_op *op, const struct kernels *k,
                             const struct kernels *scalar)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    (void)op;
    bool same = true;
    for (size_t n = 1; same && n <= 50; n++) {
        float *x = guarded_floats(n);
        for (size_t at = 0; same && at <= n; at++) {
            floats_wild(x, n, n);
            if (at < n)
                x[at] = bad[at % 3];
            const uint32_t want = scalar->all_finite(x, n), got = k->all_finite(x, n);
            same = check_same(&want, &got, 4, 4, "n %zu, bad at %zu", n, at);
        }
        guarded_free(x, n * sizeof(float));
    }
    return same;
}

struct vector_bench {
    struct vectors v;
    vector_call call;
};

static void bench_vectors_run(const struct kernels *k, void *ctx)
{
    struct vector_bench *b = ctx;
    b->call(k, &b->v);
}

static void bench_vectors_close(void *ctx)
{
    struct vector_bench *b = ctx;
    vectors_close(&b->v);
    mem_free(b);
}

static bool bench_vector(const struct check_op *op, size_t i, struct bench_case *out)
{
    if (i > 0)
        return false;
    const size_t n = vector_cases[op->arg].n;
    struct vector_bench *b = mem_alloc(sizeof(*b));
    b->call = vector_cases[op->arg].calls[0];
    vectors_open(&b->v, n, 1);
    b->v.heads = n / 64;
    b->v.dim = b->v.rot = 64;
    for (size_t j = 0; j < n; j++) { // nothing that grows or slows down when it is repeated
        b->v.in[0][j] = b->v.out[j] = (float)(j % 7) - 3;
        b->v.cs[j] = j % 2 ? 0.8f : 0.6f;
    }
    *out = (struct bench_case){.bytes = (double)(n * vector_cases[op->arg].arrays * sizeof(float)),
                               .run = bench_vectors_run,
                               .close = bench_vectors_close,
                               .ctx = b};
    snprintf(out->name, sizeof(out->name), "%zu items", n);
    return true;
}

/* ---- the table ---- */

#define MEMORY "bound by loads and stores, which AVX2 already makes as fast as they go"
#define VECTOR(name, arg, check) OP(#name, name, arg, NULL, NULL, NO_PRODUCTS, check, bench_vector)
#define BOUND(name, arg) OP(#name, name, arg, NULL, MEMORY, NO_PRODUCTS, check_vector, bench_vector)

static const struct check_op vec_ops[] = {
    VECTOR(rms_norm, RMS_NORM, check_vector),
    VECTOR(layer_norm, LAYER_NORM, check_vector),
    VECTOR(rope, ROPE, check_vector),
    VECTOR(rope_halves, ROPE_HALVES, check_vector),
    VECTOR(exp_max, EXP_MAX, check_vector),
    VECTOR(silu_mul, SILU_MUL, check_vector),
    VECTOR(gelu_mul, GELU_MUL, check_vector),
    VECTOR(clamped_mul, CLAMPED_MUL, check_vector),
    VECTOR(gelu, GELU, check_vector),
    VECTOR(gelu_erf, GELU_ERF, check_vector),
    VECTOR(soft_cap, SOFT_CAP, check_vector),
    BOUND(add, ADD),
    BOUND(scale, SCALE),
    BOUND(add_scaled, ADD_SCALED),
    VECTOR(all_finite, ALL_FINITE, check_all_finite),
};

const struct check_table check_vec_table = {vec_ops, ARRAY_LEN(vec_ops)};
