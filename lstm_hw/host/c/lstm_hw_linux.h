/* Engine, DMA and memory of lstm_hw_mapped.h on Linux: UIO or /dev/mem, and u-dma-buf. */
#ifndef LSTM_HW_LINUX_H
#define LSTM_HW_LINUX_H

#include "lstm_hw_mapped.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A block of registers: of a UIO device ("/dev/uio0", address 0), or of "/dev/mem" at its physical address. */
typedef struct {
    const char *device;
    uint64_t address;
} lstm_hw_block;

typedef struct {
    lstm_hw_mapped mapped;
    void *maps[3];
    size_t lengths[3];
} lstm_hw_linux;

/* Open the registers of engine and DMA (`dma.device` NULL: no streams) and a buffer of u-dma-buf, whose folder of
 * "phys_addr" and "size" is `sysfs` ("/sys/class/u-dma-buf/udmabuf0"), and become a transport. `x_bytes` and `y_bytes` at
 * the end of the buffer are those of the DMA, the rest is for weights. `longest` as of lstm_hw_dma.h. The buffer is
 * opened with O_SYNC, so that no cache is between. */
lstm_hw_status lstm_hw_linux_open(lstm_hw_linux *linux_, lstm_hw_block engine, lstm_hw_block dma, const char *buffer,
                                  const char *sysfs, size_t x_bytes, size_t y_bytes, uint32_t longest,
                                  lstm_hw_transport *transport);

void lstm_hw_linux_close(lstm_hw_linux *linux_);

/* Milliseconds, for lstm_hw_patience. */
uint32_t lstm_hw_milliseconds(void *context);

#ifdef __cplusplus
}
#endif

#endif
