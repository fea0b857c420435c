#include "tensor/codes.h"

#include <string.h>

#include "base/assert.h"
#include "tensor/block.h"
#include "tensor/half.h"

const int8_t code_values_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
const int8_t code_values_mxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

#define AT CODE_AT

static const struct code_type types[] = {
    [DTYPE_Q8_0] = {QK, 32, 128, NULL, {CODE_PLANES_Q8_0}},
    [DTYPE_Q4_0] = {QK, 32, 8, NULL, {CODE_PLANES_Q4_0}},
    [DTYPE_Q4_1] = {QK, 32, 0, NULL, {CODE_PLANES_Q4_1}},
    [DTYPE_Q5_0] = {QK, 32, 16, NULL, {CODE_PLANES_Q5_0}},
    [DTYPE_Q5_1] = {QK, 32, 0, NULL, {CODE_PLANES_Q5_1}},
    [DTYPE_IQ4_NL] = {QK, 32, 0, code_values_iq4, {CODE_PLANES_IQ4_NL}},
    [DTYPE_MXFP4] = {QK, 32, 0, code_values_mxfp4, {CODE_PLANES_MXFP4}},
    [DTYPE_Q2_K] = {QK_K, 16, 0, NULL, {CODE_PLANES_Q2_K}},
    [DTYPE_Q3_K] = {QK_K, 16, 4, NULL, {CODE_PLANES_Q3_K}},
    [DTYPE_Q4_K] = {QK_K, 32, 0, NULL, {CODE_PLANES_Q4_K}},
    [DTYPE_Q5_K] = {QK_K, 32, 0, NULL, {CODE_PLANES_Q5_K}},
    [DTYPE_Q6_K] = {QK_K, 16, 32, NULL, {CODE_PLANES_Q6_K}},
    [DTYPE_IQ4_XS] = {QK_K, 32, 0, code_values_iq4, {CODE_PLANES_IQ4_XS}},
};

const struct code_type *code_type(enum dtype type)
{
    ASSERT(type < ARRAY_LEN(types) && types[type].items);
    return &types[type];
}

static uint32_t load_u32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static void or_u32(uint8_t *p, uint32_t word)
{
    word |= load_u32(p);
    memcpy(p, &word, 4);
}

/* The only plane whose runs are shorter than a word: item i is bit i. */
static void bits_read(const struct plane *p, const uint8_t *bytes, size_t items, uint8_t *codes)
{
    for (size_t i = 0; i < items; i++)
        codes[i] |= (uint8_t)((bytes[i / 8] >> i % 8 & 1) << p->up);
}

static void bits_write(const struct plane *p, uint8_t *bytes, size_t items, const uint8_t *codes)
{
    for (size_t i = 0; i < items; i++)
        bytes[i / 8] |= (uint8_t)((codes[i] >> p->up & 1) << i % 8);
}

/* Which bits of each byte of a word a run takes: four bytes go at once. */
static uint32_t mask_of(const struct plane *p)
{
    return ((1u << p->bits) - 1) * 0x01010101u;
}

void plane_read(const struct plane *p, const uint8_t *bytes, size_t items, uint8_t *codes)
{
    if (p->run == 1) {
        bits_read(p, bytes, items, codes);
        return;
    }
    const uint32_t mask = mask_of(p);
    for (const uint8_t *end = codes + items; codes < end; bytes += p->run)
        for (unsigned shift = 0; shift < 8 && codes < end; shift += p->bits, codes += p->run)
            for (size_t i = 0; i < p->run; i += 4)
                or_u32(codes + i, (load_u32(bytes + i) >> shift & mask) << p->up);
}

void plane_write(const struct plane *p, uint8_t *bytes, size_t items, const uint8_t *codes)
{
    if (p->run == 1) {
        bits_write(p, bytes, items, codes);
        return;
    }
    const uint32_t mask = mask_of(p);
    for (const uint8_t *end = codes + items; codes < end; bytes += p->run)
        for (unsigned shift = 0; shift < 8 && codes < end; shift += p->bits, codes += p->run)
            for (size_t i = 0; i < p->run; i += 4)
                or_u32(bytes + i, (load_u32(codes + i) >> p->up & mask) << shift);
}

void block_codes(enum dtype type, const void *block, uint8_t *codes)
{
    const struct code_type *t = code_type(type);
    memset(codes, 0, t->items);
    for (size_t i = 0; i < 2 && t->planes[i].bits; i++)
        plane_read(&t->planes[i], (const uint8_t *)block + t->planes[i].at, t->items, codes);
    for (size_t i = 0; type == DTYPE_Q8_0 && i < QK; i++) // signed in the file
        codes[i] ^= 128;
}

void block_set_codes(enum dtype type, void *block, const uint8_t *codes)
{
    const struct code_type *t = code_type(type);
    for (size_t i = 0; i < 2 && t->planes[i].bits; i++)
        plane_write(&t->planes[i], (uint8_t *)block + t->planes[i].at, t->items, codes);
    for (size_t i = 0; type == DTYPE_Q8_0 && i < QK; i++)
        ((uint8_t *)block)[t->planes[0].at + i] ^= 128;
}

