/* Frames of the host protocol; see lstm_hw_serial.h. */
#include "lstm_hw_serial.h"

#include <string.h>

#define HEAD_BYTES 5u
#define CRC_BYTES 2u
#define ATTEMPTS 4u
#define REPLY_MS 1000u
#define QUIET_MS (LSTM_HW_LINE_SILENCE_MS + 10u)
#define MOST_DROPPED (64u * LSTM_HW_SERIAL_FRAME)
#define TRY(expression)                               \
    do {                                              \
        lstm_hw_status status_ = (expression);        \
        if (status_ != LSTM_HW_OK) return status_;    \
    } while (0)

static void put16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value & 0xffu);
    bytes[1] = (uint8_t)(value >> 8 & 0xffu);
}

static void put32(uint8_t *bytes, uint32_t value)
{
    put16(bytes, value & 0xffffu);
    put16(bytes + 2, value >> 16);
}

static uint32_t get16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

static uint32_t get32(const uint8_t *bytes)
{
    return get16(bytes) | get16(bytes + 2) << 16;
}

static uint64_t get64(const uint8_t *bytes)
{
    return get32(bytes) | (uint64_t)get32(bytes + 4) << 32;
}

/* CRC-16/CCITT-FALSE. */
static uint32_t crc16(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffu;
    for (size_t at = 0; at < count; at++) {
        crc ^= (uint32_t)bytes[at] << 8;
        for (int bit = 0; bit < 8; bit++) crc = (crc & 0x8000u ? crc << 1 ^ 0x1021u : crc << 1) & 0xffffu;
    }
    return crc;
}

/* Take what is left of an answer that is not wanted, until the line is quiet. */
static lstm_hw_status quiet(lstm_hw_serial *serial)
{
    uint32_t dropped = 0;
    for (;;) {
        long got = serial->line.read(serial->line.context, serial->reply, sizeof serial->reply, QUIET_MS);
        if (got < 0) return LSTM_HW_E_LINK;
        if (!got) return LSTM_HW_OK;
        dropped += (uint32_t)got;
        if (dropped > MOST_DROPPED) return LSTM_HW_E_LINK;
    }
}

/* The bridge did not understand the request, whose number it may have wrong as well. */
static int was_garbled(uint8_t status)
{
    return status == LSTM_HW_LINE_STATUS_CRC || status == LSTM_HW_LINE_STATUS_LENGTH;
}

/* One reply to the request of now. LSTM_HW_E_TIMEOUT: none that is whole came. */
static lstm_hw_status listen(lstm_hw_serial *serial, uint32_t wait_ms)
{
    uint8_t *frame = serial->reply;
    size_t held = 0;
    uint32_t dropped = 0;
    for (;;) {
        size_t wanted = HEAD_BYTES + CRC_BYTES;
        while (held && frame[0] != LSTM_HW_LINE_REPLY) memmove(frame, frame + 1, --held);
        if (held >= HEAD_BYTES) {
            size_t payload = get16(frame + 3);
            if (payload > LSTM_HW_SERIAL_PAYLOAD) {
                frame[0] = 0; /* no reply begins here */
                continue;
            }
            wanted += payload;
            if (held >= wanted) {
                if (crc16(frame + 1, wanted - CRC_BYTES - 1) != get16(frame + wanted - CRC_BYTES)) {
                    frame[0] = 0;
                    continue;
                }
                /* What answers an earlier request came too late for it. */
                if (frame[1] == serial->number || was_garbled(frame[2])) {
                    serial->status = frame[2];
                    serial->reply_bytes = payload;
                    memmove(frame, frame + HEAD_BYTES, payload);
                    return LSTM_HW_OK;
                }
                memmove(frame, frame + wanted, held -= wanted);
                continue;
            }
        }
        long got = serial->line.read(serial->line.context, frame + held, wanted - held, wait_ms);
        if (got < 0) return LSTM_HW_E_LINK;
        if (!got) return LSTM_HW_E_TIMEOUT;
        held += (size_t)got;
        dropped += (uint32_t)got;
        if (dropped > MOST_DROPPED) return LSTM_HW_E_LINK;
    }
}

static uint8_t *payload_of(lstm_hw_serial *serial)
{
    return serial->request + HEAD_BYTES;
}

