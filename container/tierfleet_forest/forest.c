/* The reader of docs/flat-forest.md: check, walk, transforms, and numbers from text. Exact only if every operation on
   floats is done as it is written: no fused multiply-add, no excess precision. */
#define _DEFAULT_SOURCE /* madvise */
#define _POSIX_C_SOURCE 200809L
#include "forest.h"

#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the file's numbers are used where they lie, so the machine must be little-endian"
#endif
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "sums must be rounded to their type after every step"
#endif

#define PREFETCH(address) __builtin_prefetch(address)
#define WAVE 128 /* trees that go down together: enough to hide a miss, few enough that their lists stay in the L1 cache */
#define SLOTS_A 256
#define SLOTS_B 4096
#define WINDOW 256
#define NO_SLOT 0xFFFF
#define MAX_FEATURES (1u << 24)
#define MAX_OUTPUTS 65535u
#define MAX_TREES (1u << 22)
#define MAX_WORDS (1u << 31)
#define MAX_PROBES 16u
#define MAX_THRESHOLDS 65536u
#define MISSING_NEVER 1
#define MISSING_ZERO 2
#define MISSING_RIGHT 1
#define SET_LEFT 2
#define TRUNCATE_FIRST 4
#define READ_BYTES (256u << 10) /* at once: the CRC-32 finds them in the L2 cache */
#define HUGE_BYTES ((uintptr_t)2 << 20) /* a page of the next size, on x86-64 and with 4 KiB pages on aarch64 */
#define PROBE_ULPS 4
#define PROBE_WORK (1ull << 28) /* steps of all probes together, under a second: a file could ask for hours */

static inline float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- Time for others ---- */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* To be called often: what is done between two calls is not interrupted. */
static void keep_pace(ForestPace *pace)
{
    if (!pace->work_us)
        return;
    const int64_t worked_ns = now_ns() - pace->since_ns;
    if (worked_ns < (int64_t)pace->work_us * 1000)
        return;
    const struct timespec rest = {.tv_nsec = (long)pace->work_us * 1000};
    nanosleep(&rest, NULL);
    pace->since_ns = now_ns();
}

/* A node that splits: which slot it asks, how far its pair is, on which side the row goes on, which children split. */
typedef struct {
    uint32_t slot, distance, right, inner[2];
} Split;

#define MAX_SHAP_DEPTH 1024u /* levels of a tree whose contributions are worked out: their memory grows with its square */

/* How many different features one path can meet, at most. */
static uint32_t path_features(const ForestHead *h, uint32_t depth)
{
    const uint32_t asked = h->columns + h->category_splits;
    return depth < asked ? depth : asked;
}

/* Counts the work of contributions at one level of a tree: `depth` below the root, 2 x `above` nodes. `inner` of them split.
   A node costs the features above it, a leaf their square. No sum reaches 2^60: a file has at most 2^31 leaves. */
static void add_level(Forest *f, uint32_t depth, uint32_t above, uint32_t inner)
{
    const uint64_t met = path_features(&f->head, depth < MAX_SHAP_DEPTH ? depth : MAX_SHAP_DEPTH);
    const uint64_t nodes = 2 * (uint64_t)above, leaves = nodes > inner ? nodes - inner : 0;
    if (f->head.covers)
        f->contribution_work += nodes * (met + 1) + leaves * met * met;
}

/* ---- Form A: four bytes a node, slots of whole numbers ---- */
#define NAME(x) x##_a
#define WORD uint32_t
#define SLOT uint16_t
#define SLOT_OF(w) ((uint8_t)(w))
#define THRESHOLD_OF_A(w) ((uint8_t)((w) >> 8))
#define DISTANCE_OF(w) ((w) >> 18)
#define LEFT_INNER(w) ((w) >> 16 & 1)
#define RIGHT_INNER(w) ((w) >> 17 & 1)
#define INNER(w, right) ((w) >> (16 + (right)) & 1)
#define LEAF_OF(w) (w)
/* The sign bit of threshold - slot: shorter than a comparison. */
#define GOES_RIGHT(w, slots) ((uint32_t)((int32_t)THRESHOLD_OF_A(w) - (int32_t)(slots)[SLOT_OF(w)]) >> 31)
#define SOUND(w, limits) (THRESHOLD_OF_A(w) < (limits)[SLOT_OF(w)])
#include "forest_walk.h"

/* ---- Form B: eight bytes a node, slots of float ---- */
#define NAME(x) x##_b
#define WORD uint64_t
#define SLOT float
#define SLOT_OF(w) ((uint32_t)(w) & 4095)
#define THRESHOLD_OF_B(w) float_of((uint32_t)((w) >> 32))
#define DISTANCE_OF(w) ((uint32_t)(w) >> 14)
#define LEFT_INNER(w) ((uint32_t)(w) >> 12 & 1)
#define RIGHT_INNER(w) ((uint32_t)(w) >> 13 & 1)
#define INNER(w, right) ((uint32_t)(w) >> (12 + (right)) & 1)
#define LEAF_OF(w) ((uint32_t)((w) >> 32))
#define GOES_RIGHT(w, slots) ((uint32_t)!((slots)[SLOT_OF(w)] < THRESHOLD_OF_B(w)))
/* Minus infinity is what a missing value that goes left is, and it must be below every threshold. */
#define SOUND(w, limits) (((limits)[SLOT_OF(w)] != 0) & (THRESHOLD_OF_B(w) > -INFINITY))
#include "forest_walk.h"

/* ---- The check ---- */

#define BAD(...) return snprintf(why, FOREST_WHY_BYTES, __VA_ARGS__), FOREST_BAD

typedef struct {
    const uint8_t *at, *end;
} Rest;

/* The next section of `count` items: NULL if it does not lie inside the file. */
static const void *section(Rest *rest, uint64_t count, uint64_t item_bytes)
{
    const uint8_t *start = rest->at;
    const uint64_t left = (uint64_t)(rest->end - rest->at), bytes = count * item_bytes; /* below 2^60: see find_sections */
    const uint64_t padded = (bytes + FOREST_ALIGNMENT - 1) / FOREST_ALIGNMENT * FOREST_ALIGNMENT;
    if (padded > left)
        return NULL;
    rest->at += padded;
    return start;
}

