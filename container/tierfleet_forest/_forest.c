/* The Python binding of forest.c: one type, in the limited API, so that one wheel serves every Python from 3.11 on. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "forest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Up to so many steps, which are some 4,000 visits of trees or 0.1 ms, letting go of the interpreter and waiting for it
   again takes longer than the scores. */
#define RELEASE_ABOVE 50000
/* Freeing more than this gives memory back to the system, which takes a while. */
#define RELEASE_FREE_ABOVE (1u << 20)
/* Text of more bytes than this is read without the interpreter. */
#define RELEASE_TEXT_ABOVE 4096
/* Margins of so many bytes are worked out on the stack. */
#define SMALL_BYTES 1024
/* A row of text of so many features is read on the stack. */
#define SMALL_FEATURES 1024

typedef struct {
    PyObject_HEAD
    Forest forest;
} ForestObject;

typedef struct {
    PyObject *type, *error;
} State;

static void forest_dealloc(PyObject *self)
{
    ForestObject *object = (ForestObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (object->forest.owned && object->forest.head.file_bytes > RELEASE_FREE_ABOVE) {
        Py_BEGIN_ALLOW_THREADS
        forest_close(&object->forest);
        Py_END_ALLOW_THREADS
    } else {
        forest_close(&object->forest);
    }
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

/* ---- Rows in ---- */

/* Rows of float32 in a buffer: their number, or -1 with an exception. */
static Py_ssize_t rows_in(const Forest *f, const Py_buffer *view)
{
    const Py_ssize_t row_bytes = (Py_ssize_t)f->head.features * 4;
    const char *format = view->format ? view->format : "B";
    const int floats = view->itemsize == 4 && (!strcmp(format, "f") || !strcmp(format, "<f") || !strcmp(format, "=f"));
    const int bytes = view->itemsize == 1 && view->ndim == 1 && strchr("Bbc", format[0]) && !format[1];
    if (!floats && !bytes) {
        PyErr_Format(PyExc_TypeError,
                     "rows must be float32 values in C order, or their bytes; got items of format '%s'", format);
        return -1;
    }
    if (view->ndim > 2 || (view->ndim == 2 && view->shape[1] != (Py_ssize_t)f->head.features)) {
        PyErr_Format(PyExc_ValueError, "rows must have the shape (rows, %u); got %d dimensions, the last of %zd",
                     f->head.features, view->ndim, view->shape[view->ndim - 1]);
        return -1;
    }
    if (view->len % row_bytes) {
        PyErr_Format(PyExc_ValueError, "rows must have %u features each; got %zd values", f->head.features,
                     view->len / 4);
        return -1;
    }
    return view->len / row_bytes;
}

static PyObject *list_of(const void *values, size_t count, uint32_t value_bytes)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *number = PyFloat_FromDouble(value_bytes == FOREST_FLOAT32 ? (double)((const float *)values)[i]
                                                                            : ((const double *)values)[i]);
        if (!number || PyList_SetItem(list, (Py_ssize_t)i, number))
            Py_CLEAR(list);
    }
    return list;
}

/* All rows, one after the other. Scores take the place of the row's margins, which may be more. */
static void run_rows(const Forest *f, const float *rows, size_t count, int scores, uint8_t *out)
{
    const size_t margin_bytes = (size_t)f->head.outputs * f->head.sum_bytes;
    const size_t bytes = scores ? (size_t)f->scores * f->head.sum_bytes : margin_bytes;
    for (size_t i = 0; i < count; i++, out += bytes) {
        forest_margins(f, rows + i * f->head.features, out);
        if (scores)
            forest_scores(f, out);
    }
}

static void run(const Forest *f, const float *rows, size_t count, int scores, uint8_t *out)
{
    if ((uint64_t)count * f->row_work <= RELEASE_ABOVE) {
        run_rows(f, rows, count, scores, out);
    } else {
        Py_BEGIN_ALLOW_THREADS
        run_rows(f, rows, count, scores, out);
        Py_END_ALLOW_THREADS
    }
}

