/* SHA-256; see lstm_hw_sha256.h. */
#include "lstm_hw_sha256.h"

#include <string.h>

/* Fraction bits of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static uint32_t turned(uint32_t value, unsigned places)
{
    return value >> places | value << (32u - places);
}

static void add_block(uint32_t *state, const uint8_t *block)
{
    uint32_t words[64], v[8];
    for (unsigned t = 0; t < 16; t++)
        words[t] = (uint32_t)block[4 * t] << 24 | (uint32_t)block[4 * t + 1] << 16 | (uint32_t)block[4 * t + 2] << 8 |
                   (uint32_t)block[4 * t + 3];
    for (unsigned t = 16; t < 64; t++) {
        uint32_t early = words[t - 15], late = words[t - 2];
        words[t] = words[t - 16] + words[t - 7] + (turned(early, 7) ^ turned(early, 18) ^ early >> 3) +
                   (turned(late, 17) ^ turned(late, 19) ^ late >> 10);
    }
    memcpy(v, state, sizeof v);
    for (unsigned t = 0; t < 64; t++) {
        uint32_t first = v[7] + (turned(v[4], 6) ^ turned(v[4], 11) ^ turned(v[4], 25)) +
                         ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[t] + words[t];
        uint32_t second = (turned(v[0], 2) ^ turned(v[0], 13) ^ turned(v[0], 22)) +
                          ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += first;
        v[0] = first + second;
    }
    for (unsigned n = 0; n < 8; n++) state[n] += v[n];
}

int lstm_hw_sha256_is(const uint8_t *bytes, size_t count, const uint8_t *digest)
{
    uint32_t state[8] = {
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
    };
    uint8_t end[128] = {0};
    size_t whole = count / 64 * 64, rest = count - whole, size = rest < 56 ? 64 : 128;
    uint64_t bits = (uint64_t)count * 8;
    for (size_t at = 0; at < whole; at += 64) add_block(state, bytes + at);
    memcpy(end, bytes + whole, rest);
    end[rest] = 0x80;
    for (size_t n = 0; n < 8; n++) end[size - 1 - n] = (uint8_t)(bits >> 8 * n);
    for (size_t at = 0; at < size; at += 64) add_block(state, end + at);
    for (size_t n = 0; n < 32; n++)
        if (digest[n] != (uint8_t)(state[n / 4] >> (24 - 8 * (n % 4)))) return 0;
    return 1;
}
