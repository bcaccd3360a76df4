/* The check and the walk of trees, included by forest.c once for each form. It needs:
   NAME(x)            x with the form's suffix
   WORD, SLOT         the types of a node word and of a slot
   SLOTS              how many slots there are
   SLOT_OF(w), DISTANCE_OF(w), LEFT_INNER(w), RIGHT_INNER(w), LEAF_OF(w)    fields of a word, as uint32_t
   INNER(w, right)    whether the child on that side is a node
   GOES_RIGHT(w, slots)       0 or 1
   SOUND(w, limits)           whether the slot and the threshold may be asked for */

/* Every tree of the file: 0 if it is sound, else 1 + the number of a tree that is not. `list` has room for the longest
   tree's words and 4 more.

   The list holds the places of the nodes that the root leads to, level by level. Its length says whether nodes share
   children: no mark on the words is needed, so nothing is written near what is read. No branch depends on a word. */
static uint32_t NAME(check_trees)(Forest *f, const uint16_t *limits, uint32_t *list, ForestPace *pace)
{
    const ForestHead *h = &f->head;
    const uint32_t leaf_rows = h->leaf_rows;
    for (uint32_t t = 0; t < h->trees; t++) {
        keep_pace(pace);
        const WORD *words = (const WORD *)f->words + f->first[t];
        const uint32_t count = (t + 1 < h->trees ? f->first[t + 1] : h->words) - f->first[t];
        const WORD root = ((const WORD *)f->roots)[t];
        uint32_t bad = !SOUND(root, limits) | (DISTANCE_OF(root) != 0);
        uint32_t listed = 0, level_begin = 0, level_end, above = 1, depth = 1;
        list[listed] = 0;
        listed += LEFT_INNER(root);
        list[listed] = 1;
        listed += RIGHT_INNER(root);
        level_end = listed;
        if (leaf_rows) {
            bad |= !LEFT_INNER(root) & (LEAF_OF(words[0]) >= leaf_rows);
            bad |= !RIGHT_INNER(root) & (LEAF_OF(words[1]) >= leaf_rows);
        }
        depth += listed > 0;
        for (uint32_t i = 0; i < listed; i++) {
            if (i == level_end) {
                keep_pace(pace);
                add_level(f, depth - 1, above, level_end - level_begin);
                above = level_end - level_begin;
                level_begin = level_end;
                depth++;
                level_end = listed;
            }
            const uint32_t place = list[i];
            const WORD word = words[place];
            const uint32_t pair = place + DISTANCE_OF(word);
            const uint32_t good = (pair > place) & (pair + 1 < count) & SOUND(word, limits);
            bad |= good ^ 1;
            list[listed] = pair;
            listed += LEFT_INNER(word) & good;
            list[listed] = pair + 1;
            listed += RIGHT_INNER(word) & good;
            if (leaf_rows && good) {
                bad |= !LEFT_INNER(word) & (LEAF_OF(words[pair]) >= leaf_rows);
                bad |= !RIGHT_INNER(word) & (LEAF_OF(words[pair + 1]) >= leaf_rows);
            }
            if (listed > count) { /* also what bounds the list */
                bad = 1;
                break;
            }
        }
        if (bad)
            return t + 1;
        if (listed)
            add_level(f, depth - 1, above, level_end - level_begin);
        add_level(f, depth, listed ? level_end - level_begin : 1, 0);
        f->path_length += depth;
        f->depth = depth > f->depth ? depth : f->depth;
    }
    return 0;
}

/* The leaves of `count` trees, at most WAVE, from tree `from` on: leaves[i] is that of tree from + i, as the bits of its word.

   All trees go down one level at a time. A tree's next word is asked for a whole pass before it is needed, so the walk
   waits for memory once a level and not once a node. A tree at its leaf drops out of the list without a branch. */
static void NAME(leaves)(const Forest *f, const SLOT *slots, uint32_t from, uint32_t count, uint32_t *leaves)
{
    const WORD *words = f->words, *roots = (const WORD *)f->roots + from;
    const uint32_t *first = f->first + from;
    uint64_t walking[WAVE + 1]; /* tree << 32 | place */
    uint32_t places[WAVE], left = 0;
    for (uint32_t i = 0; i < count; i++) {
        const WORD word = roots[i];
        const uint32_t right = GOES_RIGHT(word, slots), place = first[i] + right;
        PREFETCH(words + place);
        walking[left] = (uint64_t)i << 32 | place;
        places[i] = place;
        left += INNER(word, right);
    }
    while (left) {
        uint32_t kept = 0;
        for (uint32_t i = 0; i < left; i++) {
            const uint64_t at = walking[i];
            const WORD word = words[(uint32_t)at];
            const uint32_t right = GOES_RIGHT(word, slots);
            const uint64_t next = at + DISTANCE_OF(word) + right;
            PREFETCH(words + (uint32_t)next);
            walking[kept] = next;
            places[next >> 32] = (uint32_t)next;
            kept += INNER(word, right);
        }
        left = kept;
    }
    for (uint32_t i = 0; i < count; i++)
        leaves[i] = LEAF_OF(words[places[i]]);
}

/* What a node's word says, and which way the row goes. */
static inline Split NAME(split)(const SLOT *slots, WORD word)
{
    return (Split){SLOT_OF(word), DISTANCE_OF(word), GOES_RIGHT(word, slots), {LEFT_INNER(word), RIGHT_INNER(word)}};
}

#undef NAME
#undef WORD
#undef SLOT
#undef SLOTS
#undef SLOT_OF
#undef DISTANCE_OF
#undef LEFT_INNER
#undef RIGHT_INNER
#undef INNER
#undef LEAF_OF
#undef GOES_RIGHT
#undef SOUND