static PyObject *outputs_of(const Forest *f, PyObject *argument, int scores)
{
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT))
        return NULL;
    PyObject *result = NULL;
    float *moved = NULL; /* the rows, where they are not aligned */
    union {
        double align;
        uint8_t bytes[SMALL_BYTES];
    } small;
    uint8_t *out = small.bytes;
    const Py_ssize_t rows = rows_in(f, &view);
    const size_t width = scores ? f->scores : f->head.outputs, value_bytes = f->head.sum_bytes;
    if (rows < 0)
        goto end;
    /* The last row's margins need all their room, even if its scores do not. No product overflows: each row has
       at least 4 bytes in memory, and a margin of it 8 x 65,535. */
    if ((size_t)rows > (SIZE_MAX >> 1) / (f->head.outputs * value_bytes) - 1) {
        PyErr_NoMemory();
        goto end;
    }
    const size_t needed = ((size_t)rows * width + f->head.outputs) * value_bytes;
    if (needed > sizeof small && !(out = malloc(needed))) {
        PyErr_NoMemory();
        goto end;
    }
    const float *values = view.buf;
    if ((uintptr_t)view.buf % _Alignof(float)) {
        if (!(moved = malloc((size_t)view.len))) {
            PyErr_NoMemory();
            goto end;
        }
        memcpy(moved, view.buf, (size_t)view.len);
        values = moved;
    }
    run(f, values, (size_t)rows, scores, out);
    result = list_of(out, (size_t)rows * width, f->head.sum_bytes);
end:
    if (out != small.bytes)
        free(out);
    free(moved);
    PyBuffer_Release(&view);
    return result;
}

static PyObject *forest_predict(PyObject *self, PyObject *rows)
{
    return outputs_of(&((ForestObject *)self)->forest, rows, 1);
}

static PyObject *forest_raw(PyObject *self, PyObject *rows)
{
    return outputs_of(&((ForestObject *)self)->forest, rows, 0);
}

/* ---- Contributions ---- */

static void run_contributions(const Forest *f, const float *rows, size_t count, void *memory, char *out)
{
    const size_t row_bytes = (size_t)f->head.outputs * ((size_t)f->head.features + 1) * sizeof(float);
    forest_start_contributions(f, memory);
    for (size_t i = 0; i < count; i++)
        forest_contributions(f, rows + i * f->head.features, memory, (float *)(void *)(out + i * row_bytes));
}

static PyObject *forest_explain(PyObject *self, PyObject *argument)
{
    const ForestObject *object = (const ForestObject *)self;
    const Forest *f = &object->forest;
    const State *state = PyType_GetModuleState(Py_TYPE(self));
    const char *refusal = forest_no_contributions(f);
    if (refusal)
        return PyErr_Format(state->error, "%s", refusal);
    Py_buffer view;
    if (PyObject_GetBuffer(argument, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT))
        return NULL;
    const Py_ssize_t rows = rows_in(f, &view);
    /* 2^16 outputs of 2^24 features in 4 bytes: below 2^43 a row. */
    const size_t row_bytes = (size_t)f->head.outputs * ((size_t)f->head.features + 1) * sizeof(float);
    PyObject *result = NULL;
    void *memory = NULL, *moved = NULL;
    const float *values = view.buf;
    if (rows < 0)
        goto end;
    if ((size_t)rows > (size_t)PY_SSIZE_T_MAX / 2 / row_bytes) {
        PyErr_NoMemory();
        goto end;
    }
    if ((uintptr_t)view.buf % _Alignof(float)) {
        if ((moved = malloc((size_t)view.len)))
            memcpy(moved, view.buf, (size_t)view.len);
        values = moved;
    }
    memory = malloc(forest_contribution_bytes(f));
    if (!memory || !values) {
        PyErr_NoMemory();
        goto end;
    }
    if (!(result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)((size_t)rows * row_bytes))))
        goto end;
    char *out = PyBytes_AsString(result);
    if ((uint64_t)rows * f->contribution_work <= RELEASE_ABOVE) {
        run_contributions(f, values, (size_t)rows, memory, out);
    } else { /* no other thread knows these bytes yet */
        Py_BEGIN_ALLOW_THREADS
        run_contributions(f, values, (size_t)rows, memory, out);
        Py_END_ALLOW_THREADS
    }
end:
    free(memory);
    free(moved);
    PyBuffer_Release(&view);
    return result;
}

/* ---- A row of text in, text out ---- */

static double slow_number(const char *text, char **stop)
{
    const double value = PyOS_string_to_double(text, stop, NULL);
    if (value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        *stop = NULL;
    }
    return value;
}

