/* kernels/scalar/gemm.h - what the scalar products share. */
#ifndef KERNELS_SCALAR_GEMM_H
#define KERNELS_SCALAR_GEMM_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

/* Token t of a tile of `width` tokens against the 16 rows of one panel. */
typedef void (*scalar_dot)(float y[PANEL_ROWS], const void *panel, const void *tile, size_t width,
                           size_t t, size_t k);

/* Walks panels and tiles of a product of the given type. */
void scalar_gemm(enum gemm_type type, scalar_dot dot, float *y, size_t y_stride, const void *panels,
                 size_t n_panels, const void *acts, size_t k, size_t tokens);

void gemm_f32_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens);
void gemm_f16_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                     const void *acts, size_t k, size_t tokens);
void gemm_bf16_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens);
void gemm_q8_0_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens);
void gemm_q4_0_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens);
void gemm_q4_k_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens);
void gemm_q6_k_scalar(float *y, size_t y_stride, const void *panels, size_t n_panels,
                      const void *acts, size_t k, size_t tokens);

#endif
