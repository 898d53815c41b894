/* Maps and files; see lstm_hw_linux.h. */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64
#include "lstm_hw_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ENGINE_BYTES ((size_t)2 * LSTM_HW_PROGRAM_SIZE)
#define DMA_BYTES ((size_t)4096)
#define PAGE_BYTES 4096u
#define TRY(expression)                               \
    do {                                              \
        lstm_hw_status status_ = (expression);        \
        if (status_ != LSTM_HW_OK) return status_;    \
    } while (0)

enum { ENGINE, DMA, BUFFER };

static lstm_hw_status map(lstm_hw_linux *linux_, int number, const char *device, uint64_t address, size_t bytes)
{
    int file = open(device, O_RDWR | O_SYNC);
    if (file < 0) return LSTM_HW_E_SYSTEM;
    void *place = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)address);
    int error = errno;
    close(file); /* the map stays */
    if (place == MAP_FAILED) {
        errno = error;
        return LSTM_HW_E_SYSTEM;
    }
    linux_->maps[number] = place;
    linux_->lengths[number] = bytes;
    return LSTM_HW_OK;
}

/* A number in a file of sysfs. */
static lstm_hw_status read_number(const char *folder, const char *name, uint64_t *value)
{
    char path[256], text[64];
    int written = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (written < 0 || (size_t)written >= sizeof path) return LSTM_HW_E_ARGUMENT;
    FILE *file = fopen(path, "r");
    if (!file) return LSTM_HW_E_SYSTEM;
    char *line = fgets(text, sizeof text, file), *end = text;
    fclose(file);
    errno = 0;
    *value = line ? (uint64_t)strtoumax(text, &end, 0) : 0;
    if (end == text || errno) {
        errno = EINVAL;
        return LSTM_HW_E_SYSTEM;
    }
    return LSTM_HW_OK;
}

static lstm_hw_status open_all(lstm_hw_linux *linux_, lstm_hw_block engine, lstm_hw_block dma, const char *buffer,
                               const char *sysfs, size_t x_bytes, size_t y_bytes, uint32_t longest,
                               lstm_hw_transport *transport)
{
    lstm_hw_mapped *mapped = &linux_->mapped;
    uint64_t address, bytes, x_room = ((uint64_t)x_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES,
                             y_room = ((uint64_t)y_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    TRY(read_number(sysfs, "phys_addr", &address));
    TRY(read_number(sysfs, "size", &bytes));
    if (x_room > bytes || y_room > bytes - x_room || bytes > SIZE_MAX) return LSTM_HW_E_MEMORY;
    TRY(map(linux_, ENGINE, engine.device, engine.address, ENGINE_BYTES));
    if (dma.device) TRY(map(linux_, DMA, dma.device, dma.address, DMA_BYTES));
    TRY(map(linux_, BUFFER, buffer, 0, (size_t)bytes));
    mapped->engine = linux_->maps[ENGINE];
    mapped->dma = linux_->maps[DMA];
    mapped->memory = linux_->maps[BUFFER];
    mapped->memory_address = address;
    mapped->memory_bytes = (size_t)(bytes - x_room - y_room);
    mapped->x = mapped->memory + mapped->memory_bytes;
    mapped->y = mapped->x + x_room;
    mapped->x_address = address + mapped->memory_bytes;
    mapped->y_address = mapped->x_address + x_room;
    mapped->x_bytes = x_bytes;
    mapped->y_bytes = y_bytes;
    mapped->longest = longest;
    return lstm_hw_mapped_open(mapped, transport);
}

lstm_hw_status lstm_hw_linux_open(lstm_hw_linux *linux_, lstm_hw_block engine, lstm_hw_block dma, const char *buffer,
                                  const char *sysfs, size_t x_bytes, size_t y_bytes, uint32_t longest,
                                  lstm_hw_transport *transport)
{
    if (!linux_ || !engine.device || !buffer || !sysfs || !transport) return LSTM_HW_E_ARGUMENT;
    memset(linux_, 0, sizeof *linux_);
    lstm_hw_status opened = open_all(linux_, engine, dma, buffer, sysfs, x_bytes, y_bytes, longest, transport);
    int error = errno;
    if (opened != LSTM_HW_OK) lstm_hw_linux_close(linux_);
    errno = error;
    return opened;
}

void lstm_hw_linux_close(lstm_hw_linux *linux_)
{
    for (int number = ENGINE; number <= BUFFER; number++)
        if (linux_->maps[number]) munmap(linux_->maps[number], linux_->lengths[number]);
    memset(linux_, 0, sizeof *linux_);
}

uint32_t lstm_hw_milliseconds(void *context)
{
    struct timespec now;
    (void)context;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}
