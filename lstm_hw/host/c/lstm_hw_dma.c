/* AXI DMA in simple mode; see lstm_hw_dma.h. x and y of a run are a transfer each. */
#include "lstm_hw_dma.h"

#include <string.h>

/* Registers: of the channel to the engine from 0x00 on, of the one from the engine from 0x30 on. */
#define TO_ENGINE 0x00u
#define FROM_ENGINE 0x30u
#define CONTROL 0x00u
#define STATUS 0x04u
#define ADDRESS_LO 0x18u
#define ADDRESS_HI 0x1cu
#define LENGTH 0x28u
#define CONTROL_RUN 0x0001u
#define CONTROL_RESET 0x0004u
#define STATUS_HALTED 0x0001u
#define STATUS_IDLE 0x0002u
#define STATUS_SCATTER_GATHER 0x0008u
#define STATUS_ERRORS 0x0070u
#define STATUS_DONE 0x1000u
#define RESET_LOOKS 10000u
#define TRY(expression)                               \
    do {                                              \
        lstm_hw_status status_ = (expression);        \
        if (status_ != LSTM_HW_OK) return status_;    \
    } while (0)

static uint32_t get(lstm_hw_dma *dma, uint32_t offset)
{
    return dma->read32(dma->bus, offset);
}

static void set(lstm_hw_dma *dma, uint32_t offset, uint32_t value)
{
    dma->write32(dma->bus, offset, value);
}

/* Which resets both channels. */
static lstm_hw_status reset(lstm_hw_dma *dma)
{
    dma->armed = 0;
    dma->sending = 0;
    set(dma, TO_ENGINE + CONTROL, CONTROL_RESET);
    for (uint32_t look = 0; get(dma, TO_ENGINE + CONTROL) & CONTROL_RESET; look++)
        if (look == RESET_LOOKS) return LSTM_HW_E_DMA;
    set(dma, TO_ENGINE + CONTROL, CONTROL_RUN);
    set(dma, FROM_ENGINE + CONTROL, CONTROL_RUN);
    for (uint32_t look = 0; (get(dma, TO_ENGINE + STATUS) | get(dma, FROM_ENGINE + STATUS)) & STATUS_HALTED; look++)
        if (look == RESET_LOOKS) return LSTM_HW_E_DMA;
    return LSTM_HW_OK;
}

static void begin(lstm_hw_dma *dma, uint32_t channel, uint64_t address, size_t bytes)
{
    set(dma, channel + STATUS, STATUS_DONE); /* a written 1 clears */
    set(dma, channel + ADDRESS_LO, (uint32_t)address);
    set(dma, channel + ADDRESS_HI, (uint32_t)(address >> 32));
    set(dma, channel + LENGTH, (uint32_t)bytes);
}

static lstm_hw_status send(void *context, const uint8_t *x, size_t count, size_t *taken)
{
    lstm_hw_dma *dma = context;
    *taken = 0;
    uint32_t status = get(dma, TO_ENGINE + STATUS);
    if (status & STATUS_ERRORS) return LSTM_HW_E_DMA;
    if (dma->sending && !(status & (STATUS_IDLE | STATUS_DONE))) return LSTM_HW_OK;
    if (x != dma->x) memmove(dma->x, x, count);
    if (dma->flush) dma->flush(dma->cache, dma->x, count);
    begin(dma, TO_ENGINE, dma->x_address, count);
    dma->sending = 1;
    *taken = count;
    return LSTM_HW_OK;
}

static lstm_hw_status receive(void *context, uint8_t *y, size_t count, int wait, size_t *got, int *last)
{
    lstm_hw_dma *dma = context;
    (void)wait;
    *got = 0;
    *last = 0;
    if (!dma->armed) {
        if (dma->flush) dma->flush(dma->cache, dma->y, count); /* no dirty line may be written over what comes */
        begin(dma, FROM_ENGINE, dma->y_address, count);
        dma->armed = count;
    }
    if ((get(dma, TO_ENGINE + STATUS) | get(dma, FROM_ENGINE + STATUS)) & STATUS_ERRORS) {
        if (y) return LSTM_HW_E_DMA; /* as after a packet that is longer than it should be */
        return reset(dma);
    }
    if (!(get(dma, FROM_ENGINE + STATUS) & STATUS_DONE)) return LSTM_HW_OK;
    size_t came = get(dma, FROM_ENGINE + LENGTH);
    if (came > dma->armed) return LSTM_HW_E_DMA;
    dma->armed = 0;
    if (!y) {
        *got = came;
        return LSTM_HW_OK;
    }
    if (came > count) return LSTM_HW_E_OUTPUT;
    if (dma->invalidate) dma->invalidate(dma->cache, dma->y, came);
    if (y != dma->y) memcpy(y, dma->y, came);
    *got = came;
    *last = 1;
    return LSTM_HW_OK;
}

static lstm_hw_status stop(void *context)
{
    return reset(context);
}

lstm_hw_status lstm_hw_dma_open(lstm_hw_dma *dma, lstm_hw_streams *streams)
{
    if (!dma || !streams || !dma->read32 || !dma->write32 || !dma->x || !dma->y || !dma->longest ||
        dma->y_bytes < LSTM_HW_DMA_Y_BYTES)
        return LSTM_HW_E_ARGUMENT;
    TRY(reset(dma));
    if (get(dma, TO_ENGINE + STATUS) & STATUS_SCATTER_GATHER) return LSTM_HW_E_UNSUPPORTED;
    streams->context = dma;
    streams->x_most = dma->x_bytes < dma->longest ? dma->x_bytes : dma->longest;
    streams->y_most = dma->y_bytes < dma->longest ? dma->y_bytes : dma->longest;
    streams->send = send;
    streams->receive = receive;
    streams->stop = stop;
    return LSTM_HW_OK;
}
