/* Transport of a processor that has engine, DMA and weight memory in its address space; bare metal or Linux. */
#ifndef LSTM_HW_MAPPED_H
#define LSTM_HW_MAPPED_H

#include "lstm_hw_dma.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    volatile uint32_t *engine;  /* registers of the control port */
    volatile uint32_t *dma;     /* registers of the AXI DMA, or NULL: then the transport has no streams */
    uint8_t *memory;            /* where the processor has the memory of the weights ... */
    uint64_t memory_address;    /* ... and the weight ports, a multiple of 4096 */
    size_t memory_bytes;
    uint8_t *x, *y;             /* buffers of the DMA, as lstm_hw_dma.h has them */
    uint64_t x_address, y_address;
    size_t x_bytes, y_bytes;
    uint32_t longest;
    void (*flush)(void *cache, const void *start, size_t bytes); /* or NULL */
    void (*invalidate)(void *cache, void *start, size_t bytes);  /* or NULL */
    void *cache;
    lstm_hw_dma channels; /* state */
} lstm_hw_mapped;

/* Become a transport; all but the state is set before. */
lstm_hw_status lstm_hw_mapped_open(lstm_hw_mapped *mapped, lstm_hw_transport *transport);

#ifdef __cplusplus
}
#endif

#endif
