/* Contributions of features to a row's margins, included by forest.c: TreeSHAP, tree path-dependent (Lundberg and others
   2020, "From local explanations to global understanding", algorithm 2).

   XGBoost does it in float32, so the order of operations decides the last bits. This is its order, so the numbers are those
   of its pred_contribs: the child that the row goes to comes before the other, a feature that a path meets again moves to
   the path's end, and each tree is summed before it is added.

   A path has an empty element for the root, then one for each different feature on it:
   `zero`, the share of the training data that went this way; `one`, 1 if the row goes this way at each of the feature's
   nodes, else 0; `weight`, the share of orders of the features in which so many of them come before.  */

#define LANES 4 /* elements whose sums are worked out side by side: independent, so their divisions overlap */

typedef struct {
    uint32_t *feature; /* number among the features that the forest asks; NO_FEATURE in the first element */
    float *zero, *one, *weight;
    uint32_t last; /* the last element */
} ShapPath;

/* A child that waits while the other one's subtree is walked. */
typedef struct {
    uint32_t place, level, inner, feature;
    float zero;
} Waiting;

typedef struct {
    uint32_t *features;      /* numbers of the `asked` features that the forest asks, ascending */
    uint32_t *feature_of;    /* by slot: a place in `features` */
    float *sums;             /* by place in `features`: what the tree at hand adds */
    ShapPath *paths;         /* by level */
    Waiting *waiting;
    float *shares;           /* by a path's last element and an element: (last - element) / (last + 1) */
    uint32_t asked, room;
} Shap;

#define NO_FEATURE UINT32_MAX

const char *forest_no_contributions(const Forest *f)
{
    if (f->head.sum_bytes != 4 || f->head.vector_leaves)
        return "contributions are for XGBoost's models with one value in a leaf";
    if (!f->head.covers)
        return "this forest has no covers, which contributions need; convert the model again with contributions";
    if (f->depth > MAX_SHAP_DEPTH)
        return "a tree has more than 1024 levels; contributions are for at most so many";
    return NULL;
}

/* How many elements a path may have. One more than levels, or than features and the root. */
static size_t path_room(const Forest *f)
{
    return (size_t)path_features(&f->head, f->depth) + 2 + LANES;
}

static size_t shap_slots(const Forest *f)
{
    return f->head.node_bytes == FOREST_FORM_A ? SLOTS_A : SLOTS_B;
}

/* The pieces of the work memory, and how many bytes they take together. `memory` NULL: only the latter. */
static size_t lay_out(const Forest *f, uint8_t *memory, Shap *shap)
{
    const size_t levels = (size_t)f->depth + 1, room = path_room(f);
    const size_t asked = (size_t)f->head.columns + f->head.category_splits + 1;
    size_t at = 0;
#define PIECE(where, type, count) \
    do { \
        at = (at + _Alignof(type) - 1) / _Alignof(type) * _Alignof(type); \
        if (memory) \
            where = (type *)(void *)(memory + at); \
        at += (count) * sizeof(type); \
    } while (0)
    PIECE(shap->paths, ShapPath, levels);
    PIECE(shap->waiting, Waiting, levels);
    PIECE(shap->features, uint32_t, asked);
    PIECE(shap->feature_of, uint32_t, shap_slots(f));
    PIECE(shap->sums, float, asked);
    PIECE(shap->shares, float, room * room);
    for (size_t level = 0; level < levels; level++) {
        ShapPath unused, *path = memory ? shap->paths + level : &unused;
        PIECE(path->feature, uint32_t, room);
        PIECE(path->zero, float, room);
        PIECE(path->one, float, room);
        PIECE(path->weight, float, room);
    }
#undef PIECE
    return at;
}

size_t forest_contribution_bytes(const Forest *f)
{
    Shap unused;
    return sizeof(Shap) + lay_out(f, NULL, &unused);
}

