/* SHA-256 (FIPS 180-4), for images that are not trusted: define LSTM_HW_SHA256 and build lstm_hw_sha256.c. */
#ifndef LSTM_HW_SHA256_H
#define LSTM_HW_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Whether `digest`, of 32 bytes, is that of the bytes. */
int lstm_hw_sha256_is(const uint8_t *bytes, size_t count, const uint8_t *digest);

#endif
