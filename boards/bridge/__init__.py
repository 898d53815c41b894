"""The bridge from a byte stream, as of a UART, to an engine's registers, memory and streams, without a processor."""
