/* Firmware images, one after the other: u32 length, bytes. A line for each: the status, and what lengths follow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lstm_hw.h"

#define MOST ((size_t)1 << 20)

/* The streams of an image that was taken, in buffers of the exact length. */
static void exercise(const lstm_hw_image *image, uint32_t steps)
{
    size_t x = lstm_hw_x_bytes(image, steps), y = lstm_hw_y_bytes(image, steps);
    size_t elements = (size_t)image->sequences * steps * image->inputs;
    printf(" %lu %lu", (unsigned long)x, (unsigned long)y);
    if (!x || !y || x > MOST || y > MOST || elements > MOST) return;
    int16_t *stored = calloc(elements, sizeof *stored), *outputs = calloc(y / 2, sizeof *outputs);
    uint8_t *beats = malloc(x), *answers = calloc(y, 1);
    if (!stored || !outputs || !beats || !answers) exit(3);
    if (lstm_hw_pack_x(image, steps, stored, beats, x)) exit(4);
    if (lstm_hw_unpack_y(image, steps, 1, answers, y, outputs)) exit(5);
    free(stored);
    free(outputs);
    free(beats);
    free(answers);
}

int main(void)
{
    uint8_t head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t count = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        uint8_t *bytes = malloc(count ? count : 1); /* where a read behind its end is noticed */
        lstm_hw_image image;
        lstm_hw_test test;
        if (!bytes || fread(bytes, 1, count, stdin) != count) return 3;
        lstm_hw_status status = lstm_hw_image_read(&image, bytes, count);
        printf("%d", status);
        if (status == LSTM_HW_OK) {
            exercise(&image, 3);
            if (lstm_hw_image_test(&image, &test) == LSTM_HW_OK) {
                size_t last = (size_t)test.sequences * test.vectors * image.outputs - 1;
                printf(" %d", lstm_hw_i16(test.y, last));
            }
        }
        printf("\n");
        free(bytes);
    }
    return 0;
}
