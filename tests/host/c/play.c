/* The driver on the simulated engine: play serial|dma FD IMAGE COMMAND..., a line of output for each command.
 *
 * Over the socket FD, `serial` talks the host protocol; `dma` asks for single accesses, as a processor beside the engine
 * makes them: op u8, address u32, count or value u32, bytes. What is cached of the DMA's buffers is in this process, so
 * the DMA sees x after a flush only, and this process y after an invalidation only.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lstm_hw.h"
#include "lstm_hw_dma.h"
#include "lstm_hw_float.h"
#include "lstm_hw_tty.h"

enum { READ, WRITE, DMA_READ, DMA_WRITE, MEMORY_WRITE, MEMORY_READ, FLUSH, INVALIDATE };

#define BUFFER_BYTES (1u << 16)
#define ELEMENTS (1u << 16)

static int file;
static uint8_t image_bytes[1u << 22], other_bytes[1u << 22], work[2 * BUFFER_BYTES], x_buffer[BUFFER_BYTES], y_buffer[BUFFER_BYTES];
static int16_t x_stored[ELEMENTS], y_stored[ELEMENTS];
static lstm_hw_transport transport;
static lstm_hw_engine engine, other;
static lstm_hw_image image, other_image;
static lstm_hw_serial serial;
static lstm_hw_tty tty;
static lstm_hw_dma dma;

static void all(int writes, void *bytes, size_t count)
{
    uint8_t *at = bytes;
    while (count) {
        ssize_t done = writes ? write(file, at, count) : read(file, at, count);
        if (done <= 0) exit(3);
        at += done;
        count -= (size_t)done;
    }
}

static uint32_t ask(uint8_t op, uint32_t address, uint32_t value, void *bytes, size_t sent, size_t got)
{
    uint8_t head[9] = {op}, answer[4] = {0};
    for (unsigned n = 0; n < 4; n++) {
        head[1 + n] = (uint8_t)(address >> 8 * n);
        head[5 + n] = (uint8_t)(value >> 8 * n);
    }
    all(1, head, sizeof head);
    if (sent) all(1, bytes, sent);
    if (got) all(0, bytes, got);
    all(0, answer, sizeof answer);
    return (uint32_t)answer[0] | (uint32_t)answer[1] << 8 | (uint32_t)answer[2] << 16 | (uint32_t)answer[3] << 24;
}

static lstm_hw_status read_register(void *context, uint32_t address, uint32_t *value)
{
    (void)context;
    *value = ask(READ, address, 0, NULL, 0, 0);
    return LSTM_HW_OK;
}

static lstm_hw_status write_registers(void *context, uint32_t address, const uint32_t *words, uint32_t count)
{
    (void)context;
    for (uint32_t n = 0; n < count; n++) ask(WRITE, address + 4 * n, words[n], NULL, 0, 0);
    return LSTM_HW_OK;
}

static lstm_hw_status write_memory(void *context, uint64_t offset, const uint8_t *bytes, size_t count)
{
    (void)context;
    ask(MEMORY_WRITE, (uint32_t)offset, (uint32_t)count, (void *)bytes, count, 0);
    return LSTM_HW_OK;
}

static lstm_hw_status read_memory(void *context, uint64_t offset, uint8_t *bytes, size_t count)
{
    (void)context;
    ask(MEMORY_READ, (uint32_t)offset, (uint32_t)count, bytes, 0, count);
    return LSTM_HW_OK;
}

static uint32_t dma_read(void *bus, uint32_t offset)
{
    (void)bus;
    return ask(DMA_READ, offset, 0, NULL, 0, 0);
}

static void dma_write(void *bus, uint32_t offset, uint32_t value)
{
    (void)bus;
    ask(DMA_WRITE, offset, value, NULL, 0, 0);
}

static void flush(void *cache, const void *start, size_t bytes)
{
    (void)cache;
    ask(FLUSH, start == y_buffer, (uint32_t)bytes, (void *)start, bytes, 0);
}

static void invalidate(void *cache, void *start, size_t bytes)
{
    (void)cache;
    ask(INVALIDATE, start == y_buffer, (uint32_t)bytes, start, 0, bytes);
}

static lstm_hw_status connect_dma(void)
{
    transport.registers.read = read_register;
    transport.registers.write = write_registers;
    transport.memory.write = write_memory;
    transport.memory.read = read_memory;
    transport.memory.base = strtoull(getenv("MEMORY_BASE"), NULL, 0);
    transport.memory.bytes = strtoull(getenv("MEMORY_BYTES"), NULL, 0);
    dma.read32 = dma_read;
    dma.write32 = dma_write;
    dma.x = x_buffer;
    dma.y = y_buffer;
    dma.x_address = UINT64_C(0x1200000000);
    dma.y_address = UINT64_C(0x3400000000);
    dma.x_bytes = dma.y_bytes = BUFFER_BYTES;
    dma.longest = (uint32_t)strtoul(getenv("LONGEST"), NULL, 0);
    dma.flush = flush;
    dma.invalidate = invalidate;
    return lstm_hw_dma_open(&dma, &transport.streams);
}

/* A socket takes any. */
static int speed(void *context, uint32_t baud)
{
    (void)context;
    return !baud;
}