static int check_head(const ForestHead *h, size_t count, char *why)
{
    if (memcmp(h->magic, "FLATFRST", 8) != 0)
        BAD("it does not begin with FLATFRST");
    if (h->version != 1 && h->version != 2)
        BAD("it has version %" PRIu32 "; this reader knows versions 1 and 2", h->version);
    if (h->file_bytes != count)
        BAD("it has %zu bytes and says that it has %" PRIu64, count, h->file_bytes);
    if (h->node_bytes != FOREST_FORM_A && h->node_bytes != FOREST_FORM_B)
        BAD("node_bytes is %" PRIu32 "; it must be 4 or 8", h->node_bytes);
    const uint32_t slots = h->node_bytes == FOREST_FORM_A ? SLOTS_A : SLOTS_B;
    const int wide = h->sum_bytes == FOREST_FLOAT64;
    const struct {
        const char *name;
        uint32_t value, least, most;
    } ranges[] = {
        {"features", h->features, 1, MAX_FEATURES},
        {"outputs", h->outputs, 1, MAX_OUTPUTS},
        {"trees", h->trees, 0, MAX_TREES},
        {"words", h->words, 0, MAX_WORDS},
        {"columns", h->columns, 0, slots},
        {"thresholds", h->thresholds, 0, h->node_bytes == FOREST_FORM_A ? UINT32_MAX : 0},
        {"category_splits", h->category_splits, 0, slots},
        {"sum_bytes", h->sum_bytes, wide ? FOREST_FLOAT64 : FOREST_FLOAT32, wide ? FOREST_FLOAT64 : FOREST_FLOAT32},
        {"vector_leaves", h->vector_leaves, 0, 1},
        {"weighted", h->weighted, 0, !wide},
        {"divisor", h->divisor, 1, wide ? UINT32_MAX : 1},
        {"transform", h->transform, 0, FOREST_EXP_F64},
        {"probes", h->probes, 0, MAX_PROBES},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].least || ranges[i].value > ranges[i].most)
            BAD("%s is %" PRIu32 "; it must be %" PRIu32 " to %" PRIu32, ranges[i].name, ranges[i].value,
                ranges[i].least, ranges[i].most);
    if (h->covers != (h->version == 2))
        BAD("covers is %" PRIu32 " in version %" PRIu32 "; it must be 0 in version 1 and 1 in version 2", h->covers,
            h->version);
    if (h->covers && (wide || h->vector_leaves))
        BAD("it has covers with sum_bytes %" PRIu32 " and vector_leaves %" PRIu32 "; they must be 4 and 0", h->sum_bytes,
            h->vector_leaves);
    if (!isfinite(h->transform_parameter))
        BAD("transform_parameter is not finite");
    for (size_t i = 0; i < sizeof h->reserved; i++)
        if (h->reserved[i])
            BAD("byte %zu of its head is not 0", offsetof(ForestHead, reserved) + i);
    const int in_table = wide || h->vector_leaves;
    if (h->leaf_rows ? !in_table : in_table && h->trees)
        BAD("leaf_rows is %" PRIu32 " with sum_bytes %" PRIu32 " and vector_leaves %" PRIu32, h->leaf_rows,
            h->sum_bytes, h->vector_leaves);
    return FOREST_OK;
}

static int find_sections(Forest *f, const uint8_t *bytes, size_t count, char *why)
{
    const ForestHead *h = &f->head;
    const uint64_t sum = h->sum_bytes, node = h->node_bytes, outputs = h->outputs, trees = h->trees;
    Rest rest = {bytes + sizeof(ForestHead), bytes + count};
    /* No product reaches 2^60, so none overflows: 2^32 rows of 2^16 outputs of 8 bytes. */
    const struct {
        const char *name;
        const void **where;
        uint64_t count, item_bytes;
    } sections[] = {
        {"base", &f->base, outputs, sum},
        {"columns", (const void **)&f->columns, h->columns, sizeof(ForestColumn)},
        {"thresholds", (const void **)&f->thresholds, h->thresholds, 4},
        {"category splits", (const void **)&f->category_splits, h->category_splits, sizeof(ForestCategorySplit)},
        {"category bits", (const void **)&f->category_bits, h->category_words, 4},
        {"roots", &f->roots, trees, node},
        {"first", (const void **)&f->first, trees, 4},
        {"tree outputs", (const void **)&f->tree_outputs, outputs > 1 && !h->vector_leaves ? trees : 0, 2},
        {"weights", (const void **)&f->weights, h->weighted ? trees : 0, 4},
        {"leaf table", &f->leaf_table, h->leaf_rows, (h->vector_leaves ? outputs : 1) * sum},
        {"words", &f->words, h->words, node},
        {"probe rows", (const void **)&f->probe_rows, h->probes, (uint64_t)h->features * 4},
        {"probe margins", &f->probe_margins, h->probes, outputs * sum},
        {"probe scores", &f->probe_scores, h->probes, f->scores * sum},
        {"metadata", (const void **)&f->metadata, h->metadata_bytes, 1},
        {"root covers", (const void **)&f->root_covers, h->covers ? trees : 0, 4},
        {"tree means", (const void **)&f->tree_means, h->covers ? trees : 0, 4},
        {"covers", (const void **)&f->covers, h->covers ? h->words : 0, 4},
    };
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (!(*sections[i].where = section(&rest, sections[i].count, sections[i].item_bytes)))
            BAD("its %s (%" PRIu64 " x %" PRIu64 " bytes) do not fit into its %zu bytes", sections[i].name,
                sections[i].count, sections[i].item_bytes, count);
    if (rest.at != rest.end)
        BAD("%zu bytes follow its last section", (size_t)(rest.end - rest.at));
    return FOREST_OK;
}

/* How many slots in a row a column fills, on each of its sides. */
static uint32_t windows_of(const Forest *f, const ForestColumn *c)
{
    return f->head.node_bytes == FOREST_FORM_A ? (c->count + WINDOW - 1) / WINDOW : 1;
}

