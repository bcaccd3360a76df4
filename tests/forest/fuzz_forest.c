/* Damages flat forests and texts of numbers, under ASan and UBSan: fuzz_forest SECONDS SEED FILE...

   What is loaded in spite of the damage is walked and explained. Rows and tables of text are compared with a reader of this
   file's own, and written numbers with the C library's. forest.c is compiled with -fsanitize-coverage=trace-pc: a case that
   reaches something new is kept and damaged further. Ends at the first finding, whose bytes are in fuzz_forest.case. */
#define _GNU_SOURCE
#include "forest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void __sanitizer_set_death_callback(void (*callback)(void));
void __sanitizer_cov_trace_pc(void);

enum { MAP = 1 << 16, MOST_FILES = 1 << 13, MOST_BYTES = 1 << 17, MOST_FEATURES = 1 << 17, HEAD_FIELDS = 20 };
typedef struct {
    uint8_t *bytes;
    size_t count;
} Case;

static uint8_t hits[MAP], seen[MAP];
static uintptr_t previous;
static Case kept[MOST_FILES], now;
static size_t files;
static uint64_t state;
static struct {
    long cases, walked, explained, refused, texts, read, tables, rows, numbers, written;
} done;

void __sanitizer_cov_trace_pc(void)
{
    const uintptr_t here = (uintptr_t)__builtin_return_address(0);
    const uintptr_t at = (here ^ previous) % MAP;
    hits[at] = (uint8_t)(hits[at] + (hits[at] < 255));
    previous = here >> 1;
}

static uint64_t any(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? state % below : 0;
}

static void keep_finding(void)
{
    FILE *file = fopen("fuzz_forest.case", "wb");
    if (file) {
        fwrite(now.bytes, 1, now.count, file);
        fclose(file);
    }
}

/* Whether the last case went where none went before, or went there more often by a power of two. */
static int reached_more(void)
{
    int more = 0;
    for (size_t i = 0; i < MAP; i++) {
        if (!hits[i])
            continue;
        const uint8_t class = (uint8_t)(1u << (31 - __builtin_clz(hits[i])));
        more |= class & ~seen[i];
        seen[i] |= class;
    }
    return more != 0;
}

static void keep(const uint8_t *bytes, size_t count)
{
    if (files == MOST_FILES)
        return;
    kept[files].bytes = malloc(count);
    memcpy(kept[files].bytes, bytes, count);
    kept[files++].count = count;
}

static uint32_t interesting(uint32_t old)
{
    const uint32_t values[] = {0, 1, 2, 3, 4, 8, 255, 256, 257, 4095, 4096, 65535, 65536, 1u << 24, 1u << 31, UINT32_MAX,
                               old + 1, old - 1, old * 2, old / 2, old ^ 1u << any(32), (uint32_t)any(1ull << 32)};
    return values[any(sizeof values / sizeof *values)];
}

static void change_u32(uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, 4);
    value = interesting(value);
    memcpy(at, &value, 4);
}

static size_t damage(uint8_t *bytes, size_t count, size_t room)
{
    for (uint64_t times = 1 + any(8); times; times--) {
        const size_t at = any(count), word = at & ~(size_t)3;
        switch (any(9)) {
        case 0:
            bytes[at] = (uint8_t)any(256);
            break;
        case 1:
            bytes[at] ^= (uint8_t)(1u << any(8));
            break;
        case 2: /* one of the head's counts, or its parameter */
            change_u32(bytes + 24 + 4 * any(HEAD_FIELDS));
            break;
        case 3:
        case 4:
            change_u32(bytes + word);
            break;
        case 5: { /* two words change places */
            const size_t other = any(count) & ~(size_t)3;
            uint32_t a, b;
            memcpy(&a, bytes + word, 4);
            memcpy(&b, bytes + other, 4);
            memcpy(bytes + word, &b, 4);
            memcpy(bytes + other, &a, 4);
            break;
        }
        case 6: { /* 64 bytes of this file or of another over these */
            const Case *from = any(2) ? &kept[any(files)] : &now;
            if (from != &now && from->count >= 64 && count >= 64)
                memmove(bytes + (any(count - 63) & ~(size_t)63), from->bytes + (any(from->count - 63) & ~(size_t)63), 64);
            break;
        }
        case 7: /* cut short */
            if (!any(4) && count > 192)
                count -= 64 * (1 + any(count / 64 - 2));
            break;
        case 8: /* longer */
            if (!any(4) && count + 64 <= room) {
                memset(bytes + count, any(2) ? 0 : 0xFF, 64);
                count += 64;
            }
            break;
        }
    }
    if (any(16)) { /* else the check would see nothing but a wrong length or CRC-32 */
        const uint64_t length = count;
        memcpy(bytes + 16, &length, 8);
    }
    if (any(16)) {
        const uint32_t crc = forest_crc32(0, bytes + 16, count - 16);
        memcpy(bytes + 12, &crc, 4);
    }
    return count;
}

