/* The network's x, floats from stdin, as the engine of the image of the first argument reads it; and the network's
 * outputs from those of the image's test vectors. */
#include <stdio.h>

#include "lstm_hw_float.h"

static uint8_t bytes[1u << 22];
static float values[1u << 14];
static int16_t given[1u << 14], x[1u << 14], y[1u << 14];
static int32_t outputs[1u << 14];

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    lstm_hw_image image;
    lstm_hw_test test;
    if (!file || lstm_hw_image_read(&image, bytes, fread(bytes, 1, sizeof bytes, file))) return 2;
    fclose(file);
    if (lstm_hw_image_test(&image, &test)) return 2;
    size_t elements = fread(values, sizeof *values, sizeof values / sizeof *values, stdin);
    if (elements != (size_t)test.sequences * test.steps * lstm_hw_inputs(&image)) return 2;
    if (lstm_hw_quantize(&image, values, elements, given, NULL)) return 2;
    if (lstm_hw_arrange_x(&image, test.sequences, test.steps, given, x)) return 2;
    for (size_t n = 0; n < (size_t)test.sequences * test.steps * image.inputs; n++) printf("%d ", x[n]);
    printf("\n");
    for (size_t n = 0; n < (size_t)test.sequences * test.vectors * image.outputs; n++) y[n] = lstm_hw_i16(test.y, n);
    if (lstm_hw_arrange_y(&image, test.sequences, test.steps, y, outputs)) return 2;
    size_t size = (size_t)test.sequences * lstm_hw_output_vectors(&image, test.steps) * lstm_hw_outputs(&image);
    lstm_hw_dequantize_arranged(&image, outputs, size, values);
    for (size_t n = 0; n < size; n++) printf("%a ", (double)values[n]);
    printf("\n");
    return 0;
}