static int check_column(const Forest *f, uint32_t number, uint16_t *limits, char *why)
{
    const ForestHead *h = &f->head;
    const ForestColumn *c = f->columns + number;
    const int form_a = h->node_bytes == FOREST_FORM_A;
    const uint32_t slots = form_a ? SLOTS_A : SLOTS_B, windows = windows_of(f, c);
    if (c->feature >= h->features)
        BAD("column %" PRIu32 " has feature %" PRIu32 "; there are %" PRIu32, number, c->feature, h->features);
    if (c->missing > MISSING_ZERO)
        BAD("column %" PRIu32 " has missing %" PRIu32 "; it must be 0 to 2", number, c->missing);
    if (form_a ? c->count < 1 || c->count > MAX_THRESHOLDS || c->at > h->thresholds || c->count > h->thresholds - c->at
               : c->at || c->count)
        BAD("column %" PRIu32 " has %" PRIu32 " thresholds from number %" PRIu32 " on; there are %" PRIu32, number,
            c->count, c->at, h->thresholds);
    for (uint32_t i = 1; i < c->count; i++)
        if (!(f->thresholds[c->at + i - 1] < f->thresholds[c->at + i]))
            BAD("thresholds %" PRIu32 " and %" PRIu32 " are not ascending", c->at + i - 1, c->at + i);
    if (c->count == 1 && isnan(f->thresholds[c->at]))
        BAD("threshold %" PRIu32 " is not a number", c->at);
    const uint16_t start[2] = {c->left_slot, c->right_slot};
    for (int side = 0; side < 2; side++) {
        if (start[side] == NO_SLOT)
            continue;
        if (start[side] + windows > slots)
            BAD("column %" PRIu32 " has slots %u to %" PRIu32 "; there are %" PRIu32, number, start[side],
                start[side] + windows - 1, slots);
        for (uint32_t k = 0; k < windows; k++) {
            uint16_t *limit = limits + start[side] + k;
            const uint32_t left = form_a ? c->count - WINDOW * k : 1;
            if (*limit)
                BAD("column %" PRIu32 " fills slot %" PRIu32 ", which is filled already", number, start[side] + k);
            *limit = (uint16_t)(left < WINDOW ? left : WINDOW);
        }
    }
    return FOREST_OK;
}

static int check_category_split(const Forest *f, uint32_t number, uint16_t *limits, char *why)
{
    const ForestHead *h = &f->head;
    const ForestCategorySplit *c = f->category_splits + number;
    const uint32_t slots = h->node_bytes == FOREST_FORM_A ? SLOTS_A : SLOTS_B;
    if (c->feature >= h->features)
        BAD("category split %" PRIu32 " has feature %" PRIu32 "; there are %" PRIu32, number, c->feature, h->features);
    if (c->at > h->category_words || c->count > h->category_words - c->at)
        BAD("category split %" PRIu32 " has %" PRIu32 " words of bits from number %" PRIu32 " on; there are %" PRIu32,
            number, c->count, c->at, h->category_words);
    if (c->slot >= slots)
        BAD("category split %" PRIu32 " has slot %u; there are %" PRIu32, number, c->slot, slots);
    if (c->flags > (MISSING_RIGHT | SET_LEFT | TRUNCATE_FIRST))
        BAD("category split %" PRIu32 " has flags %u; they must be 0 to 7", number, c->flags);
    if (limits[c->slot])
        BAD("category split %" PRIu32 " fills slot %u, which is filled already", number, c->slot);
    limits[c->slot] = 1;
    return FOREST_OK;
}

/* No walk depends on a cover. But a negative one or NaN is damage, and would make a number of every contribution. */
static int check_covers(const Forest *f, char *why)
{
    if (!f->head.covers)
        return FOREST_OK;
    const struct {
        const char *name;
        const float *values;
        uint32_t count;
    } sections[] = {{"root covers", f->root_covers, f->head.trees}, {"covers", f->covers, f->head.words}};
    for (size_t s = 0; s < 2; s++) {
        uint32_t bad = 0;
        for (uint32_t i = 0; i < sections[s].count; i++)
            bad |= !(sections[s].values[i] >= 0 && sections[s].values[i] <= FLT_MAX);
        if (bad)
            BAD("its %s have a number below 0, infinite, or not a number", sections[s].name);
    }
    return FOREST_OK;
}

static int check_trees(Forest *f, const uint16_t *limits, ForestPace *pace, char *why)
{
    const ForestHead *h = &f->head;
    uint32_t longest = 0;
    for (uint32_t t = 0; t < h->trees; t++) {
        const uint32_t from = f->first[t], to = t + 1 < h->trees ? f->first[t + 1] : h->words;
        if (from > to || to > h->words || to - from < 2)
            BAD("tree %" PRIu32 " has words %" PRIu32 " to %" PRIu32 "; there are %" PRIu32
                ", and a tree has at least two", t, from, to, h->words);
        longest = to - from > longest ? to - from : longest;
    }
    if (f->head.outputs > 1 && !h->vector_leaves)
        for (uint32_t t = 0; t < h->trees; t++)
            if (f->tree_outputs[t] >= h->outputs)
                BAD("tree %" PRIu32 " adds to output %u; there are %" PRIu32, t, f->tree_outputs[t], h->outputs);
    uint32_t *list = malloc(((size_t)longest + 4) * sizeof *list);
    if (!list)
        return FOREST_NO_MEMORY;
    const uint32_t bad = (h->node_bytes == FOREST_FORM_A ? check_trees_a : check_trees_b)(f, limits, list, pace);
    free(list);
    if (bad)
        BAD("tree %" PRIu32 " has a node that leads outside of it, back, or to another's child, or asks for what no "
            "slot or leaf row has", bad - 1);
    return FOREST_OK;
}