static int ascending(const void *one, const void *other)
{
    const uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static uint32_t place_of(const Shap *shap, uint32_t feature)
{
    const uint32_t *at = bsearch(&feature, shap->features, shap->asked, sizeof feature, ascending);
    return (uint32_t)(at - shap->features);
}

void forest_start_contributions(const Forest *f, void *memory)
{
    Shap *shap = memory;
    const ForestHead *h = &f->head;
    memset(memory, 0, forest_contribution_bytes(f)); /* what lies behind a path's end is worked on too, and not used */
    lay_out(f, (uint8_t *)memory + sizeof *shap, shap);
    shap->room = (uint32_t)path_room(f);
    for (uint32_t last = 1; last < shap->room; last++)
        for (uint32_t i = 0; i < last; i++)
            shap->shares[(size_t)last * shap->room + i] = (float)(last - i) / (float)(last + 1);
    uint32_t count = 0;
    shap->features[count++] = 0; /* what slot 0 counts as where nothing fills it */
    for (uint32_t i = 0; i < h->columns; i++)
        shap->features[count++] = f->columns[i].feature;
    for (uint32_t i = 0; i < h->category_splits; i++)
        shap->features[count++] = f->category_splits[i].feature;
    qsort(shap->features, count, sizeof *shap->features, ascending);
    shap->asked = 1;
    for (uint32_t i = 1; i < count; i++)
        if (shap->features[i] != shap->features[shap->asked - 1])
            shap->features[shap->asked++] = shap->features[i];
    for (uint32_t i = 0; i < h->columns; i++) {
        const ForestColumn *c = f->columns + i;
        const uint32_t windows = windows_of(f, c), feature = place_of(shap, c->feature);
        for (uint32_t k = 0; k < windows; k++) {
            if (c->left_slot != NO_SLOT)
                shap->feature_of[c->left_slot + k] = feature;
            if (c->right_slot != NO_SLOT)
                shap->feature_of[c->right_slot + k] = feature;
        }
    }
    for (uint32_t i = 0; i < h->category_splits; i++)
        shap->feature_of[f->category_splits[i].slot] = place_of(shap, f->category_splits[i].feature);
}

/* The parent's path with one element more. */
static void extend(ShapPath *to, const ShapPath *from, uint32_t feature, float zero, float one)
{
    const uint32_t last = from->last + 1;
    const float elements = (float)(last + 1);
    memcpy(to->feature, from->feature, last * sizeof *to->feature);
    memcpy(to->zero, from->zero, last * sizeof *to->zero);
    memcpy(to->one, from->one, last * sizeof *to->one);
    to->feature[last] = feature;
    to->zero[last] = zero;
    to->one[last] = one;
    to->last = last;
    /* Each weight comes from its own place and the one before in the parent's path. */
    const float *weight = from->weight;
    for (uint32_t i = 0; i < last; i++)
        to->weight[i] = zero * weight[i] * (float)(last - i) / elements;
    to->weight[last] = 0;
    if (one != 0)
        for (uint32_t i = 1; i <= last; i++)
            to->weight[i] += one * weight[i - 1] * (float)i / elements;
}

/* Takes the element at `at` out of a path, as if its feature had not been met. */
static void take_out(ShapPath *path, uint32_t at)
{
    const uint32_t last = path->last;
    const float zero = path->zero[at], one = path->one[at], elements = (float)(last + 1);
    float next = path->weight[last];
    for (uint32_t i = last; i-- > 0;) {
        const float before = path->weight[i];
        if (one != 0) {
            path->weight[i] = next * elements / ((float)(i + 1) * one);
            next = before - path->weight[i] * zero * (float)(last - i) / elements;
        } else {
            path->weight[i] = before * elements / (zero * (float)(last - i));
        }
    }
    for (uint32_t i = at; i < last; i++) {
        path->feature[i] = path->feature[i + 1];
        path->zero[i] = path->zero[i + 1];
        path->one[i] = path->one[i + 1];
    }
    path->last = last - 1;
}

/* For LANES elements the sum of the weights that the path would have without the element. Of an element whose `one` is 0
   and whose `zero` is 0 it is no number. */
static inline void sums_without(const ShapPath *path, const float *shares, uint32_t from, float *sums)
{
    const uint32_t last = path->last;
    const float elements = (float)(last + 1), *zero = path->zero + from, *one = path->one + from;
    float next[LANES];
    for (uint32_t k = 0; k < LANES; k++) {
        next[k] = path->weight[last];
        sums[k] = 0;
    }
    for (uint32_t i = last; i-- > 0;) {
        const float weight = path->weight[i], share = shares[i], place = (float)(i + 1);
        for (uint32_t k = 0; k < LANES; k++) {
            const float above = one[k] != 0 ? next[k] * elements : weight / zero[k];
            const float part = above / (one[k] != 0 ? place : share);
            sums[k] += part;
            next[k] = weight - part * zero[k] * share;
        }
    }
}

/* What a leaf adds to the features on its path. */
static void add_leaf(const Shap *shap, const ShapPath *path, float leaf)
{
    const float *shares = shap->shares + (size_t)path->last * shap->room;
    for (uint32_t from = 1; from <= path->last; from += LANES) {
        const uint32_t count = path->last + 1 - from < LANES ? path->last + 1 - from : LANES;
        float sums[LANES];
        sums_without(path, shares, from, sums);
        for (uint32_t k = 0; k < count; k++) {
            const float zero = path->zero[from + k], one = path->one[from + k];
            /* A child without training data that the row does not go to has no weight: its share is no divisor. */
            if (zero != 0 || one != 0)
                shap->sums[path->feature[from + k]] += sums[k] * (one - zero) * leaf;
        }
    }
}

static Split shap_split(const Forest *f, const void *slots, uint64_t word)
{
    return f->head.node_bytes == FOREST_FORM_A ? split_a(slots, (uint32_t)word) : split_b(slots, word);
}

static uint64_t word_at(const Forest *f, const void *words, size_t at)
{
    return f->head.node_bytes == FOREST_FORM_A ? ((const uint32_t *)words)[at] : ((const uint64_t *)words)[at];
}

/* What tree `t` adds to each feature, in shap->sums. */
static void tree_contributions(const Forest *f, uint32_t t, const void *slots, Shap *shap)
{
    const int form_a = f->head.node_bytes == FOREST_FORM_A;
    const uint8_t *words = (const uint8_t *)f->words + (size_t)f->first[t] * f->head.node_bytes;
    const float *covers = f->covers + f->first[t];
    Waiting *waiting = shap->waiting;
    uint32_t waits = 0, level = 0, place = 0;
    Split split = shap_split(f, slots, word_at(f, f->roots, t));
    float cover = f->root_covers[t];
    ShapPath *path = shap->paths;
    path->feature[0] = NO_FEATURE;
    path->zero[0] = path->one[0] = path->weight[0] = 1;
    path->last = 0;
    for (;;) {
        /* At a node: its feature leaves the path if it is on it, and both children take it up. */
        const uint32_t feature = shap->feature_of[split.slot], pair = place + split.distance;
        float zero = 1, one = 1;
        for (uint32_t i = 1; i <= path->last; i++)
            if (path->feature[i] == feature) {
                zero = path->zero[i];
                one = path->one[i];
                take_out(path, i);
                break;
            }
        const uint32_t to = pair + split.right, other = pair + 1 - split.right;
        waiting[waits++] = (Waiting){other, level + 1, split.inner[1 - split.right], feature, covers[other] / cover * zero};
        Waiting child = {to, level + 1, split.inner[split.right], feature, covers[to] / cover * zero};
        for (;;) {
            extend(shap->paths + child.level, shap->paths + child.level - 1, child.feature, child.zero, one);
            path = shap->paths + child.level;
            if (child.inner)
                break;
            const uint64_t leaf = word_at(f, words, child.place);
            add_leaf(shap, path, float_of((uint32_t)(form_a ? leaf : leaf >> 32)));
            if (!waits)
                return;
            child = waiting[--waits];
            one = 0;
        }
        level = child.level;
        place = child.place;
        cover = covers[place];
        split = shap_split(f, slots, word_at(f, words, place));
    }
}

void forest_contributions(const Forest *f, const float *row, void *memory, float *contributions)
{
    Shap *shap = memory;
    const ForestHead *h = &f->head;
    const size_t width = (size_t)h->features + 1;
    union {
        uint16_t a[SLOTS_A];
        float b[SLOTS_B];
    } slots;
    if (h->node_bytes == FOREST_FORM_A)
        fill_slots_a(f, row, slots.a);
    else
        fill_slots_b(f, row, slots.b);
    memset(contributions, 0, h->outputs * width * sizeof *contributions);
    for (uint32_t t = 0; t < h->trees; t++) {
        float *own = contributions + (h->outputs > 1 ? f->tree_outputs[t] : 0) * width;
        const float weight = h->weighted ? f->weights[t] : 1;
        own[width - 1] += f->tree_means[t] * weight;
        if (f->root_covers[t] == 0) /* one leaf */
            continue;
        tree_contributions(f, t, &slots, shap);
        for (uint32_t i = 0; i < shap->asked; i++) {
            own[shap->features[i]] += shap->sums[i] * weight;
            shap->sums[i] = 0;
        }
    }
    for (uint32_t o = 0; o < h->outputs; o++)
        contributions[o * width + width - 1] += ((const float *)f->base)[o];
}
