/* Distances from the camera to a mesh along rays: `Surface.distances` (wildhands_ros/geometry/visibility.py). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "native.h"

enum { MOST_RAYS = 64 };

static void cross(const float *a, const float *b, float *result) {
    result[0] = a[1] * b[2] - a[2] * b[1];
    result[1] = a[2] * b[0] - a[0] * b[2];
    result[2] = a[0] * b[1] - a[1] * b[0];
}

/* Lowers the distances at which rays hit a triangle. `rays` holds all x, then all y, then all z. */
FOR_AVX2 static void intersect(const float *a, const float *b, const float *c, const float rays[3][MOST_RAYS], int count,
                      float *distances) {
    float sides[3][MOST_RAYS], normals[3][3]; /* of the planes through the camera and each edge */
    cross(b, c, normals[0]);
    cross(c, a, normals[1]);
    cross(a, b, normals[2]);
    float volume = a[0] * normals[0][0] + a[1] * normals[0][1] + a[2] * normals[0][2];
    if (volume == 0) return;
    int hits = 0;
    for (int i = 0; i < count; i++) {
        for (int side = 0; side < 3; side++)
            sides[side][i] =
                normals[side][0] * rays[0][i] + normals[side][1] * rays[1][i] + normals[side][2] * rays[2][i];
        float least = sides[0][i] < sides[1][i] ? sides[0][i] : sides[1][i];
        float greatest = sides[0][i] > sides[1][i] ? sides[0][i] : sides[1][i];
        least = least < sides[2][i] ? least : sides[2][i];
        greatest = greatest > sides[2][i] ? greatest : sides[2][i];
        hits |= (least >= 0) | (greatest <= 0);
    }
    if (!hits) return; /* most triangles: until here there are no branches */
    for (int i = 0; i < count; i++) {
        float first = sides[0][i], second = sides[1][i], third = sides[2][i];
        if ((first >= 0 && second >= 0 && third >= 0) || (first <= 0 && second <= 0 && third <= 0)) {
            float distance = volume / (first + second + third);
            if (distance > 0 && distance < distances[i]) distances[i] = distance;
        }
    }
}

/* Least and greatest x / z and y / z of all rays. */
typedef struct {
    float low[2], high[2];
} Bounds;

/* Whether a triangle lies on one side of all rays: true for most triangles of another hand. */
static int passes(const float *a, const float *b, const float *c, const Bounds *bounds) {
    if (a[2] <= 0 || b[2] <= 0 || c[2] <= 0) return 0;
    for (int axis = 0; axis < 2; axis++) {
        float low = bounds->low[axis], high = bounds->high[axis];
        if (a[axis] < low * a[2] && b[axis] < low * b[2] && c[axis] < low * c[2]) return 1;
        if (a[axis] > high * a[2] && b[axis] > high * b[2] && c[axis] > high * c[2]) return 1;
    }
    return 0;
}

PyObject *ray_distances(PyObject *module, PyObject *arguments) {
    Py_buffer vertices, faces, rays, distances;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*:ray_distances", &vertices, &faces, &rays, &distances)) return NULL;
    Py_ssize_t count = distances.len / (Py_ssize_t)sizeof(float), corners = faces.len / (Py_ssize_t)sizeof(int);
    Py_ssize_t points = vertices.len / (Py_ssize_t)(3 * sizeof(float));
    const float *from = vertices.buf, *directions = rays.buf;
    const int *face = faces.buf;
    int fits = count <= MOST_RAYS && rays.len == 3 * distances.len && corners % 3 == 0;
    for (Py_ssize_t i = 0; fits && i < corners; i++) fits = face[i] >= 0 && face[i] < points;
    if (fits) {
        float by_axis[3][MOST_RAYS];
        Bounds bounds = {{Py_HUGE_VAL, Py_HUGE_VAL}, {-Py_HUGE_VAL, -Py_HUGE_VAL}};
        for (Py_ssize_t i = 0; i < count; i++) {
            float z = directions[3 * i + 2];
            for (int axis = 0; axis < 3; axis++) by_axis[axis][i] = directions[3 * i + axis];
            for (int axis = 0; axis < 2; axis++) {
                float place = directions[3 * i + axis] / z;
                /* A ray that does not point forwards has no place: then no triangle is left out. */
                float low = z > 0 ? place : -Py_HUGE_VAL, high = z > 0 ? place : Py_HUGE_VAL;
                bounds.low[axis] = low < bounds.low[axis] ? low : bounds.low[axis];
                bounds.high[axis] = high > bounds.high[axis] ? high : bounds.high[axis];
            }
        }
        for (Py_ssize_t i = 0; i < count; i++) ((float *)distances.buf)[i] = Py_HUGE_VAL;
        for (Py_ssize_t i = 0; i < corners; i += 3) {
            const float *a = from + 3 * face[i], *b = from + 3 * face[i + 1], *c = from + 3 * face[i + 2];
            if (!passes(a, b, c, &bounds)) intersect(a, b, c, by_axis, (int)count, distances.buf);
        }
    }
    PyBuffer_Release(&vertices);
    PyBuffer_Release(&faces);
    PyBuffer_Release(&rays);
    PyBuffer_Release(&distances);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays do not have the expected sizes, or a face has no such vertex");
        return NULL;
    }
    Py_RETURN_NONE;
}