int forest_open(Forest *f, const void *bytes, size_t count, ForestPace *pace, char *why)
{
    uint16_t limits[SLOTS_B] = {0}; /* of each slot: how many thresholds a node may ask it for */
    memset(f, 0, sizeof *f);
    if (count < sizeof(ForestHead) || count % FOREST_ALIGNMENT)
        BAD("it has %zu bytes; a forest has at least 128 and a multiple of 64", count);
    memcpy(&f->head, bytes, sizeof f->head);
    int failed = check_head(&f->head, count, why);
    f->scores = f->head.transform == FOREST_ARGMAX ? 1 : f->head.outputs;
    if (!failed)
        failed = find_sections(f, bytes, count, why);
    for (uint32_t i = 0; !failed && i < f->head.columns; i++) {
        const ForestColumn *c = f->columns + i;
        failed = check_column(f, i, limits, why);
        if (c->left_slot == NO_SLOT && c->right_slot == NO_SLOT) /* a row goes through its windows all the same */
            f->row_work += windows_of(f, c);
    }
    for (uint32_t i = 0; !failed && i < f->head.category_splits; i++)
        failed = check_category_split(f, i, limits, why);
    for (uint32_t slot = 0; slot < SLOTS_B; slot++)
        f->row_work += limits[slot] != 0;
    if (!limits[0])
        limits[0] = 1;
    if (!failed)
        failed = check_trees(f, limits, pace, why);
    if (!failed)
        failed = check_covers(f, why);
    const uint64_t values_a_leaf = f->head.vector_leaves ? f->head.outputs : 1;
    f->row_work += f->path_length + f->head.outputs + f->head.trees * values_a_leaf;
    if (f->head.covers) /* each tree adds to every feature that the forest asks */
        f->contribution_work += f->head.trees * ((uint64_t)f->head.columns + f->head.category_splits + 1);
    return failed;
}

/* ---- Reading files ---- */

static uint32_t crc_table[16][256];

void forest_start(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        crc_table[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int k = 1; k < 16; k++)
            crc_table[k][byte] = crc_table[k - 1][byte] >> 8 ^ crc_table[0][crc_table[k - 1][byte] & 255];
}

#if defined(__x86_64__)
#define FOLDED 1
/* Carry-less products: what a block of 16 bytes contributes `distance` bits later, as both halves of `factors` say. */
__attribute__((target("pclmul,sse4.1"))) static inline __m128i moved_on(__m128i block, __m128i factors)
{
    return _mm_xor_si128(_mm_clmulepi64_si128(block, factors, 0x00), _mm_clmulepi64_si128(block, factors, 0x11));
}

static inline __m128i block_at(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* The inverted CRC-32 of the bytes before `count` rounded down to 64, at least 64: five times as fast as the tables.
   Four blocks are folded over the next four, then into one, then into 32 bits (Gopal and others, "Fast CRC computation
   for generic polynomials using PCLMULQDQ", Intel 2009; the factors are x^n modulo the polynomial, bits reversed). */
__attribute__((target("pclmul,sse4.1"))) static uint32_t folded_crc32(uint32_t inverted, const uint8_t *at, size_t count)
{
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_32 = _mm_set_epi64x(0, 0x0163cd6124), polynomial = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low = _mm_set_epi32(0, 0, 0, -1);
    __m128i a = _mm_xor_si128(block_at(at), _mm_cvtsi32_si128((int)inverted));
    __m128i b = block_at(at + 16), c = block_at(at + 32), d = block_at(at + 48);
    for (at += 64, count -= 64; count >= 64; at += 64, count -= 64) {
        a = _mm_xor_si128(moved_on(a, by_512), block_at(at));
        b = _mm_xor_si128(moved_on(b, by_512), block_at(at + 16));
        c = _mm_xor_si128(moved_on(c, by_512), block_at(at + 32));
        d = _mm_xor_si128(moved_on(d, by_512), block_at(at + 48));
    }
    b = _mm_xor_si128(moved_on(a, by_128), b);
    c = _mm_xor_si128(moved_on(b, by_128), c);
    d = _mm_xor_si128(moved_on(c, by_128), d);
    /* 128 bits to 96, to 64, and by Barrett's reduction to 32. */
    d = _mm_xor_si128(_mm_clmulepi64_si128(d, by_128, 0x10), _mm_srli_si128(d, 8));
    d = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(d, low), by_32, 0x00), _mm_srli_si128(d, 4));
    a = _mm_clmulepi64_si128(_mm_and_si128(d, low), polynomial, 0x10);
    a = _mm_clmulepi64_si128(_mm_and_si128(a, low), polynomial, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(d, a), 1);
}
#endif

/* Sixteen bytes a step, each through a table of its own; large pieces by folding where the processor can. */
uint32_t forest_crc32(uint32_t crc, const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    crc = ~crc;
#ifdef FOLDED
    if (count >= 64 && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) {
        crc = folded_crc32(crc, at, count);
        at += count & ~(size_t)63;
        count &= 63;
    }
#endif
    for (; count >= 16; at += 16, count -= 16) {
        uint32_t w[4];
        memcpy(w, at, 16);
        w[0] ^= crc;
        crc = 0;
        for (int k = 0; k < 4; k++)
            crc ^= crc_table[15 - 4 * k][w[k] & 255] ^ crc_table[14 - 4 * k][w[k] >> 8 & 255] ^
                   crc_table[13 - 4 * k][w[k] >> 16 & 255] ^ crc_table[12 - 4 * k][w[k] >> 24];
    }
    for (; count; at++, count--)
        crc = crc >> 8 ^ crc_table[0][(crc ^ *at) & 255];
    return ~crc;
}

/* With huge pages where they fit in whole: they save a quarter of a row's time when the caches have forgotten the forest,
   and a millisecond of faults while 5 MB are read. None reaches beyond this memory, so free() gives all of it back. */
static void *aligned_memory(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, FOREST_ALIGNMENT, bytes))
        return NULL;
#ifdef MADV_HUGEPAGE
    const uintptr_t start = ((uintptr_t)memory + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    const uintptr_t end = ((uintptr_t)memory + bytes) & ~(HUGE_BYTES - 1);
    if (start < end)
        madvise((void *)start, end - start, MADV_HUGEPAGE); /* a wish: what becomes of it does not matter */
#endif
    return memory;
}

/* What a file must be besides sound. Frees `memory` unless all is well. */
static int adopt(Forest *f, void *memory, size_t count, uint32_t crc, ForestPace *pace, char *why)
{
    int failed = forest_open(f, memory, count, pace, why);
    f->owned = memory;
    if (!failed && crc != f->head.crc32) {
        snprintf(why, FOREST_WHY_BYTES, "its CRC-32 is %08" PRIx32 " and should be %08" PRIx32, crc, f->head.crc32);
        failed = FOREST_BAD;
    }
    if (!failed)
        failed = forest_probe(f, pace, why);
    if (failed)
        forest_close(f);
    return failed;
}