/* Scores as repr() writes them: a row's joined by commas, rows by line feeds. Returns the length, or -1 with an exception.
   `text`: room for LONGEST_REPR each. Many are written without the interpreter; it is needed for what forest_repr does not
   write, and then for a few more, since to wait for it takes longer. */
#define LONGEST_REPR 32 /* with a comma; no float64 has more than 24 characters */
#define ODD_NUMBERS 32
#define RELEASE_NUMBERS_ABOVE 64

static Py_ssize_t write_number(double value, char *text)
{
    const size_t length = forest_repr(value, text);
    if (length)
        return (Py_ssize_t)length;
    char *number = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (!number)
        return -1;
    const size_t digits = strlen(number);
    memcpy(text, number, digits);
    PyMem_Free(number);
    return (Py_ssize_t)digits;
}

static char *separate(char *at, size_t number, size_t outputs)
{
    if (number)
        *at++ = number % outputs ? ',' : '\n';
    return at;
}

static Py_ssize_t write_csv(const double *scores, size_t count, size_t outputs, char *text)
{
    char *at = text;
    for (size_t i = 0; i < count;) {
        if (count - i > RELEASE_NUMBERS_ABOVE) {
            Py_BEGIN_ALLOW_THREADS
            for (; i < count; i++) {
                char *const place = separate(at, i, outputs);
                const size_t length = forest_repr(scores[i], place);
                if (!length)
                    break;
                at = place + length;
            }
            Py_END_ALLOW_THREADS
        }
        for (size_t odd = 0; i < count && odd < ODD_NUMBERS; i++, odd++) {
            at = separate(at, i, outputs);
            const Py_ssize_t length = write_number(scores[i], at);
            if (length < 0)
                return -1;
            at += length;
        }
    }
    return at - text;
}

/* The scores of one row. */
static PyObject *csv_of(const Forest *f, const void *scores)
{
    char small[SMALL_BYTES], *text = small;
    if (f->scores * (size_t)LONGEST_REPR > sizeof small && !(text = malloc(f->scores * (size_t)LONGEST_REPR)))
        return PyErr_NoMemory();
    PyObject *result = NULL;
    char *at = text;
    for (uint32_t o = 0; o < f->scores; o++) {
        const double score = f->head.sum_bytes == FOREST_FLOAT32 ? (double)((const float *)scores)[o]
                                                                 : ((const double *)scores)[o];
        at = separate(at, o, f->scores);
        const Py_ssize_t length = write_number(score, at);
        if (length < 0)
            goto end;
        at += length;
    }
    result = PyBytes_FromStringAndSize(text, at - text);
end:
    if (text != small)
        free(text);
    return result;
}

static PyObject *forest_predict_csv(PyObject *self, PyObject *argument)
{
    const Forest *f = &((ForestObject *)self)->forest;
    char *text;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(argument, &text, &length))
        return NULL;
    float small_row[SMALL_FEATURES], *row = small_row;
    union {
        double align;
        uint8_t bytes[SMALL_BYTES];
    } small;
    void *margins = small.bytes;
    PyObject *result = NULL;
    if ((size_t)length < 2 * (size_t)f->head.features - 1) /* so a short text costs no memory for a wide row */
        Py_RETURN_NONE;
    if (f->head.features > SMALL_FEATURES)
        row = malloc((size_t)f->head.features * sizeof *row);
    if ((size_t)f->head.outputs * f->head.sum_bytes > sizeof small)
        margins = malloc((size_t)f->head.outputs * f->head.sum_bytes);
    if (!row || !margins) {
        PyErr_NoMemory();
    } else if (!forest_csv_row(text, (size_t)length, f->head.features, row, slow_number)) {
        result = Py_None;
        Py_INCREF(result);
    } else {
        run(f, row, 1, 1, margins);
        result = csv_of(f, margins);
    }
    if (row != small_row)
        free(row);
    if (margins != small.bytes)
        free(margins);
    return result;
}

/* ---- What a forest says of itself ---- */

static PyObject *get_count(PyObject *self, void *offset)
{
    uint32_t value;
    memcpy(&value, (char *)&((ForestObject *)self)->forest + (uintptr_t)offset, sizeof value);
    return PyLong_FromUnsignedLong(value);
}

