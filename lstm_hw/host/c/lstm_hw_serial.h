/* Transport over a stream of bytes: the host protocol of docs/host.md, to a bridge in the FPGA or to a simulator. */
#ifndef LSTM_HW_SERIAL_H
#define LSTM_HW_SERIAL_H

#include "lstm_hw.h"
#include "lstm_hw_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef LSTM_HW_SERIAL_PAYLOAD
#define LSTM_HW_SERIAL_PAYLOAD 1024 /* longest payload that is sent or taken; a bridge may take less */
#endif
#define LSTM_HW_SERIAL_FRAME (LSTM_HW_SERIAL_PAYLOAD + 7)

typedef struct {
    void *context;
    /* All bytes to the line; 0, or another number where that fails. */
    int (*write)(void *context, const uint8_t *bytes, size_t count);
    /* Bytes that came, `count` at most: waits for the first one for so many milliseconds. 0: none came. Below 0: the
     * line is broken. */
    long (*read)(void *context, uint8_t *bytes, size_t count, uint32_t wait_ms);
    /* So many bits a second from now on, when all that was written is sent; 0, or another number where that fails. NULL: a
     * line without a speed, or always of one. */
    int (*speed)(void *context, uint32_t baud);
} lstm_hw_line;

typedef struct {
    lstm_hw_line line;
    uint32_t attempts, reply_ms; /* requests are sent so often, and answered so fast */
    uint32_t capabilities, timeout_us, y_beats;
    uint32_t x_beat_bytes, y_beat_bytes, payload;
    uint32_t y_waiting; /* beats of y in the bridge, as far as it told */
    uint32_t repeats;   /* requests that were sent again so far */
    uint8_t number, status;
    uint8_t request[LSTM_HW_SERIAL_FRAME], reply[LSTM_HW_SERIAL_FRAME];
    size_t reply_bytes; /* of the payload */
} lstm_hw_serial;

/* Say HELLO to a bridge, and become its transport. */
lstm_hw_status lstm_hw_serial_open(lstm_hw_serial *serial, lstm_hw_line line, lstm_hw_transport *transport);

/* Reset the engine, which forgets its program and its weights. */
lstm_hw_status lstm_hw_serial_reset(lstm_hw_serial *serial);

/* Use another speed. LSTM_HW_E_UNSUPPORTED: a bridge or a line of one speed, or a bridge whose clock does not give this one
 * within 2 %; nothing is changed. */
lstm_hw_status lstm_hw_serial_speed(lstm_hw_serial *serial, uint32_t baud);

/* What has become of the model in the board's flash memory, LSTM_HW_LINE_FLASH_...; once it is loaded, lstm_hw_adopt uses
 * it. LSTM_HW_E_UNSUPPORTED: a board that does not look at one. */
lstm_hw_status lstm_hw_serial_flash(lstm_hw_serial *serial, uint32_t *state);

/* The self-test of a board: LSTM_HW_LINE_TEST_... and LSTM_HW_LINE_REASON_..., as docs/host.md lists them. */
typedef struct {
    uint32_t state, reason, right, cycles;
} lstm_hw_selftest;

/* Begin a self-test, or, with `begin` 0, look at it. While one runs, all else is LSTM_HW_E_BUSY. */
lstm_hw_status lstm_hw_serial_selftest(lstm_hw_serial *serial, int begin, lstm_hw_selftest *test);

#ifdef __cplusplus
}
#endif

#endif