enum { CRC_FROM = offsetof(ForestHead, file_bytes) }; /* the CRC-32 is of the bytes after it */

int forest_read(Forest *f, int fd, uint32_t work_us, char *why)
{
    ForestPace pace = {.work_us = work_us, .since_ns = now_ns()};
    struct stat status;
    memset(f, 0, sizeof *f);
    if (fstat(fd, &status))
        return FOREST_ERRNO;
    if (!S_ISREG(status.st_mode))
        BAD("it is not a regular file");
    const size_t count = (size_t)status.st_size;
    if (count < sizeof(ForestHead) || count % FOREST_ALIGNMENT)
        BAD("it has %zu bytes; a forest has at least 128 and a multiple of 64", count);
    uint8_t *memory = aligned_memory(count);
    if (!memory)
        return FOREST_NO_MEMORY;
    uint32_t crc = 0;
    for (size_t at = 0; at < count;) {
        keep_pace(&pace);
        const size_t wanted = count - at < READ_BYTES ? count - at : READ_BYTES;
        const ssize_t got = read(fd, memory + at, wanted);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            const int error = errno;
            free(memory);
            errno = error;
            if (got < 0)
                return FOREST_ERRNO;
            BAD("it ends after %zu of %zu bytes", at, count);
        }
        const size_t from = at < CRC_FROM ? CRC_FROM : at;
        const int head_is_new = at < sizeof(ForestHead);
        at += (size_t)got;
        if (at > from)
            crc = forest_crc32(crc, memory + from, at - from);
        if (head_is_new && at >= sizeof(ForestHead)) { /* no gigabytes are read of what is no forest */
            memcpy(&f->head, memory, sizeof f->head);
            if (check_head(&f->head, count, why)) {
                free(memory);
                return FOREST_BAD;
            }
        }
    }
    return adopt(f, memory, count, crc, &pace, why);
}

int forest_copy(Forest *f, const void *bytes, size_t count, char *why)
{
    memset(f, 0, sizeof *f);
    if (count < sizeof(ForestHead))
        BAD("it has %zu bytes; a forest has at least 128 and a multiple of 64", count);
    void *memory = aligned_memory(count);
    if (!memory)
        return FOREST_NO_MEMORY;
    memcpy(memory, bytes, count);
    ForestPace none = {0};
    return adopt(f, memory, count, forest_crc32(0, (uint8_t *)memory + CRC_FROM, count - CRC_FROM), &none, why);
}

void forest_close(Forest *f)
{
    free(f->owned);
    f->owned = NULL;
}

/* ---- From a row to slots ---- */

/* How many of the ascending thresholds are <= x, without a branch that depends on x. */
static inline uint32_t not_above(const float *thresholds, uint32_t count, float x)
{
    const float *from = thresholds;
    while (count > 1) {
        const uint32_t half = count >> 1;
        from += half & -(uint32_t)(from[half - 1] <= x);
        count -= half;
    }
    return (uint32_t)(from - thresholds) + (*from <= x);
}

/* The value that a column's thresholds are compared with; NaN if it is missing. */
static inline float column_value(const ForestColumn *c, const float *row)
{
    const float x = row[c->feature];
    if (c->missing == MISSING_NEVER)
        return isnan(x) ? 0.0f : x;
    if (c->missing == MISSING_ZERO && x >= -1e-35f && x <= 1e-35f)
        return NAN;
    return x;
}

static int category_goes_right(const Forest *f, const ForestCategorySplit *c, float x)
{
    if (isnan(x))
        return c->flags & MISSING_RIGHT;
    if (c->flags & TRUNCATE_FIRST)
        x = truncf(x);
    int in = 0;
    if (x >= 0 && x < 16777216.0f) {
        const uint32_t category = (uint32_t)x;
        in = category / 32 < c->count && f->category_bits[c->at + category / 32] >> category % 32 & 1;
    }
    return in != ((c->flags & SET_LEFT) != 0);
}

static void fill_slots_a(const Forest *f, const float *row, uint16_t *slots)
{
    slots[0] = 0;
    for (uint32_t i = 0; i < f->head.columns; i++) {
        const ForestColumn *c = f->columns + i;
        const float x = column_value(c, row);
        const int missing = isnan(x);
        const uint32_t below = not_above(f->thresholds + c->at, c->count, x);
        for (uint32_t k = 0; k * WINDOW < c->count; k++) {
            uint32_t in_window = below > WINDOW * k ? below - WINDOW * k : 0;
            in_window = in_window > WINDOW ? WINDOW : in_window;
            if (c->left_slot != NO_SLOT)
                slots[c->left_slot + k] = (uint16_t)(missing ? 0 : in_window);
            if (c->right_slot != NO_SLOT)
                slots[c->right_slot + k] = (uint16_t)(missing ? 0xFFFF : in_window);
        }
    }
    for (uint32_t i = 0; i < f->head.category_splits; i++) {
        const ForestCategorySplit *c = f->category_splits + i;
        slots[c->slot] = (uint16_t)category_goes_right(f, c, row[c->feature]);
    }
}

static void fill_slots_b(const Forest *f, const float *row, float *slots)
{
    slots[0] = 0;
    for (uint32_t i = 0; i < f->head.columns; i++) {
        const ForestColumn *c = f->columns + i;
        const float x = column_value(c, row);
        const int missing = isnan(x);
        if (c->left_slot != NO_SLOT)
            slots[c->left_slot] = missing ? -INFINITY : x;
        if (c->right_slot != NO_SLOT)
            slots[c->right_slot] = missing ? INFINITY : x;
    }
    for (uint32_t i = 0; i < f->head.category_splits; i++) {
        const ForestCategorySplit *c = f->category_splits + i;
        slots[c->slot] = (float)category_goes_right(f, c, row[c->feature]);
    }
}

/* ---- From leaves to margins ---- */

