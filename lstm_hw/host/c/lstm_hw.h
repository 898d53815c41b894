/* Driver of an lstm-hw engine: C99, without allocation, without floating point, with bounded waits.
 *
 * docs/host.md tells what a firmware image is and what is on the streams, docs/registers.md what the registers are.
 * A transport brings register accesses, the memory of the weights, and the streams of x and y to the engine:
 * lstm_hw_serial.h over a serial line, lstm_hw_mapped.h on a processor beside the engine (lstm_hw_linux.h opens its
 * parts on Linux). Nothing here may be called from two threads at once on one engine.
 */
#ifndef LSTM_HW_H
#define LSTM_HW_H

#include <stddef.h>
#include <stdint.h>

#include "lstm_hw_registers.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LSTM_HW_OK = 0,
    LSTM_HW_E_ARGUMENT,      /* an argument that this function cannot take */
    LSTM_HW_E_BUFFER,        /* a buffer of another length than the run has, or a run that the transport has no room for */
    LSTM_HW_E_VALUE,         /* a value beyond the format of x, or no number */
    LSTM_HW_E_NO_ENGINE,     /* the register ID reads something else */
    LSTM_HW_E_VERSION,       /* a control interface, bridge or image of another version */
    LSTM_HW_E_OTHER_ENGINE,  /* the image was made for another engine */
    LSTM_HW_E_IMAGE,         /* no firmware image */
    LSTM_HW_E_LENGTH,        /* an image that is cut off, or whose lengths contradict each other */
    LSTM_HW_E_DAMAGED,       /* an image whose check sums are wrong */
    LSTM_HW_E_CONTENT,       /* an image that says what cannot be */
    LSTM_HW_E_BUSY,          /* a run, or a board's self-test, is in progress */
    LSTM_HW_E_NOT_LOADED,    /* no weights on the chip, or program or weights were changed since: load the image */
    LSTM_HW_E_OTHER_IMAGE,   /* somebody else has loaded since: load the image */
    LSTM_HW_E_STATE,         /* h and c were lost by a run that failed: start the next from zero */
    LSTM_HW_E_REFUSED,       /* the engine refused a write; see `refused` */
    LSTM_HW_E_RUN,           /* the run met an error; see `error` */
    LSTM_HW_E_TIMEOUT,       /* the run did not get on; it was aborted */
    LSTM_HW_E_STUCK,         /* the engine does not answer, or its run does not end, aborted or not: only a reset helps */
    LSTM_HW_E_OUTPUT,        /* y of another length than the run has */
    LSTM_HW_E_MEMORY,        /* the memory is too small, or does not hold what was written to it */
    LSTM_HW_E_UNSUPPORTED,   /* the transport or the engine has no such part */
    LSTM_HW_E_LINK,          /* the line to the bridge is broken, or answers nonsense */
    LSTM_HW_E_DMA,           /* the DMA met an error, or does not come out of its reset */
    LSTM_HW_E_SYSTEM         /* the operating system refused; see errno */
} lstm_hw_status;

/* One sentence for a status. */
const char *lstm_hw_text(lstm_hw_status status);

/* ---- Transport: what is not there is NULL ---- */

typedef struct {
    void *context;
    lstm_hw_status (*read)(void *context, uint32_t address, uint32_t *value);
    /* Words to `address` on, the lowest first. */
    lstm_hw_status (*write)(void *context, uint32_t address, const uint32_t *words, uint32_t count);
} lstm_hw_registers;

typedef struct {
    void *context;
    uint64_t base;  /* address at which the weight ports see offset 0 */
    uint64_t bytes; /* length */
    /* Offsets and counts are multiples of 4. */
    lstm_hw_status (*write)(void *context, uint64_t offset, const uint8_t *bytes, size_t count);
    lstm_hw_status (*read)(void *context, uint64_t offset, uint8_t *bytes, size_t count);
} lstm_hw_memory;

