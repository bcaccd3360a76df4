/* A flat forest in memory: docs/flat-forest.md, versions 1 and 2. No Python; the only global state is the CRC-32's table. */
#ifndef TIERFLEET_FOREST_H
#define TIERFLEET_FOREST_H

#include <stddef.h>
#include <stdint.h>

#define FOREST_ALIGNMENT 64
#define FOREST_WHY_BYTES 256 /* room at `why` for a sentence that says what is wrong with a file */

enum { FOREST_FORM_A = 4, FOREST_FORM_B = 8 };
enum { FOREST_FLOAT32 = 4, FOREST_FLOAT64 = 8 };
enum { FOREST_IDENTITY, FOREST_SIGMOID, FOREST_EXP, FOREST_SOFTMAX, FOREST_STEP, FOREST_ARGMAX, FOREST_EXP_F64 };

/* The structures below have the bytes of the file. */
typedef struct {
    char magic[8];
    uint32_t version, crc32;
    uint64_t file_bytes;
    uint32_t node_bytes, features, outputs, trees, words, columns, thresholds, category_splits, category_words;
    uint32_t leaf_rows, sum_bytes, vector_leaves, weighted, divisor, transform, probes;
    double transform_parameter;
    uint32_t metadata_bytes, covers;
    uint8_t reserved[24];
} ForestHead;

typedef struct {
    uint32_t feature, at, count;
    uint16_t left_slot, right_slot;
    uint32_t missing;
} ForestColumn;

typedef struct {
    uint32_t feature, at, count;
    uint16_t slot, flags;
} ForestCategorySplit;

_Static_assert(sizeof(ForestHead) == 128, "the head has 128 bytes");
_Static_assert(sizeof(ForestColumn) == 20, "a column has 20 bytes");
_Static_assert(sizeof(ForestCategorySplit) == 16, "a category split has 16 bytes");

typedef struct {
    ForestHead head;
    const void *base, *leaf_table, *roots, *words, *probe_margins, *probe_scores; /* of the type that the head says */
    const ForestColumn *columns;
    const float *thresholds, *weights, *probe_rows;
    const ForestCategorySplit *category_splits;
    const uint32_t *category_bits, *first;
    const uint16_t *tree_outputs;
    const char *metadata;
    const float *root_covers, *tree_means, *covers; /* NULL where the head's covers is 0 */
    uint64_t path_length; /* the most nodes that one row visits */
    uint64_t row_work;    /* that, and the slots that a row fills and the values that it adds, base values among them */
    uint64_t contribution_work; /* the most steps that one row's contributions take; 0 without covers */
    uint32_t depth;       /* of the deepest tree */
    uint32_t scores;      /* how many scores a row has */
    void *owned;          /* what forest_close frees, or NULL */
} Forest;

enum { FOREST_OK, FOREST_BAD, FOREST_NO_MEMORY, FOREST_ERRNO };

/* To be called once, before anything else. */
void forest_start(void);

uint32_t forest_crc32(uint32_t crc, const void *bytes, size_t count);

/* How a load lets other threads in: after `work_us` of work it sleeps as long, or never if that is 0. */
typedef struct {
    uint32_t work_us;
    int64_t since_ns; /* when the work began */
} ForestPace;

/* Checks everything but the CRC-32 and the probes. After FOREST_OK, no row can lead outside the bytes, and every walk ends.
   `bytes` must be aligned to 64 bytes and live as long as the forest. Not FOREST_OK: `why` says what is wrong. */
int forest_open(Forest *forest, const void *bytes, size_t count, ForestPace *pace, char *why);

/* The same for a regular file, which it reads into memory of its own; also checks the CRC-32 and the probes.
   FOREST_ERRNO: errno says why. The file descriptor's place moves. `work_us`, below 1,000,000, is that of its pace. */
int forest_read(Forest *forest, int fd, uint32_t work_us, char *why);

/* The same for bytes, which it copies. */
int forest_copy(Forest *forest, const void *bytes, size_t count, char *why);

void forest_close(Forest *forest);

/* `row`: features x float. `margins`: outputs x float, or double with sum_bytes 8. */
void forest_margins(const Forest *forest, const float *row, void *margins);

/* From the margins of a row to its scores, in place: forest->scores of them. */
void forest_scores(const Forest *forest, void *margins);

/* Why there are no contributions, or NULL. */
const char *forest_no_contributions(const Forest *forest);

/* Memory that forest_contributions works in: bytes, aligned as malloc does. One call at a time may use it. */
size_t forest_contribution_bytes(const Forest *forest);

/* To be called once on the memory, before any row. */
void forest_start_contributions(const Forest *forest, void *memory);

/* TreeSHAP of a row, tree path-dependent: outputs x (features + 1) x float. The last of an output is its bias; all of
   them add up to its margin. Only where forest_no_contributions is NULL. */
void forest_contributions(const Forest *forest, const float *row, void *memory, float *contributions);

/* Margins or scores of the probe rows that are not those in the file: FOREST_BAD. */
int forest_probe(const Forest *forest, ForestPace *pace, char *why);

/* One row of comma separated numbers, perhaps with an end of line after it: 1 if it was read exactly as Python's float()
   and a cast to float32 read it, 0 if anything in it needs a closer look. `text[count]` must be 0.
   `slow` reads one number where the short way is not exact: NULL in `stop` if it is none. */
int forest_csv_row(const char *text, size_t count, uint32_t features, float *row,
                   double (*slow)(const char *text, char **stop));

/* Lines of comma separated numbers from text[*start] on: at most `most` whole rows, up to text[stop], which is where the last
   line ends. Returns how many it read, and in *start where the next line begins, stop + 1 after the last. An empty cell and
   `nan` are missing values. It stops before the first line that needs a closer look. `text` must have a 0 at or after `stop`. */
size_t forest_csv_rows(const char *text, size_t *start, size_t stop, uint32_t features, size_t most, float *rows);

/* `value` as Python's repr() writes it, without a 0 after it: its length, at most 24. 0 if it is not of an ordinary size, or
   no float32. */
size_t forest_repr(double value, char *text);

#endif