void code_integers(const struct code_type *type, const uint8_t *codes, int8_t *q)
{
    const uint8_t *end = codes + type->items;
    if (type->values) {
        while (codes < end)
            *q++ = type->values[*codes++];
        return;
    }
    for (; codes < end; codes += QK, q += QK)
        for (size_t i = 0; i < QK; i++) // a constant: becomes vectors
            q[i] = (int8_t)(codes[i] - type->offset);
}

float e8m0_half(uint8_t e)
{
    return f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

void scales6_unpack(const uint8_t *packed, uint8_t *sc, uint8_t *m)
{
    for (int i = 0; i < 4; i++) {
        sc[i] = packed[i] & 63;
        m[i] = packed[i + 4] & 63;
        sc[i + 4] = (uint8_t)((packed[i + 8] & 15) | packed[i] >> 6 << 4);
        m[i + 4] = (uint8_t)(packed[i + 8] >> 4 | packed[i + 4] >> 6 << 4);
    }
}

void scales6_pack(uint8_t *packed, const uint8_t *sc, const uint8_t *m)
{
    for (int i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(sc[i] | sc[i + 4] >> 4 << 6);
        packed[i + 4] = (uint8_t)(m[i] | m[i + 4] >> 4 << 6);
        packed[i + 8] = (uint8_t)((sc[i + 4] & 15) | m[i + 4] << 4);
    }
}

static float half_at(const void *block, size_t at)
{
    uint16_t half;
    memcpy(&half, (const uint8_t *)block + at, 2);
    return f32_from_f16(half);
}

static void q2_k_scales(const uint8_t *packed, struct block_scales *out)
{
    for (size_t s = 0; s < 16; s++) {
        out->sc[s] = (int8_t)(packed[s] & 15);
        out->m[s] = packed[s] >> 4;
    }
}

static void q3_k_scales(const uint8_t *packed, struct block_scales *out)
{
    for (size_t s = 0; s < 16; s++) {
        int low = packed[s % 8] >> s / 8 * 4 & 15, high = packed[8 + s % 4] >> s / 4 * 2 & 3;
        out->sc[s] = (int8_t)((low | high << 4) - 32);
    }
}

static void iq4_xs_scales(const uint8_t *block, struct block_scales *out)
{
    const uint8_t *high = block + AT(iq4_xs, scales_h), *low = block + AT(iq4_xs, scales_l);
    for (size_t s = 0; s < 8; s++) {
        int sc = (low[s / 2] >> s % 2 * 4 & 15) | (high[s / 4] >> s % 4 * 2 & 3) << 4;
        out->sc[s] = (int8_t)(sc - 32);
    }
}

/* d, min: where their f16 stand; SIZE_MAX: there is no min. */
static void affine(const void *block, size_t d, size_t min, struct block_scales *out)
{
    out->d = half_at(block, d);
    out->min = min < SIZE_MAX ? half_at(block, min) : 0;
}

void block_scales(enum dtype type, const void *block, struct block_scales *out)
{
    const uint8_t *bytes = block;
    *out = (struct block_scales){.sc = {1}};
    switch (type) {
    case DTYPE_Q4_1:
    case DTYPE_Q5_1: // the min is added in these
        affine(block, AT(q4_1, d), AT(q4_1, m), out);
        out->min = -out->min;
        out->m[0] = 1;
        break;
    case DTYPE_MXFP4:
        out->d = e8m0_half(bytes[0]);
        break;
    case DTYPE_Q2_K:
        affine(block, AT(q2_k, d), AT(q2_k, dmin), out);
        q2_k_scales(bytes + AT(q2_k, scales), out);
        break;
    case DTYPE_Q3_K:
        affine(block, AT(q3_k, d), SIZE_MAX, out);
        q3_k_scales(bytes + AT(q3_k, scales), out);
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        affine(block, AT(q4_k, d), AT(q4_k, dmin), out);
        scales6_unpack(bytes + AT(q4_k, scales), (uint8_t *)out->sc, out->m);
        break;
    case DTYPE_Q6_K:
        affine(block, AT(q6_k, d), SIZE_MAX, out);
        memcpy(out->sc, bytes + AT(q6_k, scales), 16);
        break;
    case DTYPE_IQ4_XS:
        affine(block, AT(iq4_xs, d), SIZE_MAX, out);
        iq4_xs_scales(bytes, out);
        break;
    default: // one scale
        affine(block, 0, SIZE_MAX, out);
    }
}

void block_values(const struct code_type *type, const struct block_scales *s, const int8_t *q,
                  float *out)
{
    for (size_t i = 0; i < type->items; i += type->sub_items) {
        float scale = s->d * (float)s->sc[i / type->sub_items];
        float min = s->min * (float)s->m[i / type->sub_items];
        for (size_t j = 0; j < type->sub_items; j++)
            out[i + j] = scale * (float)q[i + j] - min;
    }
}