typedef struct {
    void *context;
    size_t x_most, y_most; /* bytes of x and of y that a run may have; 0: any */
    size_t x_beat_bytes;   /* of a beat of x; 0: not known */
    /* Offer all that is left of x, whose last beat ends the run; `*taken` bytes of it were taken, maybe 0. */
    lstm_hw_status (*send)(void *context, const uint8_t *x, size_t count, size_t *taken);
    /* Take what is left of y, `count` bytes, or drop up to so many where `y` is NULL. `*got` bytes came, maybe 0;
     * `*last` says whether y ended with them. With `wait` 0 nothing that is not there is waited for. */
    lstm_hw_status (*receive)(void *context, uint8_t *y, size_t count, int wait, size_t *got, int *last);
    /* Forget all that is under way; may be NULL. */
    lstm_hw_status (*stop)(void *context);
} lstm_hw_streams;

typedef struct {
    lstm_hw_registers registers;
    lstm_hw_memory memory;
    lstm_hw_streams streams;
} lstm_hw_transport;

/* How long something may stand still: `limit` ticks of a clock, or, where `now` is NULL, so many looks. `pause` (may be
 * NULL) is called between two looks: to sleep, or to wait for the interrupt, where software has enabled it. */
typedef struct {
    uint32_t (*now)(void *context);
    void *context;
    uint32_t limit;
    void (*pause)(void *context);
} lstm_hw_patience;

/* ---- Firmware image ---- */

typedef struct {
    const uint8_t *bytes;
    size_t count;
} lstm_hw_section;

/* A view of a firmware image, which has to stay where it is. The names are those of docs/host.md. */
typedef struct {
    uint32_t content_id, ports, beat_bytes, port_bytes, instructions, entry_run, entry_load;
    uint32_t inputs, outputs, sequences, side_by_side, groups, batch, every_step, elements_together, since_zero;
    uint32_t x_bits, x_per_beat, x_width, x_rounding, x_overflow, y_width;
    uint32_t reads, sends, steps; /* of the section arrangement, 0 without it; steps that a run must have, or 0 */
    uint32_t least_steps, most_steps; /* that a run may have where a layer waits for all of them; 0: any */
    uint32_t repeats; /* steps of the outputs where the last one of x is repeated; 0: as many as x has */
    int32_t x_fraction, y_fraction;
    const uint8_t *identity; /* 32 bytes */
    lstm_hw_section program, weights, exponents, x_parts, y_even, y_odd, arrangement, about;
    lstm_hw_section vectors; /* no bytes: without test vectors */
} lstm_hw_image;

/* Read an image: every length and check sum is looked at first, the digest as well where LSTM_HW_SHA256 is defined. */
lstm_hw_status lstm_hw_image_read(lstm_hw_image *image, const uint8_t *bytes, size_t count);

/* Output vectors of a run, of each sequence. */
uint32_t lstm_hw_vectors(const lstm_hw_image *image, uint32_t steps);

/* Bytes of a run on the streams; 0 where there is no such run. */
size_t lstm_hw_x_bytes(const lstm_hw_image *image, uint32_t steps);
size_t lstm_hw_y_bytes(const lstm_hw_image *image, uint32_t steps);

/* Stored integers x[sequences][steps][inputs] to the beats of a run, of lstm_hw_x_bytes. */
lstm_hw_status lstm_hw_pack_x(const lstm_hw_image *image, uint32_t steps, const int16_t *x, uint8_t *beats,
                              size_t count);

/* Beats of a run to stored integers y[sequences][vectors][outputs]; `first_step` as of lstm_hw_run. */
lstm_hw_status lstm_hw_unpack_y(const lstm_hw_image *image, uint32_t steps, uint32_t first_step, const uint8_t *beats,
                                size_t count, int16_t *y);

/* ---- Networks that read a sequence from its end too: `reads` or `sends` of their images are not 0 ---- */

/* Elements of x of the network in a step; `inputs` of the image are those of the engine, maybe twice as many. */
uint32_t lstm_hw_inputs(const lstm_hw_image *image);

/* Elements and number of the network's output vectors, of each sequence. */
uint32_t lstm_hw_outputs(const lstm_hw_image *image);
uint32_t lstm_hw_output_vectors(const lstm_hw_image *image, uint32_t steps);

/* Whole sequences given[sequences][steps][lstm_hw_inputs] to x[sequences][steps][inputs] as the engine reads them. */
lstm_hw_status lstm_hw_arrange_x(const lstm_hw_image *image, uint32_t sequences, uint32_t steps, const int16_t *given,
                                 int16_t *x);