static void add_float(const Forest *f, const uint32_t *leaves, uint32_t from, uint32_t count, float *margins)
{
    const ForestHead *h = &f->head;
    if (h->vector_leaves) {
        const float *table = f->leaf_table;
        for (uint32_t i = 0; i < count; i++) {
            const float *values = table + (size_t)leaves[i] * h->outputs;
            for (uint32_t o = 0; o < h->outputs; o++) {
                float value = values[o];
                if (h->weighted)
                    value *= f->weights[from + i];
                margins[o] += value;
            }
        }
        return;
    }
    if (h->outputs == 1 && !h->weighted) { /* the commonest forest: the sum stays in a register */
        float sum = margins[0];
        for (uint32_t i = 0; i < count; i++)
            sum += float_of(leaves[i]);
        margins[0] = sum;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        float value = float_of(leaves[i]);
        if (h->weighted)
            value *= f->weights[from + i];
        margins[h->outputs > 1 ? f->tree_outputs[from + i] : 0] += value;
    }
}

static void add_double(const Forest *f, const uint32_t *leaves, uint32_t from, uint32_t count, double *margins)
{
    const ForestHead *h = &f->head;
    const double *table = f->leaf_table;
    for (uint32_t i = 0; i < count; i++) {
        if (h->vector_leaves)
            for (uint32_t o = 0; o < h->outputs; o++)
                margins[o] += table[(size_t)leaves[i] * h->outputs + o];
        else
            margins[h->outputs > 1 ? f->tree_outputs[from + i] : 0] += table[leaves[i]];
    }
}

static void add_leaves(const Forest *f, const uint32_t *leaves, uint32_t from, uint32_t count, void *margins)
{
    if (f->head.sum_bytes == FOREST_FLOAT32)
        add_float(f, leaves, from, count, margins);
    else
        add_double(f, leaves, from, count, margins);
}

static void sum_a(const Forest *f, const float *row, void *margins)
{
    uint16_t slots[SLOTS_A];
    uint32_t leaves[WAVE];
    fill_slots_a(f, row, slots);
    for (uint32_t from = 0, count; from < f->head.trees; from += count) {
        count = f->head.trees - from < WAVE ? f->head.trees - from : WAVE;
        leaves_a(f, slots, from, count, leaves);
        add_leaves(f, leaves, from, count, margins);
    }
}

static void sum_b(const Forest *f, const float *row, void *margins)
{
    float slots[SLOTS_B];
    uint32_t leaves[WAVE];
    fill_slots_b(f, row, slots);
    for (uint32_t from = 0, count; from < f->head.trees; from += count) {
        count = f->head.trees - from < WAVE ? f->head.trees - from : WAVE;
        leaves_b(f, slots, from, count, leaves);
        add_leaves(f, leaves, from, count, margins);
    }
}

void forest_margins(const Forest *f, const float *row, void *margins)
{
    const ForestHead *h = &f->head;
    memcpy(margins, f->base, (size_t)h->outputs * h->sum_bytes);
    (h->node_bytes == FOREST_FORM_A ? sum_a : sum_b)(f, row, margins);
    if (h->divisor != 1) /* only with sums in double */
        for (uint32_t o = 0; o < h->outputs; o++)
            ((double *)margins)[o] /= h->divisor;
}

#include "forest_shap.h"

/* ---- From margins to scores ---- */

static void scores_float(const ForestHead *h, float *m)
{
    const uint32_t count = h->outputs;
    float most = m[0];
    uint32_t best = 0;
    double sum = 0;
    switch (h->transform) {
    case FOREST_SIGMOID: /* XGBoost's: its guards against overflow and division by 0 are part of the score */
        for (uint32_t o = 0; o < count; o++)
            m[o] = 1.0f / (expf(88.7f < -m[o] ? 88.7f : -m[o]) + 1.0f + 1e-16f);
        break;
    case FOREST_EXP:
        for (uint32_t o = 0; o < count; o++)
            m[o] = expf(m[o]);
        break;
    case FOREST_EXP_F64:
        for (uint32_t o = 0; o < count; o++)
            m[o] = (float)exp((double)m[o]);
        break;
    case FOREST_SOFTMAX:
        for (uint32_t o = 1; o < count; o++)
            most = m[o] > most ? m[o] : most;
        for (uint32_t o = 0; o < count; o++) {
            m[o] = expf(m[o] - most);
            sum += m[o];
        }
        for (uint32_t o = 0; o < count; o++)
            m[o] /= (float)sum;
        break;
    case FOREST_STEP:
        for (uint32_t o = 0; o < count; o++)
            m[o] = m[o] > 0;
        break;
    case FOREST_ARGMAX:
        for (uint32_t o = 1; o < count; o++)
            best = m[o] > m[best] ? o : best;
        m[0] = (float)best;
        break;
    }
}

static void scores_double(const ForestHead *h, double *m)
{
    const uint32_t count = h->outputs;
    double most = m[0], sum = 0;
    uint32_t best = 0;
    switch (h->transform) {
    case FOREST_SIGMOID:
        for (uint32_t o = 0; o < count; o++)
            m[o] = 1.0 / (1.0 + exp(-h->transform_parameter * m[o]));
        break;
    case FOREST_EXP:
    case FOREST_EXP_F64:
        for (uint32_t o = 0; o < count; o++)
            m[o] = exp(m[o]);
        break;
    case FOREST_SOFTMAX:
        for (uint32_t o = 1; o < count; o++)
            most = m[o] > most ? m[o] : most;
        for (uint32_t o = 0; o < count; o++) {
            m[o] = exp(m[o] - most);
            sum += m[o];
        }
        for (uint32_t o = 0; o < count; o++)
            m[o] /= sum;
        break;
    case FOREST_STEP:
        for (uint32_t o = 0; o < count; o++)
            m[o] = m[o] > 0;
        break;
    case FOREST_ARGMAX:
        for (uint32_t o = 1; o < count; o++)
            best = m[o] > m[best] ? o : best;
        m[0] = best;
        break;
    }
}

void forest_scores(const Forest *f, void *margins)
{
    if (f->head.sum_bytes == FOREST_FLOAT32)
        scores_float(&f->head, margins);
    else
        scores_double(&f->head, margins);
}