/* Send the request whose payload of `count` bytes is in place, again if need be, until it is answered. */
static lstm_hw_status ask(lstm_hw_serial *serial, uint8_t op, size_t count)
{
    uint8_t *frame = serial->request;
    uint32_t wait_ms = serial->reply_ms + serial->timeout_us / 1000u;
    serial->number++;
    frame[0] = LSTM_HW_LINE_REQUEST;
    frame[1] = serial->number;
    frame[2] = op;
    put16(frame + 3, (uint32_t)count);
    put16(frame + HEAD_BYTES + count, crc16(frame + 1, HEAD_BYTES - 1 + count));
    for (uint32_t attempt = 0; attempt < serial->attempts; attempt++) {
        if (attempt) {
            TRY(quiet(serial));
            serial->repeats++;
        }
        if (serial->line.write(serial->line.context, frame, HEAD_BYTES + count + CRC_BYTES)) return LSTM_HW_E_LINK;
        lstm_hw_status heard = listen(serial, wait_ms);
        if (heard == LSTM_HW_E_TIMEOUT || (heard == LSTM_HW_OK && was_garbled(serial->status))) continue;
        TRY(heard);
        switch (serial->status) {
        case LSTM_HW_LINE_STATUS_OK:
        case LSTM_HW_LINE_STATUS_TIMEOUT: return LSTM_HW_OK;
        case LSTM_HW_LINE_STATUS_REFUSED: return LSTM_HW_E_REFUSED;
        case LSTM_HW_LINE_STATUS_BUSY: return LSTM_HW_E_BUSY;
        case LSTM_HW_LINE_STATUS_OP: return LSTM_HW_E_UNSUPPORTED;
        default: return LSTM_HW_E_LINK;
        }
    }
    return LSTM_HW_E_LINK;
}

/* The same where nothing but OK is an answer, with a payload of a length. */
static lstm_hw_status ask_for(lstm_hw_serial *serial, uint8_t op, size_t count, size_t expected)
{
    TRY(ask(serial, op, count));
    if (serial->status == LSTM_HW_LINE_STATUS_TIMEOUT) return LSTM_HW_E_STUCK;
    return serial->status == LSTM_HW_LINE_STATUS_OK && serial->reply_bytes == expected ? LSTM_HW_OK : LSTM_HW_E_LINK;
}

static lstm_hw_status read_register(void *context, uint32_t address, uint32_t *value)
{
    lstm_hw_serial *serial = context;
    put32(payload_of(serial), address);
    put16(payload_of(serial) + 4, 1);
    TRY(ask_for(serial, LSTM_HW_LINE_OP_READ, 6, 4));
    *value = get32(serial->reply);
    return LSTM_HW_OK;
}

static lstm_hw_status write_registers(void *context, uint32_t address, const uint32_t *words, uint32_t count)
{
    lstm_hw_serial *serial = context;
    uint32_t most = (serial->payload - 4) / 4;
    while (count) {
        uint32_t some = count < most ? count : most;
        put32(payload_of(serial), address);
        for (uint32_t word = 0; word < some; word++) put32(payload_of(serial) + 4 + 4 * (size_t)word, words[word]);
        TRY(ask_for(serial, LSTM_HW_LINE_OP_WRITE, 4 + 4 * (size_t)some, 0));
        address += 4 * some;
        words += some;
        count -= some;
    }
    return LSTM_HW_OK;
}

static lstm_hw_status write_memory(void *context, uint64_t offset, const uint8_t *bytes, size_t count)
{
    lstm_hw_serial *serial = context;
    size_t most = (serial->payload - 4) / 4 * 4;
    while (count) {
        size_t some = count < most ? count : most;
        if (offset > 0xffffffffu) return LSTM_HW_E_MEMORY;
        put32(payload_of(serial), (uint32_t)offset);
        memcpy(payload_of(serial) + 4, bytes, some);
        TRY(ask_for(serial, LSTM_HW_LINE_OP_MEM_WRITE, 4 + some, 0));
        offset += some;
        bytes += some;
        count -= some;
    }
    return LSTM_HW_OK;
}