/* y[sequences][vectors][outputs] of the engine to the network's outputs, [sequences][lstm_hw_output_vectors]
 * [lstm_hw_outputs]: stored integers, or sums of two, which are exact. */
lstm_hw_status lstm_hw_arrange_y(const lstm_hw_image *image, uint32_t sequences, uint32_t steps, const int16_t *y,
                                 int32_t *outputs);

/* Test vectors of an image: x[sequences][steps][inputs] and y[sequences][vectors][outputs], as lstm_hw_i16 reads them. */
typedef struct {
    uint32_t sequences, steps, vectors;
    const uint8_t *x, *y;
} lstm_hw_test;

/* LSTM_HW_E_UNSUPPORTED: an image without test vectors. */
lstm_hw_status lstm_hw_image_test(const lstm_hw_image *image, lstm_hw_test *test);

/* A little-endian 16-bit integer. */
int16_t lstm_hw_i16(const uint8_t *bytes, size_t index);

/* ---- Engine ---- */

typedef struct {
    const lstm_hw_transport *transport;
    const lstm_hw_image *image; /* that was loaded, or NULL */
    lstm_hw_patience patience;
    uint32_t steps;         /* since zero state */
    int lost;               /* h and c are not what the run before left */
    uint32_t error;         /* LSTM_HW_ERROR_..., of LSTM_HW_E_RUN and LSTM_HW_E_TIMEOUT */
    uint64_t error_address; /* that belongs to it */
    uint32_t refused;       /* the register REFUSED, of LSTM_HW_E_REFUSED */
} lstm_hw_engine;

/* Look whether an engine answers, in a version that this driver knows. Writes nothing. */
lstm_hw_status lstm_hw_open(lstm_hw_engine *engine, const lstm_hw_transport *transport, lstm_hw_patience patience);

/* Bring an image to the engine that it was made for: weights to memory and, where there are such, to the chip. */
lstm_hw_status lstm_hw_load(lstm_hw_engine *engine, const lstm_hw_image *image);

/* Use the engine as it is, where it has this image already: loaded by another program, or from a board's flash memory.
 * LSTM_HW_E_OTHER_IMAGE, LSTM_HW_E_NOT_LOADED: it has another, or none; lstm_hw_load brings this one. */
lstm_hw_status lstm_hw_adopt(lstm_hw_engine *engine, const lstm_hw_image *image);

/* A run of so many steps on beats of x, which brings beats of y; h and c begin at zero or, with `clear` 0, go on where
 * the run before ended, which images with an arrangement refuse: LSTM_HW_E_ARGUMENT. `*first_step` (may be NULL) becomes the steps since zero state before the run. */
lstm_hw_status lstm_hw_run(lstm_hw_engine *engine, uint32_t steps, int clear, const uint8_t *x, size_t x_count,
                           uint8_t *y, size_t y_count, uint32_t *first_step);

/* The same on stored integers, as lstm_hw_pack_x and lstm_hw_unpack_y have them. `work` is of lstm_hw_x_bytes +
 * lstm_hw_y_bytes or more. */
lstm_hw_status lstm_hw_predict(lstm_hw_engine *engine, uint32_t steps, int clear, const int16_t *x, int16_t *y,
                               uint8_t *work, size_t work_count);

/* Give up the run that is in progress, if one is. */
lstm_hw_status lstm_hw_abort(lstm_hw_engine *engine);

typedef struct {
    uint64_t cycles, busy, stall_weights, stall_h, stall_x, stall_output, empty, read_beats;
} lstm_hw_counters;

/* Of the last run. */
lstm_hw_status lstm_hw_read_counters(lstm_hw_engine *engine, lstm_hw_counters *counters);

typedef struct {
    uint32_t preact, c, h, output;
} lstm_hw_clipped;

/* Values of the last run beyond their format; LSTM_HW_E_UNSUPPORTED: an engine that does not count them. */
lstm_hw_status lstm_hw_read_clipped(lstm_hw_engine *engine, lstm_hw_clipped *clipped);

#ifdef __cplusplus
}
#endif

#endif