/* ---- Probes ---- */

/* Floats as whole numbers that are as far apart as there are floats between them. */
static int64_t order_of(const void *value, uint32_t bytes)
{
    int64_t bits = 0;
    if (bytes == FOREST_FLOAT64) {
        memcpy(&bits, value, 8);
        return bits < 0 ? INT64_MIN - bits : bits;
    }
    int32_t narrow;
    memcpy(&narrow, value, 4);
    return narrow < 0 ? INT32_MIN - (int64_t)narrow : narrow;
}

static int near(const void *a, const void *b, uint32_t bytes, uint64_t ulps)
{
    double x, y;
    if (bytes == FOREST_FLOAT64) {
        memcpy(&x, a, 8);
        memcpy(&y, b, 8);
    } else {
        float p, q;
        memcpy(&p, a, 4);
        memcpy(&q, b, 4);
        x = p;
        y = q;
    }
    if (isnan(x) || isnan(y))
        return isnan(x) && isnan(y);
    const int64_t i = order_of(a, bytes), j = order_of(b, bytes);
    return (i > j ? (uint64_t)i - (uint64_t)j : (uint64_t)j - (uint64_t)i) <= ulps;
}

int forest_probe(const Forest *f, ForestPace *pace, char *why)
{
    const ForestHead *h = &f->head;
    if (!h->probes)
        return FOREST_OK;
    if (f->row_work > PROBE_WORK / h->probes)
        BAD("its %" PRIu32 " probe rows take %" PRIu64 " steps each; all together may take 268435456", h->probes,
            f->row_work);
    uint8_t *values = malloc((size_t)h->outputs * h->sum_bytes);
    if (!values)
        return FOREST_NO_MEMORY;
    int failed = FOREST_OK;
    for (uint32_t p = 0; p < h->probes && !failed; p++) {
        const size_t bytes = h->sum_bytes;
        const uint8_t *margins = (const uint8_t *)f->probe_margins + p * bytes * h->outputs;
        const uint8_t *scores = (const uint8_t *)f->probe_scores + p * bytes * f->scores;
        const char *what = "margins";
        keep_pace(pace);
        forest_margins(f, f->probe_rows + (size_t)p * h->features, values);
        for (uint32_t o = 0; o < h->outputs && !failed; o++)
            failed = !near(values + o * bytes, margins + o * bytes, h->sum_bytes, 0);
        if (!failed) {
            what = "scores";
            forest_scores(f, values);
            for (uint32_t o = 0; o < f->scores && !failed; o++)
                failed = !near(values + o * bytes, scores + o * bytes, h->sum_bytes, PROBE_ULPS);
        }
        if (failed)
            snprintf(why, FOREST_WHY_BYTES, "the %s of its probe row %" PRIu32 " are others on this machine", what, p);
    }
    free(values);
    return failed;
}

/* ---- Numbers from text ---- */

static const double ten_to[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

#ifdef __SIZEOF_INT128__
/* digits / 10^places rounded once to the nearest double: 64 bits of the quotient, the last of them also set if anything
   is left over. digits > 0, 0 < places < 20. */
static double quotient(uint64_t digits, int places)
{
    uint64_t divisor = 1;
    for (int i = 0; i < places; i++)
        divisor *= 10;
    const int up = __builtin_clzll(digits), down = __builtin_clzll(divisor);
    divisor <<= down;
    const unsigned __int128 dividend = (unsigned __int128)(digits << up) << 63;
    const uint64_t whole = (uint64_t)(dividend / divisor);
    return ldexp((double)(whole | (dividend % divisor != 0)), down - up - 63);
}
#define QUOTIENT_PLACES 19
#else
static double quotient(uint64_t digits, int places)
{
    return (double)digits / ten_to[places];
}
#define QUOTIENT_PLACES 0
#endif

/* The digits from *at on: 19 at most, not counting zeros before the first other digit. Where more follow, the number
   is not `whole` below. */
static uint64_t take_digits(const char **at, const char *end, uint64_t digits, int *taken, int *seen)
{
    while (*at < end && (unsigned)(**at - '0') < 10 && *taken < 19 && *seen < 1000) {
        digits = digits * 10 + (uint64_t)(*(*at)++ - '0');
        *taken += digits > 0;
        ++*seen;
    }
    return digits;
}

/* A number that ends where its cell does, read by the short way: 1 if that is exact. Otherwise *at does not move. */
static int short_number(const char **at, const char *end, double *value)
{
    const char *place = *at;
    const int negative = place < end && *place == '-';
    place += place < end && (*place == '-' || *place == '+');
    int taken = 0, before = 0, places = 0;
    uint64_t digits = take_digits(&place, end, 0, &taken, &before);
    if (place < end && *place == '.') {
        place++;
        digits = take_digits(&place, end, digits, &taken, &places);
    }
    if (!(before + places && (place == end || *place == ',' || *place == '\n' || *place == '\r')))
        return 0;
    if (!places || !digits)
        *value = (double)digits; /* up to 19 digits, rounded once */
    else if (taken <= 15 && places <= 22)
        *value = (double)digits / ten_to[places]; /* both are exact, so the quotient is rounded once */
    else if (places <= QUOTIENT_PLACES)
        *value = quotient(digits, places);
    else
        return 0;
    *value = negative ? -*value : *value;
    *at = place;
    return 1;
}

static int starts_a_number(char first)
{
    return first == '-' || first == '+' || first == '.' || (unsigned)(first - '0') < 10;
}

int forest_csv_row(const char *text, size_t count, uint32_t features, float *row, double (*slow)(const char *, char **))
{
    const char *at = text, *end = text + count;
    for (uint32_t i = 0; i < features; i++) {
        double value;
        if (!short_number(&at, end, &value)) {
            if (at == end || !starts_a_number(*at))
                return 0;
            char *stop = NULL;
            value = slow(at, &stop);
            if (!stop)
                return 0;
            at = stop;
        }
        row[i] = (float)value;
        if (!(fabsf(row[i]) <= FLT_MAX))
            return 0;
        if (i + 1 < features) {
            if (at >= end || *at++ != ',')
                return 0;
        }
    }
    at += at < end && *at == '\r';
    at += at < end && *at == '\n';
    return at == end;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && (unsigned)(*at - '0') < 10)
        at++;
    return at;
}

