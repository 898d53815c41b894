/* The line of lstm_hw_serial.h on POSIX systems: a serial port, or any pair of file descriptors. */
#ifndef LSTM_HW_TTY_H
#define LSTM_HW_TTY_H

#include "lstm_hw_serial.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    int input, output;
} lstm_hw_tty;

/* The line over two descriptors that are open, as of a socket or of pipes. */
lstm_hw_line lstm_hw_tty_line(lstm_hw_tty *tty, int input, int output);

/* Open a serial port ("/dev/ttyUSB0"): 8 data bits, no parity, one stop bit, without flow control. */
lstm_hw_status lstm_hw_tty_open(lstm_hw_tty *tty, const char *device, uint32_t baud, lstm_hw_line *line);

void lstm_hw_tty_close(lstm_hw_tty *tty);

#ifdef __cplusplus
}
#endif

#endif