static float any_value(const uint8_t *bytes, size_t count)
{
    const float values[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, 16777216, -1, 1e-36f};
    float value;
    if (any(2))
        return values[any(sizeof values / sizeof *values)];
    memcpy(&value, bytes + (any(count - 3) & ~(size_t)3), 4);
    return value;
}

static void walk(const Forest *forest, const uint8_t *bytes, size_t count)
{
    float *row = malloc((size_t)forest->head.features * 4);
    uint8_t *margins = malloc((size_t)forest->head.outputs * forest->head.sum_bytes);
    for (int i = 0; i < 4; i++) {
        for (uint32_t k = 0; k < forest->head.features; k++)
            row[k] = i ? any_value(bytes, count) : NAN;
        forest_margins(forest, row, margins);
        forest_scores(forest, margins);
    }
    const uint64_t numbers = (uint64_t)forest->head.outputs * (forest->head.features + 1);
    /* A path of a thousand features takes a second: such files are walked, and explained only if they are small. */
    if (!forest_no_contributions(forest) && numbers < MOST_FEATURES && forest->contribution_work < 1 << 22) {
        void *memory = malloc(forest_contribution_bytes(forest));
        float *contributions = malloc(numbers * sizeof *contributions);
        forest_start_contributions(forest, memory);
        for (int i = 0; i < 2; i++) {
            for (uint32_t k = 0; k < forest->head.features; k++)
                row[k] = any_value(bytes, count);
            forest_contributions(forest, row, memory, contributions);
        }
        free(memory);
        free(contributions);
        done.explained++;
    }
    free(row);
    free(margins);
}

static int load(Forest *forest, const uint8_t *bytes, size_t count)
{
    char why[FOREST_WHY_BYTES];
    if (any(64)) /* into memory as long as the file: a byte further is a finding */
        return forest_copy(forest, bytes, count, why);
    const int fd = memfd_create("forest", 0);
    if (fd < 0 || write(fd, bytes, count) != (ssize_t)count || lseek(fd, 0, SEEK_SET))
        abort();
    const int failed = forest_read(forest, fd, !any(4096), why);
    close(fd);
    return failed;
}

static void fuzz_file(void)
{
    static uint8_t bytes[MOST_BYTES];
    const Case *from = &kept[any(files)];
    memcpy(bytes, from->bytes, from->count);
    now = (Case){bytes, damage(bytes, from->count, sizeof bytes)};
    memset(hits, 0, sizeof hits);
    Forest forest;
    if (load(&forest, bytes, now.count)) {
        done.refused++;
    } else {
        if (forest.head.features <= MOST_FEATURES)
            walk(&forest, bytes, now.count);
        forest_close(&forest);
        done.walked++;
    }
    if (reached_more())
        keep(bytes, now.count);
    done.cases++;
}

static double slow(const char *text, char **stop)
{
    const double value = strtod(text, stop);
    if (*stop == text)
        *stop = NULL;
    return value;
}

/* Up to 60 characters of a number as it may be written, at `text`: how many. */
static size_t any_number(char *text)
{
    size_t count = 0;
    if (!any(3))
        text[count++] = "-+"[any(2)];
    for (uint64_t digits = any(22); digits; digits--)
        text[count++] = (char)('0' + any(10));
    if (any(4))
        text[count++] = '.';
    for (uint64_t digits = any(25); digits; digits--)
        text[count++] = any(3) ? (char)('0' + any(10)) : '0';
    if (!any(6))
        count += (size_t)sprintf(text + count, "e%d", (int)any(100) - 50);
    return count;
}

