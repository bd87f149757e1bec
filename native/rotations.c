/* Conversions of rotations: wildhands_ros/geometry/so3.py. For a single one, NumPy takes thirty times as long. */
#define PY_SSIZE_T_CLEAN
#include "native.h"

#include "hand_math.h"

/* Reads two arrays of double, `in` and `out` numbers a rotation, and returns how many rotations they hold; -1 with an
 * error if they do not fit. */
static Py_ssize_t rotations(PyObject *arguments, int in, int out, Py_buffer *from, Py_buffer *to) {
    if (!PyArg_ParseTuple(arguments, "y*w*", from, to)) return -1;
    Py_ssize_t count = from->len / (Py_ssize_t)(in * sizeof(double));
    if (from->len == count * in * (Py_ssize_t)sizeof(double) && to->len == count * out * (Py_ssize_t)sizeof(double))
        return count;
    PyBuffer_Release(from);
    PyBuffer_Release(to);
    PyErr_SetString(PyExc_ValueError, "the arrays of rotations do not have the expected sizes");
    return -1;
}

PyObject *matrices_from_vectors(PyObject *module, PyObject *arguments) {
    Py_buffer from, to;
    Py_ssize_t count = rotations(arguments, 3, 9, &from, &to);
    (void)module;
    if (count < 0) return NULL;
    const double(*vectors)[3] = from.buf;
    double(*matrices)[3][3] = to.buf;
    for (Py_ssize_t i = 0; i < count; i++) rotation_matrix(vectors[i], matrices[i]);
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    Py_RETURN_NONE;
}

PyObject *vectors_from_matrices(PyObject *module, PyObject *arguments) {
    Py_buffer from, to;
    Py_ssize_t count = rotations(arguments, 9, 3, &from, &to);
    (void)module;
    if (count < 0) return NULL;
    const double(*matrices)[3][3] = from.buf;
    double(*vectors)[3] = to.buf;
    for (Py_ssize_t i = 0; i < count; i++) rotation_vector(matrices[i], vectors[i]);
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    Py_RETURN_NONE;
}
