/* Firmware images, streams and runs; see lstm_hw.h. */
#include "lstm_hw.h"

#include <string.h>

#include "lstm_hw_layout.h"
#ifdef LSTM_HW_SHA256
#include "lstm_hw_sha256.h"
#endif

#define PAGE_BYTES 4096u
#define MAX_SIZE (1u << 20)
#define MAX_PARTS 4096u
#define MAX_EXPONENT 64
#define MAX_PER_BEAT 32u
#define COMPARED_BYTES 256u
#define DRAINED_BYTES 64u
#define TRY(expression)                               \
    do {                                              \
        lstm_hw_status status_ = (expression);        \
        if (status_ != LSTM_HW_OK) return status_;    \
    } while (0)

const char *lstm_hw_text(lstm_hw_status status)
{
    switch (status) {
    case LSTM_HW_OK: return "done";
    case LSTM_HW_E_ARGUMENT: return "an argument that this function cannot take";
    case LSTM_HW_E_BUFFER: return "a buffer of another length than the run has, or a run that the transport has no room for";
    case LSTM_HW_E_VALUE: return "a value beyond the format of x, or no number";
    case LSTM_HW_E_NO_ENGINE: return "no engine at this address";
    case LSTM_HW_E_VERSION: return "a control interface, bridge or image of another version";
    case LSTM_HW_E_OTHER_ENGINE: return "the image was made for another engine";
    case LSTM_HW_E_IMAGE: return "no firmware image";
    case LSTM_HW_E_LENGTH: return "an image that is cut off, or whose lengths contradict each other";
    case LSTM_HW_E_DAMAGED: return "an image whose check sums are wrong";
    case LSTM_HW_E_CONTENT: return "an image that says what cannot be";
    case LSTM_HW_E_BUSY: return "a run, or a board's self-test, is in progress";
    case LSTM_HW_E_NOT_LOADED: return "no weights on the chip, or program or weights were changed since: load the image";
    case LSTM_HW_E_OTHER_IMAGE: return "somebody else has loaded since: load the image";
    case LSTM_HW_E_STATE: return "h and c were lost by a run that failed: start the next from zero";
    case LSTM_HW_E_REFUSED: return "the engine refused a write";
    case LSTM_HW_E_RUN: return "the run met an error";
    case LSTM_HW_E_TIMEOUT: return "the run did not get on; it was aborted";
    case LSTM_HW_E_STUCK: return "the engine does not answer, or its run does not end, aborted or not: only a reset helps";
    case LSTM_HW_E_OUTPUT: return "y of another length than the run has";
    case LSTM_HW_E_MEMORY: return "the memory is too small, or does not hold what was written to it";
    case LSTM_HW_E_UNSUPPORTED: return "the transport or the engine has no such part";
    case LSTM_HW_E_LINK: return "the line to the bridge is broken, or answers nonsense";
    case LSTM_HW_E_DMA: return "the DMA met an error, or does not come out of its reset";
    case LSTM_HW_E_SYSTEM: return "the operating system refused";
    }
    return "no such status";
}

/* ---- Firmware image ---- */

static uint32_t u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static int32_t i32(const uint8_t *bytes)
{
    uint32_t value = u32(bytes);
    return value < 0x80000000u ? (int32_t)value : -1 - (int32_t)(0xffffffffu - value);
}

int16_t lstm_hw_i16(const uint8_t *bytes, size_t index)
{
    int32_t value = (int32_t)bytes[2 * index] | (int32_t)bytes[2 * index + 1] << 8;
    return (int16_t)(value < 0x8000 ? value : value - 0x10000);
}

