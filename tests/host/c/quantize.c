/* Floats from stdin, as the image of the first argument stores them; a line: status, values clipped, integers. */
#include <stdio.h>
#include <stdlib.h>

#include "lstm_hw_float.h"

static uint8_t bytes[1u << 22];
static float values[1u << 14], again[1u << 14];
static int16_t stored[1u << 14];

int main(int count, char **arguments)
{
    FILE *file = count == 2 ? fopen(arguments[1], "rb") : NULL;
    lstm_hw_image image;
    size_t clipped = 0;
    if (!file || lstm_hw_image_read(&image, bytes, fread(bytes, 1, sizeof bytes, file))) return 2;
    fclose(file);
    size_t elements = fread(values, sizeof *values, sizeof values / sizeof *values, stdin);
    printf("%d", lstm_hw_quantize(&image, values, elements, stored, &clipped));
    printf(" %lu\n", (unsigned long)clipped);
    for (size_t n = 0; n < elements; n++) printf("%d\n", stored[n]);
    lstm_hw_dequantize(&image, stored, elements, again);
    for (size_t n = 0; n < elements; n++) printf("%a\n", (double)again[n]);
    return 0;
}