static lstm_hw_status read_memory(void *context, uint64_t offset, uint8_t *bytes, size_t count)
{
    lstm_hw_serial *serial = context;
    size_t most = serial->payload / 4 * 4;
    while (count) {
        size_t some = count < most ? count : most;
        if (offset > 0xffffffffu) return LSTM_HW_E_MEMORY;
        put32(payload_of(serial), (uint32_t)offset);
        put16(payload_of(serial) + 4, (uint32_t)some);
        TRY(ask_for(serial, LSTM_HW_LINE_OP_MEM_READ, 6, some));
        memcpy(bytes, serial->reply, some);
        offset += some;
        bytes += some;
        count -= some;
    }
    return LSTM_HW_OK;
}

static lstm_hw_status send_x(void *context, const uint8_t *x, size_t count, size_t *taken)
{
    lstm_hw_serial *serial = context;
    size_t most = (serial->payload - 1) / serial->x_beat_bytes * serial->x_beat_bytes;
    size_t some = count < most ? count : most;
    payload_of(serial)[0] = some == count ? LSTM_HW_LINE_X_LAST : 0;
    memcpy(payload_of(serial) + 1, x, some);
    TRY(ask(serial, LSTM_HW_LINE_OP_X, 1 + some));
    if (serial->reply_bytes != 4) return LSTM_HW_E_LINK;
    *taken = (size_t)get16(serial->reply) * serial->x_beat_bytes;
    serial->y_waiting = get16(serial->reply + 2);
    return *taken <= some ? LSTM_HW_OK : LSTM_HW_E_LINK;
}

static lstm_hw_status receive_y(void *context, uint8_t *y, size_t count, int wait, size_t *got, int *last)
{
    lstm_hw_serial *serial = context;
    size_t beat = serial->y_beat_bytes, beats = count / beat, most = serial->payload / (beat + 1);
    *got = 0;
    *last = 0;
    if (!wait && serial->y_waiting < beats) beats = serial->y_waiting;
    if (beats > most) beats = most;
    if (!beats) return LSTM_HW_OK;
    put16(payload_of(serial), (uint32_t)beats);
    TRY(ask(serial, LSTM_HW_LINE_OP_Y, 2));
    size_t came = serial->reply_bytes / (beat + 1);
    if (serial->reply_bytes % (beat + 1) || came > beats) return LSTM_HW_E_LINK;
    for (size_t number = 0; number < came; number++) {
        const uint8_t *place = serial->reply + number * (beat + 1);
        if (y) memcpy(y + number * beat, place, beat);
        if (place[beat] & LSTM_HW_LINE_Y_LAST) {
            if (y && number + 1 < came) return LSTM_HW_E_OUTPUT; /* a packet that ends too early */
            *last = 1;
        }
    }
    serial->y_waiting = came < serial->y_waiting ? serial->y_waiting - (uint32_t)came : 0;
    *got = came * beat;
    return LSTM_HW_OK;
}

