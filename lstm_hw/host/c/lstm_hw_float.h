/* Real numbers to and from the stored integers of an image; the only part that needs floating point (and -lm). */
#ifndef LSTM_HW_FLOAT_H
#define LSTM_HW_FLOAT_H

#include "lstm_hw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Vectors of the network's x, `count` elements in all, of whole vectors. Values beyond the format are bounded or wrap, as the image
 * says, and are counted in `*clipped` (may be NULL). LSTM_HW_E_VALUE: no number. */
lstm_hw_status lstm_hw_quantize(const lstm_hw_image *image, const float *values, size_t count, int16_t *x,
                                size_t *clipped);

/* Outputs as real numbers. */
void lstm_hw_dequantize(const lstm_hw_image *image, const int16_t *y, size_t count, float *values);

/* The same of what lstm_hw_arrange_y gives. */
void lstm_hw_dequantize_arranged(const lstm_hw_image *image, const int32_t *outputs, size_t count, float *values);

#ifdef __cplusplus
}
#endif

#endif
