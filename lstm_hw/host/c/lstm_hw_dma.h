/* Streams through an AXI DMA (Xilinx) in simple mode, without scatter-gather. */
#ifndef LSTM_HW_DMA_H
#define LSTM_HW_DMA_H

#include "lstm_hw.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a DMA is and where its buffers are; all of it is set before lstm_hw_dma_open. */
typedef struct {
    /* Registers of the DMA, by byte offset. */
    void *bus;
    uint32_t (*read32)(void *bus, uint32_t offset);
    void (*write32)(void *bus, uint32_t offset, uint32_t value);
    /* Buffers that the DMA sees: where the processor and where the DMA has them. They hold x and y of a run, that of y
     * LSTM_HW_DMA_Y_BYTES at least, and begin where the DMA's data width asks for. */
    uint8_t *x, *y;
    uint64_t x_address, y_address;
    size_t x_bytes, y_bytes;
    uint32_t longest; /* bytes of a transfer: 2 to the power of the DMA's "width of buffer length register", less one */
    /* Cache maintenance, where the buffers are cached and the DMA does not see the caches; else NULL. */
    void (*flush)(void *cache, const void *start, size_t bytes);
    void (*invalidate)(void *cache, void *start, size_t bytes);
    void *cache;
    /* State. */
    size_t armed; /* bytes of the transfer of y that is under way */
    int sending;
} lstm_hw_dma;

#define LSTM_HW_DMA_Y_BYTES 64u

/* Reset a DMA, and become the streams of a transport. */
lstm_hw_status lstm_hw_dma_open(lstm_hw_dma *dma, lstm_hw_streams *streams);

#ifdef __cplusplus
}
#endif

#endif