/* A text of numbers, most often with something wrong in it: what is read must be what strtod() reads. */
static void fuzz_text(void)
{
    static const char letters[] = "0123456789,,.-+eE\r\n nainfx_";
    static char draft[512];
    const uint32_t features = (uint32_t)(1 + any(4));
    size_t count = 0;
    for (uint32_t i = 0; i < features; i++) {
        count += any_number(draft + count);
        draft[count++] = i + 1 < features ? ',' : '\n';
    }
    for (uint64_t times = any(4); times > 1; times--)
        draft[any(count)] = letters[any(sizeof letters - 1)];
    if (!any(8))
        count = any(count);
    char *text = malloc(count + 1); /* as long as it is: a character further is a finding */
    memcpy(text, draft, count);
    text[count] = 0;
    float *row = malloc(features * sizeof *row);
    now = (Case){(uint8_t *)text, count};
    if (forest_csv_row(text, count, features, row, slow)) {
        char *at = text;
        for (uint32_t i = 0; i < features; i++, at++) {
            const float expected = (float)strtod(at, &at);
            if (memcmp(&expected, row + i, 4))
                abort();
        }
        done.read++;
    }
    done.texts++;
    free(row);
    free(text);
}

/* Whether a cell is what docs/container.md allows, read without anything of forest.c. */
static int cell_value(const char *at, const char *end, float *value)
{
    char cell[600], *stop;
    while (at < end && *at == ' ')
        at++;
    while (end > at && end[-1] == ' ')
        end--;
    if (end - at >= (ptrdiff_t)sizeof cell)
        return 0;
    memcpy(cell, at, (size_t)(end - at));
    cell[end - at] = 0;
    *value = (float)strtod(cell, &stop);
    if (!*cell || !strcasecmp(cell, "nan")) {
        *value = NAN;
        return 1;
    }
    return !*stop && isfinite(*value);
}

/* Whether rows[0] to rows[features - 1] are the cells of the line at `at`, which ends before `end`. */
static int line_is_row(const char *at, const char *end, const float *row, uint32_t features)
{
    while (end > at && end[-1] == '\r')
        end--;
    for (uint32_t i = 0; i < features; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma ? comma : end;
        float expected;
        if (!comma != (i + 1 == features) || !cell_value(at, stop, &expected))
            return 0;
        if (isnan(expected) ? !isnan(row[i]) : memcmp(&expected, row + i, 4) != 0)
            return 0;
        at = stop + 1;
    }
    return 1;
}

/* A table of numbers, most often with something wrong in it: rows are those of the lines, one after the other, and what was
   not read begins a line. */
static void fuzz_rows(void)
{
    static const char letters[] = "0123456789,,,.-+eE\r\n\n  nNaAinfx_";
    static const char *const cells[] = {"", "nan", " NaN ", "1", " -0 ", "1e-45", "3.4028236e38", "inf", "0x1p3", "1_0"};
    static char draft[2048];
    const uint32_t features = (uint32_t)(1 + any(4));
    const size_t lines = 1 + any(6), most = any(8);
    size_t count = 0;
    for (size_t line = 0; line < lines; line++) {
        for (uint32_t i = 0; i < features; i++) {
            if (any(3))
                count += any_number(draft + count);
            else
                count += (size_t)sprintf(draft + count, "%s", cells[any(sizeof cells / sizeof *cells)]);
            draft[count++] = i + 1 < features ? ',' : '\n';
        }
        if (!any(6))
            memcpy(draft + count - 1, "\r\n", 2), count++;
    }
    for (uint64_t times = any(4); times > 1; times--)
        draft[any(count)] = letters[any(sizeof letters - 1)];
    size_t stop = any(4) ? count - 1 : any(count), start = any(4) ? 0 : any(stop + 1);
    char *text = malloc(stop + 1); /* exactly as long as it may be read */
    memcpy(text, draft, stop);
    text[stop] = 0;
    float *rows = malloc(most * features * sizeof *rows + 1);
    now = (Case){(uint8_t *)text, stop};
    size_t at = start;
    const size_t got = forest_csv_rows(text, &at, stop, features, most, rows);
    if (got > most || at > stop + 1 || (at > start && at <= stop && text[at - 1] != '\n'))
        abort();
    for (size_t row = 0; row < got; row++) {
        const char *line = text + start, *end = memchr(line, '\n', stop - start);
        if (!end)
            end = text + stop;
        if (!line_is_row(line, end, rows + row * features, features))
            abort();
        start = (size_t)(end + 1 - text);
    }
    if (start != at)
        abort();
    done.tables++;
    done.rows += (long)got;
    free(rows);
    free(text);
}

