/* Volatile accesses; see lstm_hw_mapped.h. */
#include "lstm_hw_mapped.h"

#include <string.h>

/* What the processor wrote is there before an access of a register is. */
#ifndef LSTM_HW_BARRIER
#ifdef __GNUC__
#define LSTM_HW_BARRIER() __sync_synchronize()
#else
#error "define LSTM_HW_BARRIER() as the barrier of this processor for its memory and its devices"
#endif
#endif

static lstm_hw_status read_register(void *context, uint32_t address, uint32_t *value)
{
    const lstm_hw_mapped *mapped = context;
    *value = mapped->engine[address / 4];
    LSTM_HW_BARRIER();
    return LSTM_HW_OK;
}

static lstm_hw_status write_registers(void *context, uint32_t address, const uint32_t *words, uint32_t count)
{
    const lstm_hw_mapped *mapped = context;
    LSTM_HW_BARRIER();
    for (uint32_t word = 0; word < count; word++) mapped->engine[address / 4 + word] = words[word];
    return LSTM_HW_OK;
}

static lstm_hw_status write_memory(void *context, uint64_t offset, const uint8_t *bytes, size_t count)
{
    const lstm_hw_mapped *mapped = context;
    if (offset > mapped->memory_bytes || count > mapped->memory_bytes - offset) return LSTM_HW_E_MEMORY;
    memcpy(mapped->memory + offset, bytes, count);
    if (mapped->flush) mapped->flush(mapped->cache, mapped->memory + offset, count);
    return LSTM_HW_OK;
}

static lstm_hw_status read_memory(void *context, uint64_t offset, uint8_t *bytes, size_t count)
{
    const lstm_hw_mapped *mapped = context;
    if (offset > mapped->memory_bytes || count > mapped->memory_bytes - offset) return LSTM_HW_E_MEMORY;
    if (mapped->invalidate) mapped->invalidate(mapped->cache, mapped->memory + offset, count);
    memcpy(bytes, mapped->memory + offset, count);
    return LSTM_HW_OK;
}

static uint32_t read32(void *bus, uint32_t offset)
{
    const lstm_hw_mapped *mapped = bus;
    uint32_t value = mapped->dma[offset / 4];
    LSTM_HW_BARRIER();
    return value;
}

static void write32(void *bus, uint32_t offset, uint32_t value)
{
    const lstm_hw_mapped *mapped = bus;
    LSTM_HW_BARRIER();
    mapped->dma[offset / 4] = value;
}

lstm_hw_status lstm_hw_mapped_open(lstm_hw_mapped *mapped, lstm_hw_transport *transport)
{
    if (!mapped || !transport || !mapped->engine || !mapped->memory || mapped->memory_address % 4096)
        return LSTM_HW_E_ARGUMENT;
    memset(transport, 0, sizeof *transport);
    transport->registers.context = mapped;
    transport->registers.read = read_register;
    transport->registers.write = write_registers;
    transport->memory.context = mapped;
    transport->memory.base = mapped->memory_address;
    transport->memory.bytes = mapped->memory_bytes;
    transport->memory.write = write_memory;
    transport->memory.read = read_memory;
    if (!mapped->dma) return LSTM_HW_OK;
    lstm_hw_dma *dma = &mapped->channels;
    memset(dma, 0, sizeof *dma);
    dma->bus = mapped;
    dma->read32 = read32;
    dma->write32 = write32;
    dma->x = mapped->x;
    dma->y = mapped->y;
    dma->x_address = mapped->x_address;
    dma->y_address = mapped->y_address;
    dma->x_bytes = mapped->x_bytes;
    dma->y_bytes = mapped->y_bytes;
    dma->longest = mapped->longest;
    dma->flush = mapped->flush;
    dma->invalidate = mapped->invalidate;
    dma->cache = mapped->cache;
    return lstm_hw_dma_open(dma, &transport->streams);
}