static PyObject *get_form(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((ForestObject *)self)->forest.head.node_bytes == FOREST_FORM_A ? "A" : "B");
}

static PyObject *get_sum(PyObject *self, void *unused)
{
    (void)unused;
    return PyUnicode_FromString(((ForestObject *)self)->forest.head.sum_bytes == FOREST_FLOAT32 ? "float32"
                                                                                                : "float64");
}

static PyObject *get_size_bytes(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ForestObject *)self)->forest.head.file_bytes);
}

static PyObject *get_path_length(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ForestObject *)self)->forest.path_length);
}

static PyObject *get_row_work(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ForestObject *)self)->forest.row_work);
}

static PyObject *get_contribution_work(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ForestObject *)self)->forest.contribution_work);
}

static PyObject *get_contribution_bytes(PyObject *self, void *unused)
{
    (void)unused;
    const Forest *f = &((ForestObject *)self)->forest;
    return PyLong_FromSize_t(forest_no_contributions(f) ? 0 : forest_contribution_bytes(f));
}

static PyObject *get_no_contributions(PyObject *self, void *unused)
{
    (void)unused;
    const char *refusal = forest_no_contributions(&((ForestObject *)self)->forest);
    return PyUnicode_FromString(refusal ? refusal : "");
}

static PyObject *get_metadata(PyObject *self, void *unused)
{
    (void)unused;
    const Forest *f = &((ForestObject *)self)->forest;
    return PyBytes_FromStringAndSize(f->metadata, (Py_ssize_t)f->head.metadata_bytes);
}