static lstm_hw_status connect_serial(void)
{
    const char *reply_ms = getenv("REPLY_MS");
    lstm_hw_line line = lstm_hw_tty_line(&tty, file, file);
    line.speed = speed;
    lstm_hw_status status = lstm_hw_serial_open(&serial, line, &transport);
    serial.reply_ms = reply_ms ? (uint32_t)strtoul(reply_ms, NULL, 0) : 60000u;
    return status;
}

static void print_y(size_t count)
{
    for (size_t n = 0; n < count; n++) printf(" %d", y_stored[n]);
}

/* A run of some steps of a group of the test sequences; prints y[sequences][vectors][outputs]. */
static void predict(uint32_t group, uint32_t first, uint32_t steps, int clear)
{
    lstm_hw_test test;
    lstm_hw_status status = lstm_hw_image_test(&image, &test);
    size_t at = 0;
    if (status == LSTM_HW_OK) {
        for (uint32_t sequence = 0; sequence < image.sequences; sequence++) {
            size_t vector = (size_t)(group * image.sequences + sequence) % test.sequences * test.steps + first;
            for (size_t n = 0; n < (size_t)steps * image.inputs; n++)
                x_stored[at++] = lstm_hw_i16(test.x, vector * image.inputs + n);
        }
        memset(y_stored, 0x55, sizeof y_stored);
        status = lstm_hw_predict(&engine, steps, clear, x_stored, y_stored, work, sizeof work);
    }
    printf("predict %d error %u refused %#x y", status, engine.error, engine.refused);
    if (status == LSTM_HW_OK)
        print_y((size_t)image.sequences * lstm_hw_vectors(&image, steps) * image.outputs);
    printf("\n");
}

static lstm_hw_status read_image(const char *path, lstm_hw_image *read, uint8_t *bytes)
{
    FILE *input = fopen(path, "rb");
    if (!input) return LSTM_HW_E_SYSTEM;
    size_t count = fread(bytes, 1, sizeof image_bytes, input);
    fclose(input);
    return lstm_hw_image_read(read, bytes, count);
}

static void put(uint32_t address, uint32_t value)
{
    transport.registers.write(transport.registers.context, address, &value, 1);
}

static unsigned long pauses;

static void pause_(void *context)
{
    (void)context;
    pauses++;
}