/* A float32 of any size, most often one of everyday: near a whole number, a power of two or of ten. */
static double any_score(void)
{
    uint32_t bits = (uint32_t)any(1ull << 32);
    float value;
    switch (any(4)) {
    case 0:
        return (double)(float)any(20000000) / (double)(1ull << any(40));
    case 1:
        value = (float)pow(10, (double)any(20) - 12);
        memcpy(&bits, &value, 4);
        bits += (uint32_t)any(9) - 4;
        break;
    case 2:
        bits = (bits & 0x80000000u) | (uint32_t)(90 + any(65)) << 23 | (any(3) ? bits & 0x7FFFFF : (uint32_t)any(3));
        break;
    }
    memcpy(&value, &bits, 4);
    return value;
}

/* What is written of a number reads back as that number, in as few digits as can be, the nearest ones. */
static void fuzz_repr(void)
{
    const double value = any(16) ? any_score() : 1 / (double)(1 + any(1000));
    char *text = malloc(24); /* as the header promises: a character further is a finding */
    now = (Case){(uint8_t *)&value, sizeof value};
    const size_t length = forest_repr(value, text);
    done.numbers++;
    if (length) {
        char copy[32] = {0}, digits[32], shorter[40], *stop;
        int count = 0;
        memcpy(copy, text, length);
        const double back = strtod(copy, &stop);
        if (*stop || memcmp(&back, &value, sizeof value))
            abort();
        for (const char *at = copy; *at && *at != 'e'; at++)
            if (*at != '-' && *at != '.' && (count || *at != '0'))
                digits[count++] = *at;
        while (count > 1 && digits[count - 1] == '0')
            count--;
        digits[count] = 0;
        if (count > 1) {
            snprintf(shorter, sizeof shorter, "%.*e", count - 2, value);
            if (strtod(shorter, NULL) == value)
                abort();
        }
        if (count) { /* the same digits as the C library's, which rounds to the nearest */
            snprintf(shorter, sizeof shorter, "%.*e", count - 1, fabs(value));
            if (shorter[0] != digits[0] || (count > 1 && strncmp(shorter + 2, digits + 1, (size_t)count - 1) != 0))
                abort();
        }
        done.written++;
    }
    free(text);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return fprintf(stderr, "fuzz_forest SECONDS SEED FILE...\n"), 2;
    forest_start();
    __sanitizer_set_death_callback(keep_finding);
    state = 88172645463325252ull ^ strtoull(argv[2], NULL, 10) * 2654435761ull;
    for (int i = 3; i < argc; i++) {
        static uint8_t bytes[MOST_BYTES];
        FILE *file = fopen(argv[i], "rb");
        const size_t count = file ? fread(bytes, 1, sizeof bytes, file) : 0;
        if (file)
            fclose(file);
        if (count < 192 || count >= sizeof bytes)
            continue;
        char why[FOREST_WHY_BYTES];
        Forest forest;
        if (forest_copy(&forest, bytes, count, why))
            return fprintf(stderr, "%s: %s\n", argv[i], why), 2;
        forest_close(&forest);
        keep(bytes, count);
    }
    if (!files)
        return fprintf(stderr, "no file of 192 to %d bytes\n", MOST_BYTES), 2;
    const size_t given = files;
    const time_t end = time(NULL) + atol(argv[1]);
    while (time(NULL) < end) {
        alarm(60); /* a walk that does not end is a finding too */
        for (int i = 0; i < 200; i++)
            fuzz_file();
        for (int i = 0; i < 200; i++) {
            fuzz_text();
            fuzz_rows();
            fuzz_repr();
        }
    }
    printf("{\"files\": %zu, \"kept\": %zu, \"cases\": %ld, \"walked\": %ld, \"explained\": %ld, \"refused\": %ld, \"texts\": %ld, "
           "\"texts_read\": %ld, \"tables\": %ld, \"rows_read\": %ld, \"numbers\": %ld, \"numbers_written\": %ld}\n",
           given, files - given, done.cases, done.walked, done.explained, done.refused, done.texts, done.read, done.tables,
           done.rows, done.numbers, done.written);
    return 0;
}