#define COUNT(field) (void *)offsetof(Forest, field)
static PyGetSetDef attributes[] = {
    {"contribution_bytes", get_contribution_bytes, NULL,
     "Memory that `contributions` works in, besides its result; 0 where there are none.", NULL},
    {"contribution_work", get_contribution_work, NULL,
     "The most steps that the contributions of one row take, 1 to 1.3 ns each: one for each node, one for each feature\n"
     "above a node, for each leaf the square of that, and for each tree the features of the forest. 0 without covers.",
     NULL},
    {"depth", get_count, NULL, "Levels of the deepest tree, at least 1 unless there are no trees.", COUNT(depth)},
    {"features", get_count, NULL, "Values of a row.", COUNT(head.features)},
    {"form", get_form, NULL, "'A' (four bytes a node) or 'B' (eight).", NULL},
    {"metadata", get_metadata, NULL, "The file's metadata: a JSON object as bytes, or none.", NULL},
    {"metadata_bytes", get_count, NULL, "Length of the metadata, which `metadata` copies.", COUNT(head.metadata_bytes)},
    {"no_contributions", get_no_contributions, NULL, "Why `contributions` raises ForestError; empty where it does not.",
     NULL},
    {"outputs", get_count, NULL, "Margins of a row.", COUNT(head.outputs)},
    {"path_length", get_path_length, NULL, "The most nodes that one row visits.", NULL},
    {"row_work", get_row_work, NULL,
     "The most steps that one row takes: nodes visited, slots filled, base and leaf values added; some 3 ns each.", NULL},
    {"scores", get_count, NULL, "Scores of a row: as many as outputs, or 1 where the score is a class.", COUNT(scores)},
    {"size_bytes", get_size_bytes, NULL, "Length of the file, which is the memory that the forest holds.", NULL},
    {"sum", get_sum, NULL, "What margins are summed in: 'float32' or 'float64'.", NULL},
    {"trees", get_count, NULL, "Number of trees.", COUNT(head.trees)},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"predict", forest_predict, METH_O,
     "predict(rows) -> list of float\n\nScores of float32 rows, row after row, `scores` of them each. `rows`: a buffer of "
     "float32 values in C order,\nof shape (rows, features) or flat, or their bytes; NaN is missing. Raises TypeError or "
     "ValueError."},
    {"margins", forest_raw, METH_O,
     "margins(rows) -> list of float\n\nThe same before the objective's transform, `outputs` of them a row."},
    {"contributions", forest_explain, METH_O,
     "contributions(rows) -> bytes\n\nWhat each feature adds to each margin, as XGBoost's pred_contribs: float32 values of "
     "the shape (rows, outputs,\nfeatures + 1), the last of an output being its bias. Raises ForestError where "
     "`no_contributions` says why not."},
    {"predict_csv", forest_predict_csv, METH_O,
     "predict_csv(body) -> bytes or None\n\nScores of one row of comma separated numbers as text, joined by commas. None: "
     "the body is anything but\n`features` finite numbers, so that it needs a closer look."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "A flat forest in memory, checked completely. Any number of threads may use it."},
    {Py_tp_dealloc, forest_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec type_spec = {
    .name = "tierfleet_forest.Forest",
    .basicsize = sizeof(ForestObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = type_slots,
};

/* ---- Loading ---- */

static ForestObject *new_forest(const State *state)
{
    PyTypeObject *type = (PyTypeObject *)state->type;
    return (ForestObject *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
}

/* The object, or an exception instead of it. `name` is what the file is called in the message. */
static PyObject *finished(const State *state, ForestObject *object, int failed, const char *why, PyObject *name)
{
    if (!failed)
        return (PyObject *)object;
    const int error = errno;
    Py_DECREF((PyObject *)object);
    if (failed == FOREST_NO_MEMORY)
        return PyErr_NoMemory();
    if (failed == FOREST_ERRNO) {
        errno = error;
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, name);
    }
    return PyErr_Format(state->error, "%S is not a sound flat forest: %s; convert or fetch the model again", name, why);
}

static PyObject *load(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", "work_us", NULL};
    const State *state = PyModule_GetState(module);
    char why[FOREST_WHY_BYTES];
    PyObject *file, *path = NULL;
    int fd = -1, failed, work_us = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$i:load", names, &file, &work_us))
        return NULL;
    if (work_us < 0 || work_us >= 1000000)
        return PyErr_Format(PyExc_ValueError, "work_us is %d; it must be 0 to 999999", work_us);
    if (PyLong_Check(file)) {
        const long number = PyLong_AsLong(file);
        if (number < 0 || number > INT_MAX)
            return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "%ld is not a file descriptor", number);
        fd = (int)number;
    } else if (!PyUnicode_FSConverter(file, &path)) {
        return NULL;
    }
    ForestObject *object = new_forest(state);
    const char *name = path ? PyBytes_AsString(path) : NULL;
    if (!object || (path && !name)) {
        Py_XDECREF((PyObject *)object);
        Py_XDECREF(path);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    if (name) /* a pipe must not hold up the load; what it is, is looked at after it is open */
        fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    failed = fd < 0 ? FOREST_ERRNO : forest_read(&object->forest, fd, (uint32_t)work_us, why);
    if (name && fd >= 0) {
        const int error = errno;
        close(fd);
        errno = error;
    }
    Py_END_ALLOW_THREADS
    PyObject *called = path ? file : PyUnicode_FromString("the file");
    Py_XDECREF(path);
    if (!called) {
        Py_DECREF((PyObject *)object);
        return NULL;
    }
    PyObject *result = finished(state, object, failed, why, called);
    if (called != file)
        Py_DECREF(called);
    return result;
}

static PyObject *loads(PyObject *module, PyObject *data)
{
    const State *state = PyModule_GetState(module);
    char why[FOREST_WHY_BYTES];
    Py_buffer view;
    int failed;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE))
        return NULL;
    ForestObject *object = new_forest(state);
    PyObject *name = PyUnicode_FromString("the file");
    if (!object || !name) {
        Py_XDECREF((PyObject *)object);
        Py_XDECREF(name);
        PyBuffer_Release(&view);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    failed = forest_copy(&object->forest, view.buf, (size_t)view.len, why);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    PyObject *result = finished(state, object, failed, why, name);
    Py_DECREF(name);
    return result;
}

static PyObject *csv_rows(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *body;
    Py_ssize_t start, stop;
    unsigned int features;
    Py_buffer out;
    if (!PyArg_ParseTuple(arguments, "SnnIw*", &body, &start, &stop, &features, &out))
        return NULL;
    char *text;
    Py_ssize_t length;
    PyObject *result = NULL;
    if (PyBytes_AsStringAndSize(body, &text, &length))
        goto end;
    if (start < 0 || start > stop || stop > length || !features || (uintptr_t)out.buf % _Alignof(float)) {
        PyErr_SetString(PyExc_ValueError, "csv_rows needs 0 <= start <= stop <= len(body), features, and room for float32");
        goto end;
    }
    const size_t most = (size_t)out.len / sizeof(float) / features;
    size_t at = (size_t)start, rows;
    if ((size_t)(stop - start) <= RELEASE_TEXT_ABOVE) {
        rows = forest_csv_rows(text, &at, (size_t)stop, features, most, out.buf);
    } else {
        Py_BEGIN_ALLOW_THREADS
        rows = forest_csv_rows(text, &at, (size_t)stop, features, most, out.buf);
        Py_END_ALLOW_THREADS
    }
    result = Py_BuildValue("nn", (Py_ssize_t)rows, (Py_ssize_t)at);
end:
    PyBuffer_Release(&out);
    return result;
}

static PyObject *csv_text(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list, *result = NULL;
    Py_ssize_t outputs;
    if (!PyArg_ParseTuple(arguments, "On", &list, &outputs))
        return NULL;
    const Py_ssize_t count = PyList_Size(list);
    if (count < 0)
        return NULL;
    if (outputs < 1)
        return PyErr_Format(PyExc_ValueError, "a row has %zd numbers; it must have at least one", outputs);
    double *scores = malloc((size_t)count * sizeof *scores + 1);
    char *text = malloc((size_t)count * LONGEST_REPR + 1);
    if (!scores || !text) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *number = PyList_GetItem(list, i);
        scores[i] = number ? PyFloat_AsDouble(number) : -1;
        if (scores[i] == -1 && PyErr_Occurred())
            goto end;
    }
    const Py_ssize_t length = write_csv(scores, (size_t)count, (size_t)outputs, text);
    if (length >= 0)
        result = PyBytes_FromStringAndSize(text, length);
end:
    free(scores);
    free(text);
    return result;
}