static lstm_hw_status hello(lstm_hw_serial *serial, lstm_hw_memory *memory)
{
    TRY(ask(serial, LSTM_HW_LINE_OP_HELLO, 0));
    const uint8_t *said = serial->reply;
    if (serial->reply_bytes < 2 || serial->status != LSTM_HW_LINE_STATUS_OK) return LSTM_HW_E_LINK;
    if (get16(said + LSTM_HW_LINE_HELLO_VERSION) != LSTM_HW_LINE_VERSION) return LSTM_HW_E_VERSION;
    if (serial->reply_bytes != LSTM_HW_LINE_HELLO_BYTES) return LSTM_HW_E_LINK;
    serial->capabilities = get16(said + LSTM_HW_LINE_HELLO_CAPABILITIES);
    memory->base = get64(said + LSTM_HW_LINE_HELLO_MEMORY_BASE);
    memory->bytes = get32(said + LSTM_HW_LINE_HELLO_MEMORY_BYTES);
    serial->x_beat_bytes = get16(said + LSTM_HW_LINE_HELLO_X_BEAT_BYTES);
    serial->y_beat_bytes = get16(said + LSTM_HW_LINE_HELLO_Y_BEAT_BYTES);
    serial->payload = get16(said + LSTM_HW_LINE_HELLO_MOST);
    serial->y_beats = get16(said + LSTM_HW_LINE_HELLO_Y_BEATS);
    serial->timeout_us = get32(said + LSTM_HW_LINE_HELLO_TIMEOUT_US);
    if (serial->payload > LSTM_HW_SERIAL_PAYLOAD) serial->payload = LSTM_HW_SERIAL_PAYLOAD;
    if (serial->payload < 64) return LSTM_HW_E_LINK;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_serial_open(lstm_hw_serial *serial, lstm_hw_line line, lstm_hw_transport *transport)
{
    if (!serial || !line.write || !line.read || !transport) return LSTM_HW_E_ARGUMENT;
    memset(serial, 0, sizeof *serial);
    memset(transport, 0, sizeof *transport);
    serial->line = line;
    serial->attempts = ATTEMPTS;
    serial->reply_ms = REPLY_MS;
    serial->payload = 64;
    TRY(hello(serial, &transport->memory));
    if (serial->capabilities & LSTM_HW_LINE_HAS_REGISTERS) {
        transport->registers.context = serial;
        transport->registers.read = read_register;
        transport->registers.write = write_registers;
    }
    if (serial->capabilities & LSTM_HW_LINE_HAS_MEMORY) {
        transport->memory.context = serial;
        transport->memory.write = write_memory;
        transport->memory.read = read_memory;
    }
    if (serial->capabilities & LSTM_HW_LINE_HAS_STREAMS) {
        if (serial->y_beat_bytes != LSTM_HW_Y_BEAT_BYTES || !serial->x_beat_bytes ||
            serial->x_beat_bytes > serial->payload - 1)
            return LSTM_HW_E_UNSUPPORTED;
        transport->streams.context = serial;
        transport->streams.x_beat_bytes = serial->x_beat_bytes;
        transport->streams.send = send_x;
        transport->streams.receive = receive_y;
    }
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_serial_reset(lstm_hw_serial *serial)
{
    if (!(serial->capabilities & LSTM_HW_LINE_HAS_RESET)) return LSTM_HW_E_UNSUPPORTED;
    serial->y_waiting = 0;
    return ask_for(serial, LSTM_HW_LINE_OP_RESET, 0, 0);
}

lstm_hw_status lstm_hw_serial_speed(lstm_hw_serial *serial, uint32_t baud)
{
    if (!baud) return LSTM_HW_E_ARGUMENT;
    if (!(serial->capabilities & LSTM_HW_LINE_HAS_SPEED) || !serial->line.speed) return LSTM_HW_E_UNSUPPORTED;
    TRY(ask_for(serial, LSTM_HW_LINE_OP_SPEED, 0, 8));
    uint64_t clock = get32(serial->reply), divisor = (clock + baud / 2) / baud, given = divisor * baud;
    if (!divisor || 50 * (clock > given ? clock - given : given - clock) > given) return LSTM_HW_E_UNSUPPORTED;
    put32(payload_of(serial), (uint32_t)divisor);
    TRY(ask_for(serial, LSTM_HW_LINE_OP_SPEED, 4, 8));
    if (serial->line.speed(serial->line.context, baud)) return LSTM_HW_E_LINK;
    return ask_for(serial, LSTM_HW_LINE_OP_HELLO, 0, LSTM_HW_LINE_HELLO_BYTES); /* whether it is understood */
}

lstm_hw_status lstm_hw_serial_flash(lstm_hw_serial *serial, uint32_t *state)
{
    if (!serial || !state) return LSTM_HW_E_ARGUMENT;
    if (!(serial->capabilities & LSTM_HW_LINE_HAS_FLASH)) return LSTM_HW_E_UNSUPPORTED;
    TRY(ask_for(serial, LSTM_HW_LINE_OP_FLASH, 0, 1));
    *state = serial->reply[0];
    return *state <= LSTM_HW_LINE_FLASH_LAST ? LSTM_HW_OK : LSTM_HW_E_LINK;
}

lstm_hw_status lstm_hw_serial_selftest(lstm_hw_serial *serial, int begin, lstm_hw_selftest *test)
{
    if (!(serial->capabilities & LSTM_HW_LINE_HAS_SELFTEST)) return LSTM_HW_E_UNSUPPORTED;
    payload_of(serial)[0] = begin != 0;
    TRY(ask_for(serial, LSTM_HW_LINE_OP_SELFTEST, 1, 8));
    test->state = serial->reply[0];
    test->reason = serial->reply[1];
    test->right = get16(serial->reply + 2);
    test->cycles = get32(serial->reply + 4);
    return LSTM_HW_OK;
}
