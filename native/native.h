/* Functions of the module wildhands_ros._native; see _native.pyi. */
#include <Python.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
/* Compiles a function twice; which one runs is chosen when the module is loaded. */
#define FOR_AVX2 __attribute__((target_clones("avx2", "default")))
#else
#define FOR_AVX2
#endif

PyObject *solve_hand(PyObject *module, PyObject *arguments);
PyObject *pose_surface(PyObject *module, PyObject *arguments);
PyObject *surface_rows(PyObject *module, PyObject *arguments);
PyObject *summarise_hand(PyObject *module, PyObject *arguments);
PyObject *has_half_linear(PyObject *module, PyObject *nothing);
PyObject *half_linear(PyObject *module, PyObject *arguments);
PyObject *cut_crops(PyObject *module, PyObject *arguments);
PyObject *ray_distances(PyObject *module, PyObject *arguments);
PyObject *matrices_from_vectors(PyObject *module, PyObject *arguments);
PyObject *vectors_from_matrices(PyObject *module, PyObject *arguments);
