/* Descriptors and termios; see lstm_hw_tty.h. */
#define _DEFAULT_SOURCE /* rates beyond those of POSIX */
#include "lstm_hw_tty.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

static int write_all(void *context, const uint8_t *bytes, size_t count)
{
    const lstm_hw_tty *tty = context;
    while (count) {
        ssize_t done = write(tty->output, bytes, count);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return -1;
        bytes += done;
        count -= (size_t)done;
    }
    return 0;
}

static long read_some(void *context, uint8_t *bytes, size_t count, uint32_t wait_ms)
{
    const lstm_hw_tty *tty = context;
    struct pollfd wanted = {tty->input, POLLIN, 0};
    int ready;
    do {
        ready = poll(&wanted, 1, wait_ms < INT_MAX ? (int)wait_ms : INT_MAX);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) return ready;
    ssize_t got = read(tty->input, bytes, count);
    return got > 0 ? (long)got : -1; /* 0: the other end is closed */
}

static int speed_of(uint32_t baud, speed_t *speed)
{
    static const struct {
        uint32_t baud;
        speed_t speed;
    } known[] = {
        {9600, B9600},       {19200, B19200},     {38400, B38400},     {57600, B57600},     {115200, B115200},
        {230400, B230400},   {460800, B460800},   {500000, B500000},   {576000, B576000},   {921600, B921600},
        {1000000, B1000000}, {1152000, B1152000}, {1500000, B1500000}, {2000000, B2000000}, {2500000, B2500000},
        {3000000, B3000000},
    };
    for (size_t number = 0; number < sizeof known / sizeof *known; number++) {
        if (known[number].baud == baud) {
            *speed = known[number].speed;
            return 1;
        }
    }
    return 0;
}

static int change_speed(void *context, uint32_t baud)
{
    const lstm_hw_tty *tty = context;
    struct termios settings;
    speed_t speed;
    if (!speed_of(baud, &speed) || tcgetattr(tty->output, &settings)) return -1;
    if (cfsetispeed(&settings, speed) || cfsetospeed(&settings, speed)) return -1;
    return tcsetattr(tty->output, TCSADRAIN, &settings);
}

lstm_hw_line lstm_hw_tty_line(lstm_hw_tty *tty, int input, int output)
{
    lstm_hw_line line = {tty, write_all, read_some, change_speed};
    tty->input = input;
    tty->output = output;
    return line;
}

static int set_up(int file, speed_t speed)
{
    struct termios settings;
    if (tcgetattr(file, &settings)) return -1;
    settings.c_iflag = 0;
    settings.c_oflag = 0;
    settings.c_lflag = 0;
    settings.c_cflag = CS8 | CREAD | CLOCAL;
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    if (cfsetispeed(&settings, speed) || cfsetospeed(&settings, speed)) return -1;
    if (tcsetattr(file, TCSAFLUSH, &settings)) return -1;
    return tcsendbreak(file, 0); /* a bridge that was left at another speed goes back to its first */
}

lstm_hw_status lstm_hw_tty_open(lstm_hw_tty *tty, const char *device, uint32_t baud, lstm_hw_line *line)
{
    speed_t speed;
    if (!tty || !device || !line || !speed_of(baud, &speed)) return LSTM_HW_E_ARGUMENT;
    int file = open(device, O_RDWR | O_NOCTTY);
    if (file < 0) return LSTM_HW_E_SYSTEM;
    if (set_up(file, speed)) {
        int error = errno;
        close(file);
        errno = error;
        return LSTM_HW_E_SYSTEM;
    }
    *line = lstm_hw_tty_line(tty, file, file);
    return LSTM_HW_OK;
}

void lstm_hw_tty_close(lstm_hw_tty *tty)
{
    close(tty->input);
    if (tty->output != tty->input) close(tty->output);
}