/* Where a decimal number ends that may have an exponent; NULL if there is none, or if it is longer than any needs to be. */
static const char *number_end(const char *at, const char *end)
{
    const char *const start = at;
    at += at < end && (*at == '-' || *at == '+');
    const char *digits = at;
    at = skip_digits(at, end);
    ptrdiff_t count = at - digits;
    if (at < end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, end);
        count += at - digits;
    }
    if (count && at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '-' || *at == '+');
        digits = at;
        at = skip_digits(at, end);
        if (at == digits)
            return NULL;
    }
    return count && at - start < 512 ? at : NULL;
}

/* The place after a cell and the spaces around it; NULL if it is anything but a finite number, `nan` or empty. */
static const char *plain_cell(const char *at, const char *end, float *value)
{
    double number;
    while (at < end && *at == ' ')
        at++;
    if (at == end || *at == ',' || *at == '\n' || *at == '\r') {
        number = NAN;
    } else if (end - at >= 3 && (at[0] | 32) == 'n' && (at[1] | 32) == 'a' && (at[2] | 32) == 'n') {
        number = NAN;
        at += 3;
    } else if (!short_number(&at, end, &number)) {
        /* strtod rounds correctly, as float() does. In a locale with another decimal point it stops too early. */
        const char *stop = number_end(at, end);
        char *stopped = NULL;
        number = stop ? strtod(at, &stopped) : 0;
        if (!stop || stopped != stop)
            return NULL;
        at = stop;
    }
    while (at < end && *at == ' ')
        at++;
    *value = (float)number;
    return isnan(number) || fabsf(*value) <= FLT_MAX ? at : NULL;
}

size_t forest_csv_rows(const char *text, size_t *start, size_t stop, uint32_t features, size_t most, float *rows)
{
    const char *line = text + *start, *const end = text + stop;
    size_t count = 0;
    for (; count < most && line <= end; count++) {
        const char *at = line;
        for (uint32_t i = 0; at && i < features; i++) {
            at = plain_cell(at, end, rows + count * features + i);
            if (at && i + 1 < features)
                at = at < end && *at == ',' ? at + 1 : NULL;
        }
        while (at && at < end && *at == '\r')
            at++;
        if (!at || (at < end && *at != '\n'))
            break;
        line = at + 1;
    }
    *start = (size_t)(line - text);
    return count;
}

/* ---- Text from numbers ---- */

#ifdef __SIZEOF_INT128__
/* The digits of `number`, at least `least` of them, so that they end before `end`: where they begin. */
static char *digits_before(char *end, uint64_t number, int least)
{
    for (; number || least > 0; number /= 10, least--)
        *--end = (char)('0' + number % 10);
    return end;
}

/* mantissa / 2^shift in 15 to 17 digits: the fewest that are nearer to it than any other double, as a multiple of
   10^-*places. `point` is the place of its first digit: 1 for 1 to 9, 0 for 0.1 to 1. */
static uint64_t shortest(uint64_t mantissa, int shift, int point, int *places)
{
    /* Half the distance to the next double is 2^-(shift + halves). */
    const int halves = 54 - (64 - __builtin_clzll(mantissa));
    for (int digits = 15;; digits++) {
        unsigned __int128 ten = 1;
        *places = digits - point;
        for (int left = *places; left > 0; left -= left < 19 ? left : 19)
            ten *= (uint64_t)(left < 19 ? ten_to[left] : 1e19);
        const unsigned __int128 scaled = mantissa * ten, half = (unsigned __int128)1 << shift >> 1;
        unsigned __int128 whole = scaled >> shift, rest = scaled - (whole << shift);
        if (rest > half || (rest == half && whole & 1)) {
            whole++;
            rest = ((unsigned __int128)1 << shift) - rest;
        }
        if (digits == 17 || rest << halves <= ten)
            return (uint64_t)whole;
    }
}

size_t forest_repr(double value, char *text)
{
    const float narrow = (float)value;
    char *at = text, reversed[24], *const end = reversed + sizeof reversed;
    if ((double)narrow != value || !(fabsf(narrow) < 16777216.0f) || (narrow != 0 && fabsf(narrow) < 1e-10f))
        return 0;
    uint32_t bits;
    memcpy(&bits, &narrow, 4);
    if (!(bits & 0x7FFFFF) && fabsf(narrow) < 1e-4f && narrow != 0)
        return 0; /* the double below a power of two is nearer than the one above */
    if (bits >> 31)
        *at++ = '-';
    const double size = fabs(value);
    if (size == floor(size)) {
        const char *digits = digits_before(end, (uint64_t)size, 1);
        memcpy(at, digits, (size_t)(end - digits));
        at += end - digits;
        memcpy(at, ".0", 2);
        return (size_t)(at + 2 - text);
    }
    int point = 1, places;
    while (point < 8 && size >= ten_to[point])
        point++;
    while (size < 1 && point > -9 && size * ten_to[1 - point] < 1)
        point--;
    const uint64_t number = shortest((bits & 0x7FFFFF) | 0x800000, 150 - (int)(bits >> 23 & 255), point, &places);
    const char *digits = digits_before(end, number, size < 1e-4 ? 1 : places + 1), *last = end;
    while (last[-1] == '0' && last - digits > 1)
        last--;
    const ptrdiff_t before = size < 1e-4 ? 1 : end - digits - places;
    memcpy(at, digits, (size_t)before);
    at += before;
    if (last - digits > before) {
        *at++ = '.';
        memcpy(at, digits + before, (size_t)(last - digits - before));
        at += last - digits - before;
    }
    if (size < 1e-4) { /* as repr() does; the exponent has two digits */
        const int exponent = 1 - point;
        memcpy(at, "e-", 2);
        at[2] = (char)('0' + exponent / 10);
        at[3] = (char)('0' + exponent % 10);
        at += 4;
    }
    return (size_t)(at - text);
}
#else
size_t forest_repr(double value, char *text)
{
    (void)value;
    (void)text;
    return 0;
}
#endif