static uint32_t crc32(const uint8_t *bytes, size_t count)
{
    /* Of four bits each: polynomial 0xedb88320, reflected. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
        0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
    };
    uint32_t crc = 0xffffffffu;
    for (size_t at = 0; at < count; at++) {
        crc = table[(crc ^ bytes[at]) & 15u] ^ crc >> 4;
        crc = table[(crc ^ (uint32_t)bytes[at] >> 4) & 15u] ^ crc >> 4;
    }
    return ~crc;
}

static int all_zero(const uint8_t *bytes, size_t count)
{
    for (size_t at = 0; at < count; at++)
        if (bytes[at]) return 0;
    return 1;
}

static uint64_t aligned(uint64_t offset, uint32_t alignment)
{
    return (offset + alignment - 1) / alignment * alignment;
}

static uint64_t ceil_div(uint64_t value, uint64_t divisor)
{
    return (value + divisor - 1) / divisor;
}

static lstm_hw_section *section_of(lstm_hw_image *image, uint32_t kind)
{
    switch (kind) {
    case LSTM_HW_IMAGE_KIND_PROGRAM: return &image->program;
    case LSTM_HW_IMAGE_KIND_WEIGHTS: return &image->weights;
    case LSTM_HW_IMAGE_KIND_EXPONENTS: return &image->exponents;
    case LSTM_HW_IMAGE_KIND_X_PARTS: return &image->x_parts;
    case LSTM_HW_IMAGE_KIND_Y_EVEN: return &image->y_even;
    case LSTM_HW_IMAGE_KIND_Y_ODD: return &image->y_odd;
    case LSTM_HW_IMAGE_KIND_ARRANGEMENT: return &image->arrangement;
    case LSTM_HW_IMAGE_KIND_ABOUT: return &image->about;
    case LSTM_HW_IMAGE_KIND_VECTORS: return &image->vectors;
    default: return NULL;
    }
}

/* The table of sections: each where it must be, whole, with its CRC, and nothing between. */
static lstm_hw_status read_sections(lstm_hw_image *image, const uint8_t *bytes, size_t count, uint32_t sections,
                                    uint32_t head_bytes)
{
    uint64_t end = head_bytes, limit = count - LSTM_HW_IMAGE_DIGEST_BYTES;
    uint32_t seen = 0, last = 0;
    for (uint32_t number = 0; number < sections; number++) {
        const uint8_t *entry = bytes + LSTM_HW_IMAGE_HEADER_BYTES + number * LSTM_HW_IMAGE_ENTRY_BYTES;
        uint32_t kind = u32(entry + LSTM_HW_IMAGE_ENTRY_KIND);
        uint64_t offset = u32(entry + LSTM_HW_IMAGE_ENTRY_OFFSET), size = u32(entry + LSTM_HW_IMAGE_ENTRY_BYTES_AT);
        lstm_hw_section *section = section_of(image, kind);
        if (kind <= last || kind > LSTM_HW_IMAGE_KIND_LAST) return LSTM_HW_E_CONTENT;
        if (!section && kind != LSTM_HW_IMAGE_KIND_ENGINE) return LSTM_HW_E_CONTENT;
        if (offset != aligned(end, LSTM_HW_IMAGE_ALIGNMENT) || offset + size > limit) return LSTM_HW_E_LENGTH;
        if (!all_zero(bytes + end, (size_t)(offset - end))) return LSTM_HW_E_DAMAGED;
        if (crc32(bytes + offset, (size_t)size) != u32(entry + LSTM_HW_IMAGE_ENTRY_CRC32)) return LSTM_HW_E_DAMAGED;
        if (section) {
            section->bytes = bytes + offset;
            section->count = (size_t)size;
        }
        seen |= UINT32_C(1) << kind;
        last = kind;
        end = offset + size;
    }
    if (end != limit) return LSTM_HW_E_LENGTH;
    return (seen & LSTM_HW_IMAGE_KINDS_NEEDED) == LSTM_HW_IMAGE_KINDS_NEEDED ? LSTM_HW_OK : LSTM_HW_E_CONTENT;
}

static void read_facts(lstm_hw_image *image, const uint8_t *bytes)
{
    image->content_id = u32(bytes + LSTM_HW_IMAGE_CONTENT_ID);
    image->ports = u32(bytes + LSTM_HW_IMAGE_PORTS);
    image->beat_bytes = u32(bytes + LSTM_HW_IMAGE_BEAT_BYTES);
    image->port_bytes = u32(bytes + LSTM_HW_IMAGE_PORT_BYTES);
    image->instructions = u32(bytes + LSTM_HW_IMAGE_INSTRUCTIONS);
    image->entry_run = u32(bytes + LSTM_HW_IMAGE_ENTRY_RUN);
    image->entry_load = u32(bytes + LSTM_HW_IMAGE_ENTRY_LOAD);
    image->inputs = u32(bytes + LSTM_HW_IMAGE_INPUTS);
    image->outputs = u32(bytes + LSTM_HW_IMAGE_OUTPUTS);
    image->sequences = u32(bytes + LSTM_HW_IMAGE_SEQUENCES);
    image->side_by_side = u32(bytes + LSTM_HW_IMAGE_SIDE_BY_SIDE);
    image->groups = u32(bytes + LSTM_HW_IMAGE_GROUPS);
    image->batch = u32(bytes + LSTM_HW_IMAGE_BATCH);
    image->every_step = u32(bytes + LSTM_HW_IMAGE_EVERY_STEP);
    image->elements_together = u32(bytes + LSTM_HW_IMAGE_ELEMENTS_TOGETHER);
    image->since_zero = u32(bytes + LSTM_HW_IMAGE_SINCE_ZERO);
    image->x_bits = u32(bytes + LSTM_HW_IMAGE_X_BITS);
    image->x_per_beat = u32(bytes + LSTM_HW_IMAGE_X_PER_BEAT);
    image->x_width = u32(bytes + LSTM_HW_IMAGE_X_WIDTH);
    image->x_fraction = i32(bytes + LSTM_HW_IMAGE_X_FRACTION);
    image->x_rounding = u32(bytes + LSTM_HW_IMAGE_X_ROUNDING);
    image->x_overflow = u32(bytes + LSTM_HW_IMAGE_X_OVERFLOW);
    image->y_width = u32(bytes + LSTM_HW_IMAGE_Y_WIDTH);
    image->y_fraction = i32(bytes + LSTM_HW_IMAGE_Y_FRACTION);
    image->identity = bytes + LSTM_HW_IMAGE_IDENTITY;
    if (image->arrangement.count == 12 || image->arrangement.count == 20 || image->arrangement.count == 24) {
        image->reads = u32(image->arrangement.bytes);
        image->sends = u32(image->arrangement.bytes + 4);
        image->steps = u32(image->arrangement.bytes + 8);
        if (image->arrangement.count >= 20) {
            image->least_steps = u32(image->arrangement.bytes + 12);
            image->most_steps = u32(image->arrangement.bytes + 16);
        }
        if (image->arrangement.count == 24) image->repeats = u32(image->arrangement.bytes + 20);
    }
}

static int between(uint32_t value, uint32_t lowest, uint32_t highest)
{
    return value >= lowest && value <= highest;
}

static int power_of_two(uint32_t value)
{
    return value && !(value & (value - 1));
}

static uint32_t part_count(const lstm_hw_section *parts)
{
    return (uint32_t)(parts->count / 8);
}

static uint32_t part_first(const lstm_hw_section *parts, uint32_t number)
{
    return u32(parts->bytes + 8 * (size_t)number);
}

static uint32_t part_elements(const lstm_hw_section *parts, uint32_t number)
{
    return u32(parts->bytes + 8 * (size_t)number + 4);
}

/* Parts make up a vector: each element once. */
static int parts_make_up(const lstm_hw_section *parts, uint32_t size)
{
    uint32_t count = part_count(parts), sum = 0;
    if (!count || parts->count % 8 || count > MAX_PARTS) return 0;
    for (uint32_t number = 0; number < count; number++) {
        uint32_t first = part_first(parts, number), elements = part_elements(parts, number);
        if (!elements || first >= size || elements > size - first || elements > size - sum) return 0;
        sum += elements;
        for (uint32_t other = 0; other < number; other++) {
            uint32_t begin = part_first(parts, other), length = part_elements(parts, other);
            if (first < begin + length && begin < first + elements) return 0;
        }
    }
    return sum == size;
}

static int entry_is_right(const lstm_hw_image *image, uint32_t entry)
{
    uint32_t address = (entry & LSTM_HW_ENTRY_ADDRESS_MASK) >> LSTM_HW_ENTRY_ADDRESS_LSB;
    return address < image->instructions && !(entry & ~(LSTM_HW_ENTRY_ADDRESS_MASK | LSTM_HW_ENTRY_LOADS_MASK));
}

static int signed_format(uint32_t width, int32_t fraction, uint32_t most)
{
    return between(width, 2, most) && fraction >= -MAX_EXPONENT && fraction <= MAX_EXPONENT;
}

static lstm_hw_status check_facts(const lstm_hw_image *image, uint32_t instruction_words)
{
    int program = between(image->instructions, 1, LSTM_HW_PROGRAM_SIZE / LSTM_HW_PROGRAM_STRIDE) &&
                  instruction_words == LSTM_HW_PROGRAM_WORDS &&
                  image->program.count == (size_t)4 * LSTM_HW_PROGRAM_WORDS * image->instructions &&
                  entry_is_right(image, image->entry_run) &&
                  (image->entry_load == LSTM_HW_IMAGE_NO_ENTRY || entry_is_right(image, image->entry_load));
    int weights = power_of_two(image->ports) && image->ports <= 4 && power_of_two(image->beat_bytes) &&
                  between(image->beat_bytes, 8, 128) && image->port_bytes && image->port_bytes % image->beat_bytes == 0 &&
                  (uint64_t)image->ports * image->port_bytes == image->weights.count;
    int sizes = between(image->inputs, 1, MAX_SIZE) && between(image->outputs, 1, MAX_SIZE) &&
                between(image->sequences, 1, MAX_SIZE) && between(image->groups, 1, image->sequences) &&
                image->sequences % image->groups == 0 && between(image->batch, 1, MAX_SIZE) && image->every_step <= 1 &&
                image->since_zero <= 1 && (image->elements_together == 1 || image->elements_together == 4);
    int beats = (image->x_bits == 8 || image->x_bits == 16) && power_of_two(image->x_per_beat) &&
                image->x_per_beat <= MAX_PER_BEAT && between(image->side_by_side, 1, image->x_per_beat) &&
                sizes && image->sequences % image->side_by_side == 0;
    int formats = signed_format(image->x_width, image->x_fraction, image->x_bits) && image->x_rounding <= 2 &&
                  image->x_overflow <= 1 && signed_format(image->y_width, image->y_fraction, 16);
    if (!program || !weights || !sizes || !beats || !formats) return LSTM_HW_E_CONTENT;
    if (image->exponents.count != image->inputs) return LSTM_HW_E_CONTENT;
    for (uint32_t input = 0; input < image->inputs; input++) {
        uint8_t exponent = image->exponents.bytes[input];
        if (exponent > MAX_EXPONENT && exponent < 256 - MAX_EXPONENT) return LSTM_HW_E_CONTENT;
    }
    if (image->arrangement.bytes) {
        uint32_t reads = image->reads, sends = image->sends, steps = image->steps, most = image->most_steps;
        uint32_t repeats = image->repeats;
        size_t count = image->arrangement.count;
        if (count == 24 ? !repeats : count == 20 ? !most : count != 12 || !(reads || sends || steps))
            return LSTM_HW_E_CONTENT;
        if (image->least_steps > most || most > LSTM_HW_IMAGE_MOST_STEPS || (most && steps)) return LSTM_HW_E_CONTENT;
        if (repeats > LSTM_HW_IMAGE_MOST_STEPS || (repeats && steps)) return LSTM_HW_E_CONTENT;
        if (steps > LSTM_HW_IMAGE_MOST_STEPS || (steps && (image->every_step || sends))) return LSTM_HW_E_CONTENT;
        if (reads > LSTM_HW_IMAGE_READS_BOTH || sends > LSTM_HW_IMAGE_SENDS_ADDED_LAST) return LSTM_HW_E_CONTENT;
        if (reads == LSTM_HW_IMAGE_READS_BOTH && image->inputs % 2) return LSTM_HW_E_CONTENT;
        if (sends >= LSTM_HW_IMAGE_SENDS_APART && image->outputs % 2) return LSTM_HW_E_CONTENT;
        if (sends && !image->every_step) return LSTM_HW_E_CONTENT;
    }
    if (!parts_make_up(&image->x_parts, image->inputs) || !parts_make_up(&image->y_even, image->outputs) ||
        !parts_make_up(&image->y_odd, image->outputs))
        return LSTM_HW_E_CONTENT;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_image_test(const lstm_hw_image *image, lstm_hw_test *test)
{
    if (!image->vectors.count) return LSTM_HW_E_UNSUPPORTED;
    if (image->vectors.count < 16) return LSTM_HW_E_CONTENT;
    test->sequences = u32(image->vectors.bytes);
    test->steps = u32(image->vectors.bytes + 4);
    test->vectors = u32(image->vectors.bytes + 8);
    if (!test->sequences || !test->steps || u32(image->vectors.bytes + 12)) return LSTM_HW_E_CONTENT;
    if (test->vectors != lstm_hw_vectors(image, test->steps)) return LSTM_HW_E_CONTENT;
    /* The sum is below 2^53, and each sequence has an element at least. */
    uint64_t elements = (uint64_t)test->steps * image->inputs + (uint64_t)test->vectors * image->outputs;
    uint64_t held = (image->vectors.count - 16) / 2;
    if (image->vectors.count % 2 || held % elements || held / elements != test->sequences) return LSTM_HW_E_CONTENT;
    test->x = image->vectors.bytes + 16;
    test->y = test->x + 2 * (size_t)test->sequences * test->steps * image->inputs;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_image_read(lstm_hw_image *image, const uint8_t *bytes, size_t count)
{
    if (!image || !bytes) return LSTM_HW_E_ARGUMENT;
    memset(image, 0, sizeof *image);
    if (count < LSTM_HW_IMAGE_MAGIC_BYTES || memcmp(bytes, LSTM_HW_IMAGE_MAGIC, LSTM_HW_IMAGE_MAGIC_BYTES))
        return LSTM_HW_E_IMAGE;
    if (count < LSTM_HW_IMAGE_HEADER_BYTES) return LSTM_HW_E_LENGTH;
    if (u32(bytes + LSTM_HW_IMAGE_VERSION_AT) != LSTM_HW_IMAGE_VERSION) return LSTM_HW_E_VERSION;
    if (u32(bytes + LSTM_HW_IMAGE_FILE_BYTES) != count) return LSTM_HW_E_LENGTH;
    uint32_t sections = u32(bytes + LSTM_HW_IMAGE_SECTIONS);
    if (!between(sections, 1, LSTM_HW_IMAGE_KIND_LAST)) return LSTM_HW_E_CONTENT;
    uint32_t head_bytes = LSTM_HW_IMAGE_HEADER_BYTES + sections * LSTM_HW_IMAGE_ENTRY_BYTES + 4;
    if (u32(bytes + LSTM_HW_IMAGE_HEAD_BYTES) != head_bytes) return LSTM_HW_E_LENGTH;
    if (count < head_bytes + LSTM_HW_IMAGE_DIGEST_BYTES) return LSTM_HW_E_LENGTH;
    if (crc32(bytes, head_bytes - 4) != u32(bytes + head_bytes - 4)) return LSTM_HW_E_DAMAGED;
    TRY(read_sections(image, bytes, count, sections, head_bytes));
#ifdef LSTM_HW_SHA256
    if (!lstm_hw_sha256_is(bytes, count - LSTM_HW_IMAGE_DIGEST_BYTES, bytes + count - LSTM_HW_IMAGE_DIGEST_BYTES))
        return LSTM_HW_E_DAMAGED;
#endif
    read_facts(image, bytes);
    TRY(check_facts(image, u32(bytes + LSTM_HW_IMAGE_INSTRUCTION_WORDS)));
    lstm_hw_test test;
    return image->vectors.bytes ? lstm_hw_image_test(image, &test) : LSTM_HW_OK;
}

/* ---- Networks that read a sequence from its end too ---- */

uint32_t lstm_hw_inputs(const lstm_hw_image *image)
{
    return image->reads == LSTM_HW_IMAGE_READS_BOTH ? image->inputs / 2 : image->inputs;
}

uint32_t lstm_hw_outputs(const lstm_hw_image *image)
{
    return image->sends >= LSTM_HW_IMAGE_SENDS_ADDED ? image->outputs / 2 : image->outputs;
}

uint32_t lstm_hw_output_vectors(const lstm_hw_image *image, uint32_t steps)
{
    return image->sends == LSTM_HW_IMAGE_SENDS_ADDED_LAST ? 1 : lstm_hw_vectors(image, steps);
}

lstm_hw_status lstm_hw_arrange_x(const lstm_hw_image *image, uint32_t sequences, uint32_t steps, const int16_t *given,
                                 int16_t *x)
{
    if (!image || !given || !x || !steps) return LSTM_HW_E_ARGUMENT;
    size_t size = lstm_hw_inputs(image);
    for (uint32_t sequence = 0; sequence < sequences; sequence++, given += steps * size) {
        for (uint32_t step = 0; step < steps; step++) {
            const int16_t *forward = given + step * size, *backward = given + (steps - 1 - step) * size;
            memcpy(x, image->reads == LSTM_HW_IMAGE_READS_BACKWARD ? backward : forward, size * sizeof *x);
            if (image->reads == LSTM_HW_IMAGE_READS_BOTH) memcpy(x + size, backward, size * sizeof *x);
            x += image->inputs;
        }
    }
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_arrange_y(const lstm_hw_image *image, uint32_t sequences, uint32_t steps, const int16_t *y,
                                 int32_t *outputs)
{
    if (!image || !y || !outputs || !steps) return LSTM_HW_E_ARGUMENT;
    size_t size = image->outputs, half = size / 2;
    uint32_t vectors = lstm_hw_vectors(image, steps), given = lstm_hw_output_vectors(image, steps);
    for (uint32_t sequence = 0; sequence < sequences; sequence++, y += vectors * size) {
        for (uint32_t vector = vectors - given; vector < vectors; vector++) {
            const int16_t *here = y + vector * size, *there = y + (vectors - 1 - vector) * size;
            if (image->sends >= LSTM_HW_IMAGE_SENDS_ADDED) {
                for (size_t n = 0; n < half; n++) *outputs++ = (int32_t)here[n] + there[half + n];
                continue;
            }
            for (size_t n = 0; n < size; n++) {
                int other = image->sends == LSTM_HW_IMAGE_SENDS_BACKWARD ||
                            (image->sends == LSTM_HW_IMAGE_SENDS_APART && n >= half);
                *outputs++ = other ? there[n] : here[n];
            }
        }
    }
    return LSTM_HW_OK;
}

/* ---- Streams ---- */

uint32_t lstm_hw_vectors(const lstm_hw_image *image, uint32_t steps)
{
    return !image->every_step ? 1 : image->repeats ? image->repeats : steps;
}

static uint32_t beat_bytes(const lstm_hw_image *image)
{
    return image->x_bits / 8 * image->x_per_beat;
}

/* A length of `count` things of `bytes` each, or 0 where no buffer is so long. */
static size_t length(uint64_t bytes, uint32_t count)
{
    uint64_t most = SIZE_MAX / 2;
    return count && bytes <= most / count ? (size_t)(bytes * count) : 0;
}

size_t lstm_hw_x_bytes(const lstm_hw_image *image, uint32_t steps)
{
    uint64_t beats = 0;
    for (uint32_t part = 0; part < part_count(&image->x_parts); part++) {
        uint32_t elements = part_elements(&image->x_parts, part);
        beats += image->side_by_side > 1 ? elements : ceil_div(elements, image->x_per_beat);
    }
    return length(beats * beat_bytes(image) * (image->sequences / image->side_by_side), steps);
}

size_t lstm_hw_y_bytes(const lstm_hw_image *image, uint32_t steps)
{
    if (!steps) return 0;
    return length((uint64_t)2 * image->outputs * image->sequences, lstm_hw_vectors(image, steps));
}

static lstm_hw_status put(const lstm_hw_image *image, uint8_t *place, int16_t value)
{
    int32_t bound = INT32_C(1) << (image->x_width - 1);
    if (value < -bound || value >= bound) return LSTM_HW_E_VALUE;
    place[0] = (uint8_t)((uint16_t)value & 0xffu);
    if (image->x_bits == 16) place[1] = (uint8_t)((uint16_t)value >> 8);
    return LSTM_HW_OK;
}

/* A part of the vectors of a step of the sequences that share beats; returns where it ends, NULL: a value is wrong. */
static uint8_t *pack_piece(const lstm_hw_image *image, uint32_t steps, const int16_t *x, uint32_t first_sequence,
                           uint32_t step, uint32_t first, uint32_t elements, uint8_t *beats)
{
    uint32_t side_by_side = image->side_by_side, bytes = image->x_bits / 8;
    for (uint32_t element = 0; element < elements; element++) {
        for (uint32_t lane = 0; lane < side_by_side; lane++) {
            size_t vector = (size_t)(first_sequence + lane) * steps + step;
            uint8_t *place = beats + (size_t)bytes * (side_by_side > 1 ? element * image->x_per_beat + lane : element);
            if (put(image, place, x[vector * image->inputs + first + element]) != LSTM_HW_OK) return NULL;
        }
    }
    return beats + (side_by_side > 1 ? elements : ceil_div(elements, image->x_per_beat)) * beat_bytes(image);
}

lstm_hw_status lstm_hw_pack_x(const lstm_hw_image *image, uint32_t steps, const int16_t *x, uint8_t *beats, size_t count)
{
    if (!steps || count != lstm_hw_x_bytes(image, steps)) return LSTM_HW_E_BUFFER;
    memset(beats, 0, count);
    for (uint32_t begin = 0; begin < steps;) {
        uint32_t size = image->batch < steps - begin ? image->batch : steps - begin;
        for (uint32_t part = 0; part < part_count(&image->x_parts); part++) {
            uint32_t first = part_first(&image->x_parts, part), elements = part_elements(&image->x_parts, part);
            for (uint32_t step = begin; step < begin + size; step++) {
                for (uint32_t sequence = 0; sequence < image->sequences; sequence += image->side_by_side) {
                    beats = pack_piece(image, steps, x, sequence, step, first, elements, beats);
                    if (!beats) return LSTM_HW_E_VALUE;
                }
            }
        }
        begin += size;
    }
    return LSTM_HW_OK;
}

static const lstm_hw_section *y_parts(const lstm_hw_image *image, uint32_t vector, uint32_t first_step)
{
    uint32_t number = vector + (image->since_zero ? first_step : 0);
    return number % 2 ? &image->y_odd : &image->y_even;
}

lstm_hw_status lstm_hw_unpack_y(const lstm_hw_image *image, uint32_t steps, uint32_t first_step, const uint8_t *beats,
                                size_t count, int16_t *y)
{
    if (!steps || count != lstm_hw_y_bytes(image, steps)) return LSTM_HW_E_BUFFER;
    uint32_t vectors = lstm_hw_vectors(image, steps), together = image->elements_together;
    uint32_t share = image->sequences / image->groups;
    size_t beat = 0;
    for (uint32_t vector = 0; vector < vectors; vector++) {
        const lstm_hw_section *parts = y_parts(image, vector, first_step);
        for (uint32_t part = 0; part < part_count(parts); part++) {
            uint32_t first = part_first(parts, part), end = first + part_elements(parts, part);
            for (uint32_t group = 0; group < image->groups; group++) {
                for (uint32_t begin = first; begin < end; begin += together) {
                    uint32_t stop = end - begin < together ? end : begin + together;
                    for (uint32_t sequence = group * share; sequence < (group + 1) * share; sequence++) {
                        int16_t *row = y + ((size_t)sequence * vectors + vector) * image->outputs;
                        for (uint32_t element = begin; element < stop; element++)
                            row[element] = lstm_hw_i16(beats, beat++);
                    }
                }
            }
        }
    }
    return LSTM_HW_OK;
}

/* ---- Registers ---- */

static lstm_hw_status get(lstm_hw_engine *engine, uint32_t address, uint32_t *value)
{
    const lstm_hw_registers *registers = &engine->transport->registers;
    return registers->read(registers->context, address, value);
}

static lstm_hw_status set(lstm_hw_engine *engine, uint32_t address, uint32_t value)
{
    const lstm_hw_registers *registers = &engine->transport->registers;
    return registers->write(registers->context, address, &value, 1);
}

/* The register REFUSED, which is 0 after it. */
static lstm_hw_status take_refused(lstm_hw_engine *engine, uint32_t *refused)
{
    TRY(get(engine, LSTM_HW_REFUSED_OFFSET, refused));
    return *refused ? set(engine, LSTM_HW_REFUSED_OFFSET, LSTM_HW_REFUSED_WRITE_MASK) : LSTM_HW_OK;
}

/* Around writes that the engine may refuse: what was refused before is nobody's. */
static lstm_hw_status begin_writes(lstm_hw_engine *engine)
{
    uint32_t before;
    return take_refused(engine, &before);
}

static lstm_hw_status end_writes(lstm_hw_engine *engine)
{
    TRY(take_refused(engine, &engine->refused));
    return engine->refused ? LSTM_HW_E_REFUSED : LSTM_HW_OK;
}

static lstm_hw_status identify(lstm_hw_engine *engine)
{
    uint32_t value;
    TRY(get(engine, LSTM_HW_ID_OFFSET, &value));
    if (value != LSTM_HW_ID_RESET) return LSTM_HW_E_NO_ENGINE;
    TRY(get(engine, LSTM_HW_VERSION_OFFSET, &value));
    if ((value ^ LSTM_HW_VERSION_RESET) & LSTM_HW_VERSION_MAJOR_MASK) return LSTM_HW_E_VERSION;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_open(lstm_hw_engine *engine, const lstm_hw_transport *transport, lstm_hw_patience patience)
{
    if (!engine || !transport || !transport->registers.read || !transport->registers.write || !patience.limit)
        return LSTM_HW_E_ARGUMENT;
    memset(engine, 0, sizeof *engine);
    engine->transport = transport;
    engine->patience = patience;
    engine->lost = 1;
    return identify(engine);
}

static lstm_hw_status check_idle(lstm_hw_engine *engine)
{
    uint32_t status;
    TRY(get(engine, LSTM_HW_STATUS_OFFSET, &status));
    return status & LSTM_HW_STATUS_BUSY_MASK ? LSTM_HW_E_BUSY : LSTM_HW_OK;
}

/* Whether the engine is the one that the image was made for. */
static lstm_hw_status check_image(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    uint32_t value;
    TRY(identify(engine));
    TRY(get(engine, LSTM_HW_CONTENT_ID_OFFSET, &value));
    if (value != image->content_id) return LSTM_HW_E_OTHER_ENGINE;
    TRY(get(engine, LSTM_HW_PROGRAM_LENGTH_OFFSET, &value));
    if (value < image->instructions) return LSTM_HW_E_OTHER_ENGINE;
    size_t beat = engine->transport->streams.x_beat_bytes;
    if (beat && beat != beat_bytes(image)) return LSTM_HW_E_OTHER_ENGINE;
    TRY(get(engine, LSTM_HW_AXI_DATA_BITS_OFFSET, &value));
    return value == 8 * image->beat_bytes ? LSTM_HW_OK : LSTM_HW_E_OTHER_ENGINE;
}

/* ---- Waiting ---- */

typedef struct {
    uint32_t since, looks;
} waiting;

static waiting now(const lstm_hw_engine *engine)
{
    const lstm_hw_patience *patience = &engine->patience;
    waiting begun = {patience->now ? patience->now(patience->context) : 0, 0};
    return begun;
}

static int is_over(const lstm_hw_engine *engine, waiting *begun)
{
    const lstm_hw_patience *patience = &engine->patience;
    if (patience->pause) patience->pause(patience->context);
    if (patience->now) return (uint32_t)(patience->now(patience->context) - begun->since) > patience->limit;
    return ++begun->looks > patience->limit;
}

static lstm_hw_status read_done(lstm_hw_engine *engine, int *done)
{
    uint32_t ctrl;
    TRY(get(engine, LSTM_HW_CTRL_OFFSET, &ctrl));
    *done = (ctrl & LSTM_HW_CTRL_DONE_MASK) != 0;
    return LSTM_HW_OK;
}

/* How the last run ended. */
static lstm_hw_status read_error(lstm_hw_engine *engine)
{
    uint32_t status, low, high;
    TRY(get(engine, LSTM_HW_STATUS_OFFSET, &status));
    TRY(get(engine, LSTM_HW_ERROR_ADDRESS_LO_OFFSET, &low));
    TRY(get(engine, LSTM_HW_ERROR_ADDRESS_HI_OFFSET, &high));
    engine->error = (status & LSTM_HW_STATUS_CODE_MASK) >> LSTM_HW_STATUS_CODE_LSB;
    engine->error_address = (uint64_t)high << 32 | low;
    return engine->error == LSTM_HW_ERROR_NONE ? LSTM_HW_OK : LSTM_HW_E_RUN;
}

/* Drop outputs until the run is done and no more come: one that stays offered would be the first of the next run. */
static lstm_hw_status drain(lstm_hw_engine *engine)
{
    const lstm_hw_streams *streams = &engine->transport->streams;
    waiting begun = now(engine);
    for (;;) {
        size_t got = 0;
        int done, last;
        TRY(read_done(engine, &done));
        if (streams->receive) TRY(streams->receive(streams->context, NULL, DRAINED_BYTES, 1, &got, &last));
        if (done && !got) return LSTM_HW_OK;
        if (is_over(engine, &begun)) return LSTM_HW_E_STUCK;
    }
}

/* End the run that is in progress or has failed, and tell `status`, or why it cannot be ended. */
static lstm_hw_status give_up(lstm_hw_engine *engine, lstm_hw_status status)
{
    const lstm_hw_streams *streams = &engine->transport->streams;
    engine->lost = 1;
    TRY(set(engine, LSTM_HW_CTRL_OFFSET, LSTM_HW_CTRL_ABORT_MASK));
    TRY(drain(engine));
    TRY(streams->stop ? streams->stop(streams->context) : LSTM_HW_OK);
    lstm_hw_status error = read_error(engine);
    return error == LSTM_HW_OK || error == LSTM_HW_E_RUN ? status : error;
}

lstm_hw_status lstm_hw_abort(lstm_hw_engine *engine)
{
    lstm_hw_status idle = check_idle(engine);
    return idle == LSTM_HW_E_BUSY ? give_up(engine, LSTM_HW_OK) : idle;
}

/* ---- Loading and running ---- */

static lstm_hw_status start(lstm_hw_engine *engine, uint32_t entry, uint32_t steps, uint32_t flags)
{
    TRY(begin_writes(engine));
    TRY(set(engine, LSTM_HW_ENTRY_OFFSET, entry));
    TRY(set(engine, LSTM_HW_STEPS_OFFSET, steps));
    TRY(set(engine, LSTM_HW_FLAGS_OFFSET, flags));
    TRY(end_writes(engine));
    TRY(set(engine, LSTM_HW_CTRL_OFFSET, LSTM_HW_CTRL_START_MASK));
    return end_writes(engine);
}

/* Whether memory holds what was written to it. */
static lstm_hw_status compare(const lstm_hw_memory *memory, uint64_t offset, const uint8_t *bytes, size_t count)
{
    uint8_t found[COMPARED_BYTES];
    for (size_t at = 0; at < count;) {
        size_t size = count - at < sizeof found ? count - at : sizeof found;
        TRY(memory->read(memory->context, offset + at, found, size));
        if (memcmp(found, bytes + at, size)) return LSTM_HW_E_MEMORY;
        at += size;
    }
    return LSTM_HW_OK;
}

/* Where the image of each weight port is told. */
static const uint32_t weights_registers[4] = {
    LSTM_HW_WEIGHTS_LO_OFFSET,
    LSTM_HW_WEIGHTS1_LO_OFFSET,
    LSTM_HW_WEIGHTS2_LO_OFFSET,
    LSTM_HW_WEIGHTS3_LO_OFFSET,
};

/* Where the image of a weight port is in the memory. */
static uint64_t weights_offset(const lstm_hw_image *image, uint32_t port)
{
    return port * aligned(image->port_bytes, PAGE_BYTES);
}

/* What the register IMAGE_ID reads while nobody has changed what was loaded. */
static uint32_t image_id(const lstm_hw_image *image)
{
    uint32_t value = u32(image->identity);
    return value ? value : 1;
}

/* Whether the engine still has what was loaded. */
static lstm_hw_status check_loaded(lstm_hw_engine *engine, uint32_t expected)
{
    uint32_t found;
    TRY(get(engine, LSTM_HW_IMAGE_ID_OFFSET, &found));
    if (found == expected) return LSTM_HW_OK;
    return found ? LSTM_HW_E_OTHER_IMAGE : LSTM_HW_E_NOT_LOADED;
}

/* Say that the image was loaded. ENTRY first: that it begins to load would clear the other. */
static lstm_hw_status sign(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    TRY(check_loaded(engine, 0));
    TRY(begin_writes(engine));
    TRY(set(engine, LSTM_HW_ENTRY_OFFSET, image->entry_run));
    TRY(set(engine, LSTM_HW_IMAGE_ID_OFFSET, image_id(image)));
    return end_writes(engine);
}

static lstm_hw_status load_weights(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    const lstm_hw_memory *memory = &engine->transport->memory;
    if (!memory->write || !memory->read) return LSTM_HW_E_UNSUPPORTED;
    for (uint32_t port = 0; port < image->ports; port++) {
        uint64_t offset = weights_offset(image, port), address = memory->base + offset;
        const uint8_t *bytes = image->weights.bytes + (size_t)port * image->port_bytes;
        uint32_t halves[2] = {(uint32_t)address, (uint32_t)(address >> 32)};
        if (offset + image->port_bytes > memory->bytes) return LSTM_HW_E_MEMORY;
        TRY(memory->write(memory->context, offset, bytes, image->port_bytes));
        TRY(compare(memory, offset, bytes, image->port_bytes));
        TRY(engine->transport->registers.write(engine->transport->registers.context, weights_registers[port],
                                                 halves, 2));
    }
    return LSTM_HW_OK;
}

static lstm_hw_status load_program(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    const lstm_hw_registers *registers = &engine->transport->registers;
    for (uint32_t number = 0; number < image->instructions; number++) {
        uint32_t words[LSTM_HW_PROGRAM_WORDS];
        for (uint32_t word = 0; word < LSTM_HW_PROGRAM_WORDS; word++)
            words[word] = u32(image->program.bytes + 4 * ((size_t)number * LSTM_HW_PROGRAM_WORDS + word));
        uint32_t address = LSTM_HW_PROGRAM_OFFSET + number * LSTM_HW_PROGRAM_STRIDE;
        TRY(registers->write(registers->context, address, words, LSTM_HW_PROGRAM_WORDS));
    }
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_load(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    if (!engine || !engine->transport || !image || !image->program.bytes) return LSTM_HW_E_ARGUMENT;
    TRY(check_image(engine, image));
    TRY(check_idle(engine));
    engine->image = NULL;
    engine->lost = 1;
    TRY(begin_writes(engine));
    TRY(load_program(engine, image)); /* first: it tells others, before memory is another */
    TRY(end_writes(engine));
    TRY(load_weights(engine, image));
    TRY(end_writes(engine));
    if (image->entry_load != LSTM_HW_IMAGE_NO_ENTRY) {
        waiting begun;
        int done = 0;
        TRY(start(engine, image->entry_load, 1, 0));
        for (begun = now(engine); !done;) {
            TRY(read_done(engine, &done));
            if (!done && is_over(engine, &begun)) return give_up(engine, LSTM_HW_E_TIMEOUT);
        }
        TRY(read_error(engine));
    }
    TRY(sign(engine, image));
    engine->image = image;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_adopt(lstm_hw_engine *engine, const lstm_hw_image *image)
{
    if (!engine || !engine->transport || !image || !image->program.bytes) return LSTM_HW_E_ARGUMENT;
    TRY(check_image(engine, image));
    TRY(check_idle(engine));
    engine->image = NULL;
    engine->lost = 1;
    TRY(check_loaded(engine, image_id(image)));
    engine->image = image;
    return LSTM_HW_OK;
}

/* Move x and y until all is there. With FLAGS.one_packet, y of a run is one packet. */
static lstm_hw_status exchange(lstm_hw_engine *engine, const uint8_t *x, size_t x_count, uint8_t *y, size_t y_count)
{
    const lstm_hw_streams *streams = &engine->transport->streams;
    waiting begun = now(engine);
    while (x_count || y_count) {
        size_t taken = 0, got = 0;
        int last = 0, done;
        if (x_count) TRY(streams->send(streams->context, x, x_count, &taken));
        if (taken > x_count) return LSTM_HW_E_LINK;
        x += taken;
        x_count -= taken;
        if (y_count) TRY(streams->receive(streams->context, y, y_count, !x_count, &got, &last));
        if (got > y_count || (got && last != (got == y_count))) return LSTM_HW_E_OUTPUT;
        y += got;
        y_count -= got;
        if (taken || got) {
            begun = now(engine);
            continue;
        }
        TRY(read_done(engine, &done));
        if (done) {
            TRY(read_error(engine));
            if (x_count) return LSTM_HW_E_OUTPUT; /* done without all of its x */
        }
        if (is_over(engine, &begun)) return LSTM_HW_E_TIMEOUT;
    }
    return LSTM_HW_OK;
}

static lstm_hw_status finish(lstm_hw_engine *engine)
{
    waiting begun = now(engine);
    for (int done = 0; !done;) {
        TRY(read_done(engine, &done));
        if (!done && is_over(engine, &begun)) return LSTM_HW_E_TIMEOUT;
    }
    return read_error(engine);
}

lstm_hw_status lstm_hw_run(lstm_hw_engine *engine, uint32_t steps, int clear, const uint8_t *x, size_t x_count,
                           uint8_t *y, size_t y_count, uint32_t *first_step)
{
    if (!engine || !engine->transport || !x || !y) return LSTM_HW_E_ARGUMENT;
    const lstm_hw_image *image = engine->image;
    if (!image) return LSTM_HW_E_NOT_LOADED;
    const lstm_hw_streams *streams = &engine->transport->streams;
    if (!streams->send || !streams->receive) return LSTM_HW_E_UNSUPPORTED;
    if (!clear && image->arrangement.bytes) return LSTM_HW_E_ARGUMENT;
    if (image->steps && steps != image->steps) return LSTM_HW_E_ARGUMENT;
    if (image->most_steps && (steps < image->least_steps || steps > image->most_steps)) return LSTM_HW_E_ARGUMENT;
    if (!steps || !x_count || x_count != lstm_hw_x_bytes(image, steps)) return LSTM_HW_E_BUFFER;
    if (!y_count || y_count != lstm_hw_y_bytes(image, steps)) return LSTM_HW_E_BUFFER;
    if ((streams->x_most && x_count > streams->x_most) || (streams->y_most && y_count > streams->y_most))
        return LSTM_HW_E_BUFFER;
    if (!clear && engine->lost) return LSTM_HW_E_STATE;
    uint32_t status, before = clear ? 0 : engine->steps;
    TRY(check_image(engine, image));
    TRY(get(engine, LSTM_HW_STATUS_OFFSET, &status));
    if (status & LSTM_HW_STATUS_BUSY_MASK) return LSTM_HW_E_BUSY;
    if (!(image->entry_run & LSTM_HW_ENTRY_LOADS_MASK) && !(status & LSTM_HW_STATUS_LOADED_MASK))
        return LSTM_HW_E_NOT_LOADED;
    TRY(check_loaded(engine, image_id(image)));
    if (first_step) *first_step = before;
    engine->lost = 1; /* until the run has ended well */
    TRY(start(engine, image->entry_run, steps,
              LSTM_HW_FLAGS_SEQUENCE_MASK | LSTM_HW_FLAGS_ONE_PACKET_MASK | (clear ? LSTM_HW_FLAGS_CLEAR_MASK : 0)));
    lstm_hw_status moved = exchange(engine, x, x_count, y, y_count);
    if (moved == LSTM_HW_OK) moved = finish(engine);
    if (moved != LSTM_HW_OK) return give_up(engine, moved);
    engine->lost = 0;
    engine->steps = before + steps;
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_predict(lstm_hw_engine *engine, uint32_t steps, int clear, const int16_t *x, int16_t *y,
                               uint8_t *work, size_t work_count)
{
    if (!engine || !x || !y || !work) return LSTM_HW_E_ARGUMENT;
    if (!engine->image) return LSTM_HW_E_NOT_LOADED;
    size_t x_count = lstm_hw_x_bytes(engine->image, steps), y_count = lstm_hw_y_bytes(engine->image, steps);
    uint32_t first_step;
    if (!x_count || !y_count || work_count < x_count || work_count - x_count < y_count) return LSTM_HW_E_BUFFER;
    TRY(lstm_hw_pack_x(engine->image, steps, x, work, x_count));
    TRY(lstm_hw_run(engine, steps, clear, work, x_count, work + x_count, y_count, &first_step));
    return lstm_hw_unpack_y(engine->image, steps, first_step, work + x_count, y_count, y);
}

lstm_hw_status lstm_hw_read_counters(lstm_hw_engine *engine, lstm_hw_counters *counters)
{
    uint64_t *values[] = {
        &counters->cycles,  &counters->busy,         &counters->stall_weights, &counters->stall_h,
        &counters->stall_x, &counters->stall_output, &counters->empty,         &counters->read_beats,
    };
    static const uint32_t registers[] = {
        LSTM_HW_CYCLES_LO_OFFSET,  LSTM_HW_BUSY_LO_OFFSET,         LSTM_HW_STALL_WEIGHTS_LO_OFFSET,
        LSTM_HW_STALL_H_LO_OFFSET, LSTM_HW_STALL_X_LO_OFFSET,      LSTM_HW_STALL_OUTPUT_LO_OFFSET,
        LSTM_HW_EMPTY_LO_OFFSET,   LSTM_HW_READ_BEATS_LO_OFFSET,
    };
    for (size_t number = 0; number < sizeof registers / sizeof *registers; number++) {
        uint32_t low, high;
        TRY(get(engine, registers[number], &low)); /* which takes the copy that the other half reads */
        TRY(get(engine, registers[number] + 4, &high));
        *values[number] = (uint64_t)high << 32 | low;
    }
    return LSTM_HW_OK;
}

lstm_hw_status lstm_hw_read_clipped(lstm_hw_engine *engine, lstm_hw_clipped *clipped)
{
    uint32_t flags;
    TRY(get(engine, LSTM_HW_CLIPPED_OFFSET, &flags));
    if (!(flags & LSTM_HW_CLIPPED_COUNTED_MASK)) return LSTM_HW_E_UNSUPPORTED;
    TRY(get(engine, LSTM_HW_CLIPPED_PREACT_OFFSET, &clipped->preact));
    TRY(get(engine, LSTM_HW_CLIPPED_C_OFFSET, &clipped->c));
    TRY(get(engine, LSTM_HW_CLIPPED_H_OFFSET, &clipped->h));
    return get(engine, LSTM_HW_CLIPPED_OUTPUT_OFFSET, &clipped->output);
}
