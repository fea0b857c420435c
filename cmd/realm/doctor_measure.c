/* cmd/realm/doctor_measure.c - how fast the kernels compute when memory does not hold them up. */
#include "base/ckd.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "doctor.h"
#include "kernels/kernels.h"
#include "pool/pool.h"

/* A matrix that fits the caches, and as many tokens as make its reading cheap. */
enum { K = 2048, TOKENS = 64, ITEM_PANELS = 4, ITEMS_PER_THREAD = 4, MEASURE_MS = 120 };

static const double item_ops = 2.0 * K * TOKENS * ITEM_PANELS * PANEL_ROWS;
static const size_t y_stride = (size_t)ITEM_PANELS * PANEL_ROWS;

struct product {
    enum gemm_type type;
    size_t n_items;
    uint8_t *panels; /* (n_items * ITEM_PANELS) */
    uint8_t *acts;   /* (TOKENS) */
    float *y;        /* (threads, TOKENS, y_stride) */
};

static void product_close(struct product *p)
{
    mem_free(p->panels);
    mem_free(p->acts);
    mem_free(p->y);
}

static int pack_acts(struct product *p)
{
    const enum act_kind kind = act_kind_of(p->type);
    float *x = mem_array((size_t)K * TOKENS, sizeof(*x));
    if (!x)
        return REALM_E_NOMEM;
    for (size_t i = 0; i < (size_t)K * TOKENS; i++)
        x[i] = (float)rng_unit(1, 0, i) - 0.5f;
    for (size_t t = 0; t < TOKENS; t += TILE_TOKENS)
        kernels_best()->act_pack[kind](p->acts + t * act_bytes(kind, K), x + t * K, K, K,
                                       TILE_TOKENS);
    mem_free(x);
    return 0;
}

static int product_open(struct product *p, enum gemm_type type, unsigned threads)
{
    const size_t n_items = (size_t)threads * ITEMS_PER_THREAD;
    const size_t panels_size = n_items * ITEM_PANELS * panel_bytes(type, K);
    *p = (struct product){.type = type, .n_items = n_items};
    p->panels = mem_aligned(KERN_ALIGN, panels_size);
    p->acts = mem_aligned(KERN_ALIGN, TOKENS * act_bytes(act_kind_of(type), K));
    p->y = mem_aligned(KERN_ALIGN, threads * TOKENS * y_stride * sizeof(*p->y));
    if (!p->panels || !p->acts || !p->y || pack_acts(p)) {
        product_close(p);
        return REALM_E_NOMEM;
    }
    /* As scales and as weights these bytes are small ordinary numbers in every type. */
    for (size_t i = 0; i < panels_size; i++)
        p->panels[i] = 0x11;
    return 0;
}

static void multiply(void *ctx, size_t item, unsigned worker)
{
    const struct product *p = ctx;
    kernels_best()->gemm[p->type](p->y + worker * TOKENS * y_stride, y_stride,
                                  p->panels + item * ITEM_PANELS * panel_bytes(p->type, K),
                                  ITEM_PANELS, p->acts, K, TOKENS);
}

static double product_rate(struct pool *pool, struct product *p)
{
    pool_run(pool, multiply, p, p->n_items); // warms up
    uint64_t start = clock_ns(clock_system()), now = start;
    double ops = 0;
    while (now - start < MEASURE_MS * 1000000ull) {
        pool_run(pool, multiply, p, p->n_items);
        ops += (double)p->n_items * item_ops;
        now = clock_ns(clock_system());
    }
    return ops * 1e9 / (double)(now - start);
}

int doctor_measure_products(struct doctor *d)
{
    static const enum gemm_type types[DOCTOR_PRODUCTS] = {
        [DOCTOR_Q4_K] = GEMM_Q4_K,
        [DOCTOR_Q8_0] = GEMM_Q8_0,
        [DOCTOR_F32] = GEMM_F32,
    };
    struct pool *pool;
    int status = pool_open(&pool, d->threads);
    if (status)
        return status;
    for (size_t i = 0; !status && i < DOCTOR_PRODUCTS; i++) {
        struct product p;
        status = product_open(&p, types[i], d->threads);
        if (status)
            break;
        d->product_s[i] = product_rate(pool, &p);
        product_close(&p);
    }
    pool_close(pool);
    return status;
}
