/* Rounding; see lstm_hw_float.h. */
#include "lstm_hw_float.h"

#include <math.h>

#include "lstm_hw_layout.h"

/* Exact: a float has 24 bits, a double 53. */
static double rounded(double value, uint32_t rounding)
{
    double below = floor(value);
    if (rounding == LSTM_HW_IMAGE_ROUNDING_FLOOR) return below;
    double rest = value - below;
    if (rounding == LSTM_HW_IMAGE_ROUNDING_HALF_EVEN && rest == 0.5) return 2.0 * floor(0.5 * below + 0.5);
    return rest >= 0.5 ? below + 1.0 : below;
}

lstm_hw_status lstm_hw_quantize(const lstm_hw_image *image, const float *values, size_t count, int16_t *x,
                                size_t *clipped)
{
    double bound = ldexp(1.0, (int)image->x_width - 1);
    size_t beyond = 0;
    uint32_t inputs = lstm_hw_inputs(image);
    if (count % inputs) return LSTM_HW_E_BUFFER;
    for (size_t index = 0; index < count; index++) {
        uint8_t exponent = image->exponents.bytes[index % inputs];
        int places = image->x_fraction + (exponent < 128 ? exponent : exponent - 256);
        if (!isfinite(values[index])) return LSTM_HW_E_VALUE;
        double stored = rounded(ldexp((double)values[index], places), image->x_rounding);
        if (stored < -bound || stored >= bound) {
            beyond++;
            if (image->x_overflow == LSTM_HW_IMAGE_OVERFLOW_WRAP) {
                stored -= 2.0 * bound * floor((stored + bound) / (2.0 * bound));
            } else {
                stored = stored < 0.0 ? -bound : bound - 1.0;
            }
        }
        x[index] = (int16_t)stored;
    }
    if (clipped) *clipped = beyond;
    return LSTM_HW_OK;
}

void lstm_hw_dequantize(const lstm_hw_image *image, const int16_t *y, size_t count, float *values)
{
    for (size_t index = 0; index < count; index++) values[index] = (float)ldexp((double)y[index], -image->y_fraction);
}

void lstm_hw_dequantize_arranged(const lstm_hw_image *image, const int32_t *outputs, size_t count, float *values)
{
    for (size_t n = 0; n < count; n++) values[n] = (float)ldexp((double)outputs[n], -image->y_fraction);
}