static PyMethodDef functions[] = {
    {"csv_text", csv_text, METH_VARARGS,
     "csv_text(numbers, columns) -> bytes\n\nA list of float as repr() writes them, `columns` of them a line, joined by commas; "
     "lines joined by line feeds.\nOther threads run meanwhile. Raises TypeError or ValueError."},
    {"csv_rows", csv_rows, METH_VARARGS,
     "csv_rows(body, start, stop, features, out) -> (rows, next_start)\n\nRows of comma separated numbers from body[start] "
     "on, a line a row, written to the float32 buffer `out` until\nit is full or a line needs a closer look; the last line "
     "ends at body[stop]. Empty and `nan` are missing. Other\nthreads run meanwhile. `next_start` is where the next line "
     "begins, stop + 1 after the last. Raises ValueError."},
    {"load", (PyCFunction)(void (*)(void))load, METH_VARARGS | METH_KEYWORDS,
     "load(file, *, work_us=0) -> Forest\n\nThe forest in a regular file, read into memory and checked completely. `file`: a "
     "path, or the descriptor of an open\nfile, which is read from its place on. `work_us`, 0 to 999,999 microseconds: how "
     "long the load works at a time\nbefore it sleeps as long, so that other threads are not held up; 0 for no sleep. Raises "
     "ForestError for a file that is\ndamaged or of another format, OSError, MemoryError, TypeError, ValueError."},
    {"loads", loads, METH_O, "loads(data) -> Forest\n\nThe same from bytes, which are copied."},
    {NULL, NULL, 0, NULL},
};

static int start(PyObject *module)
{
    State *state = PyModule_GetState(module);
    forest_start();
    state->type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    state->error = PyErr_NewExceptionWithDoc("tierfleet_forest.ForestError",
                                             "A file that is no sound flat forest; the message says why.",
                                             PyExc_ValueError, NULL);
    if (!state->type || !state->error)
        return -1;
    return PyModule_AddObjectRef(module, "Forest", state->type) ||
                   PyModule_AddObjectRef(module, "ForestError", state->error)
               ? -1
               : 0;
}

static int visit_state(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->type);
    Py_VISIT(state->error);
    return 0;
}

static int clear_state(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->type);
    Py_CLEAR(state->error);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, start}, {0, NULL}};

static PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "tierfleet_forest._forest",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = visit_state,
    .m_clear = clear_state,
};

PyMODINIT_FUNC PyInit__forest(void)
{
    return PyModuleDef_Init(&definition);
}
