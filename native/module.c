/* The module wildhands_ros._native: what NumPy is too slow for. Everything in it has an equal in NumPy. */
#define PY_SSIZE_T_CLEAN
#include "native.h"

static PyMethodDef methods[] = {
    {"solve_hand", solve_hand, METH_VARARGS, NULL},
    {"pose_surface", pose_surface, METH_VARARGS, NULL},
    {"surface_rows", surface_rows, METH_VARARGS, NULL},
    {"summarise_hand", summarise_hand, METH_VARARGS, NULL},
    {"has_half_linear", has_half_linear, METH_NOARGS, NULL},
    {"half_linear", half_linear, METH_VARARGS, NULL},
    {"cut_crops", cut_crops, METH_VARARGS, NULL},
    {"ray_distances", ray_distances, METH_VARARGS, NULL},
    {"matrices_from_vectors", matrices_from_vectors, METH_VARARGS, NULL},
    {"vectors_from_matrices", vectors_from_matrices, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, methods, NULL, NULL, NULL, NULL};

/* Version of the arrays that the functions take: wildhands_ros/geometry/compiled.py. */
enum { VERSION = 8 };

PyMODINIT_FUNC PyInit__native(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "VERSION", VERSION) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