int main(int count, char **arguments)
{
    lstm_hw_patience patience = {NULL, NULL, 100000, pause_};
    if (count < 4) return 2;
    int over_dma = !strcmp(arguments[1], "dma");
    file = atoi(arguments[2]);
    printf("image %d\n", read_image(arguments[3], &image, image_bytes));
    printf("connect %d\n", over_dma ? connect_dma() : connect_serial());
    for (int number = 4; number < count; number++) {
        char name[16] = "";
        unsigned long a = 0, b = 0, c = 0, d = 0;
        fflush(stdout);
        sscanf(arguments[number], "%15s %li %li %li %li", name, (long *)&a, (long *)&b, (long *)&c, (long *)&d);
        if (!strcmp(name, "open")) {
            patience.limit = a ? (uint32_t)a : patience.limit;
            printf("open %d\n", lstm_hw_open(&engine, &transport, patience));
        } else if (!strcmp(name, "load")) {
            lstm_hw_status status = lstm_hw_load(&engine, &image);
            printf("load %d error %u refused %#x\n", status, engine.error, engine.refused);
        } else if (!strcmp(name, "adopt")) {
            printf("adopt %d\n", lstm_hw_adopt(&engine, &image));
        } else if (!strcmp(name, "flash")) { /* once it is no longer being loaded */
            uint32_t state = LSTM_HW_LINE_FLASH_RUNNING;
            lstm_hw_status status = LSTM_HW_OK;
            for (unsigned look = 0; look < 100000 && status == LSTM_HW_OK && state == LSTM_HW_LINE_FLASH_RUNNING; look++)
                status = lstm_hw_serial_flash(&serial, &state);
            printf("flash %d %u\n", status, state);
        } else if (!strcmp(name, "predict")) {
            predict((uint32_t)a, (uint32_t)b, (uint32_t)c, (int)d);
        } else if (!strcmp(name, "write")) {
            uint32_t refused = 0;
            put((uint32_t)a, (uint32_t)b);
            transport.registers.read(transport.registers.context, LSTM_HW_REFUSED_OFFSET, &refused);
            printf("write %#x\n", refused);
        } else if (!strcmp(name, "beat")) {
            transport.streams.x_beat_bytes = a;
            printf("beat\n");
        } else if (!strcmp(name, "start")) {
            put(LSTM_HW_ENTRY_OFFSET, image.entry_run);
            put(LSTM_HW_STEPS_OFFSET, (uint32_t)a);
            put(LSTM_HW_FLAGS_OFFSET, LSTM_HW_FLAGS_SEQUENCE_MASK);
            put(LSTM_HW_CTRL_OFFSET, LSTM_HW_CTRL_START_MASK);
            printf("start\n");
        } else if (!strcmp(name, "abort")) {
            lstm_hw_status status = lstm_hw_abort(&engine);
            printf("abort %d error %u\n", status, engine.error);
        } else if (!strcmp(name, "counters")) {
            lstm_hw_counters counters;
            printf("counters %d", lstm_hw_read_counters(&engine, &counters));
            printf(" %lu %lu\n", (unsigned long)counters.cycles, (unsigned long)counters.read_beats);
        } else if (!strcmp(name, "clipped")) {
            lstm_hw_clipped clipped = {0, 0, 0, 0};
            printf("clipped %d", lstm_hw_read_clipped(&engine, &clipped));
            printf(" %u %u %u %u\n", clipped.preact, clipped.c, clipped.h, clipped.output);
        } else if (!strcmp(name, "reset")) {
            printf("reset %d\n", lstm_hw_serial_reset(&serial));
        } else if (!strcmp(name, "image")) {
            printf("image %d\n", read_image(arguments[number] + 6, &image, image_bytes));
        } else if (!strcmp(name, "other")) { /* another master, which loads another image */
            lstm_hw_status status = read_image(arguments[number] + 6, &other_image, other_bytes);
            if (status == LSTM_HW_OK) status = lstm_hw_open(&other, &transport, patience);
            if (status == LSTM_HW_OK) status = lstm_hw_load(&other, &other_image);
            printf("other %d\n", status);
        } else if (!strcmp(name, "swap")) { /* go on as the other master */
            lstm_hw_engine held = engine;
            engine = other;
            other = held;
            printf("swap 0\n");
        } else if (!strcmp(name, "speed")) {
            printf("speed %d\n", lstm_hw_serial_speed(&serial, (uint32_t)a));
        } else if (!strcmp(name, "selftest")) {
            lstm_hw_selftest test = {0, 0, 0, 0};
            lstm_hw_status status = lstm_hw_serial_selftest(&serial, (int)a, &test);
            while (a == 2 && status == LSTM_HW_OK && test.state == LSTM_HW_LINE_TEST_RUNNING)
                status = lstm_hw_serial_selftest(&serial, 0, &test);
            printf("selftest %d %u %u %u\n", status, test.state, test.reason, test.right);
        } else if (!strcmp(name, "repeats")) {
            printf("repeats %u\n", serial.repeats);
        } else if (!strcmp(name, "pauses")) {
            printf("pauses %lu\n", pauses);
        } else {
            return 2;
        }
    }
    return 0;
}
