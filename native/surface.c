/* The hand's surface as points: `HandSurface` (wildhands_ros/fitting/surface.py), and the depth at pixels. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

#include "hand_math.h"
#include "native.h"

enum { BENT = FINGERS * LEVELS, PARTS = 1 + BENT, FEATURES = 9 * BENT };

/* Arrays of a surface with `points` points and `spheres` spheres, laid out as by `CompiledSurface`. */
typedef struct {
    int points, spheres, betas;
    const double *axes, *offsets, *offset_dirs, *template, *dirs, *normals, *weights, *joints, *joint_dirs, *bones;
} Surface;

/* A posed surface. */
typedef struct {
    double *points, *normals, *spheres, *rest, *transforms, *axes, *positions, *shape_dirs;
} Posed;

static int read_surface(const Py_buffer *model, int points, int spheres, int betas, Surface *surface) {
    const double *from = model->buf;
    if (points < 0 || spheres < 0 || betas < 0 || betas > MOST_BETAS) return 0;
    surface->points = points, surface->spheres = spheres, surface->betas = betas;
    surface->axes = from, from += 9 * BENT;
    surface->offsets = from, from += 3 * FINGERS * CHAIN;
    surface->offset_dirs = from, from += 3 * FINGERS * CHAIN * betas;
    surface->template = from, from += 3 * points;
    surface->dirs = from, from += 3 * points * betas;
    surface->normals = from, from += 3 * points;
    surface->weights = from, from += PARTS * points;
    surface->joints = from, from += 3 * PARTS;
    surface->joint_dirs = from, from += 3 * PARTS * betas;
    surface->bones = from, from += JOINTS * spheres;
    return model->len == (Py_ssize_t)sizeof(double) * (from - (const double *)model->buf);
}

static int split_posed(const Py_buffer *buffer, const Surface *surface, Posed *posed) {
    double *at = buffer->buf;
    posed->points = at, at += 3 * surface->points;
    posed->normals = at, at += 3 * surface->points;
    posed->spheres = at, at += 3 * surface->spheres;
    posed->rest = at, at += 3 * surface->points;
    posed->transforms = at, at += 12 * PARTS;
    posed->axes = at, at += 9 * BENT;
    posed->positions = at, at += 3 * FINGERS * CHAIN;
    posed->shape_dirs = at, at += 3 * FINGERS * CHAIN * surface->betas;
    return buffer->len == (Py_ssize_t)sizeof(double) * (at - (double *)buffer->buf);
}

/* Follows the fingers: frames, positions, axes and derivatives by the shape, and the features of pose blend shapes. */
static void follow(const Surface *surface, const double *pose, Posed *posed, double frames[PARTS][3][3],
                   float *features) {
    const double *position = pose + 9, *angles = pose + 12, *shape = pose + 12 + ANGLES;
    int betas = surface->betas;
    memcpy(frames[0], pose, sizeof frames[0]);
    for (int finger = 0; finger < FINGERS; finger++) {
        double frame[3][3], at[3], moved[3][MOST_BETAS] = {{0}};
        memcpy(frame, frames[0], sizeof frame);
        memcpy(at, position, sizeof at);
        for (int k = 0; k < CHAIN; k++) {
            int joint = CHAIN * finger + k;
            const double *dirs = surface->offset_dirs + 3 * joint * betas;
            double offset[3];
            for (int i = 0; i < 3; i++) {
                offset[i] = surface->offsets[3 * joint + i];
                for (int b = 0; b < betas; b++) offset[i] += dirs[i * betas + b] * shape[b];
            }
            for (int i = 0; i < 3; i++) {
                at[i] += dot(frame[i], offset);
                for (int b = 0; b < betas; b++)
                    moved[i][b] += frame[i][0] * dirs[b] + frame[i][1] * dirs[betas + b] + frame[i][2] * dirs[2 * betas + b];
                posed->positions[3 * joint + i] = at[i];
                memcpy(posed->shape_dirs + (3 * joint + i) * betas, moved[i], betas * sizeof(double));
            }
            if (k == LEVELS) continue;
            int row = LEVELS * finger + k;
            double axes[3][3], turn[3][3], bent[3][3], next[3][3], turned[3][3];
            memcpy(axes, surface->axes + 9 * row, sizeof axes);
            bend((const double(*)[3])axes, angles + 3 * row, turn, bent);
            multiply((const double(*)[3])frame, (const double(*)[3])bent, turned);
            memcpy(posed->axes + 9 * row, turned, sizeof turned);
            multiply((const double(*)[3])frame, (const double(*)[3])turn, next);
            memcpy(frame, next, sizeof frame);
            memcpy(frames[1 + row], next, sizeof next);
            for (int i = 0; i < 9; i++) features[9 * row + i] = (float)(turn[i / 3][i % 3] - (i % 4 == 0));
        }
    }
}

PyObject *pose_surface(PyObject *module, PyObject *arguments) {
    Py_buffer model, blends, pose, result;
    int points, spheres, betas;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*iiiw*:pose_surface", &model, &blends, &pose, &points, &spheres, &betas, &result))
        return NULL;
    Surface surface;
    Posed posed;
    int fits = read_surface(&model, points, spheres, betas, &surface) && split_posed(&result, &surface, &posed) &&
               pose.len == (Py_ssize_t)sizeof(double) * (12 + ANGLES + betas) &&
               (blends.len == 0 || blends.len == (Py_ssize_t)sizeof(float) * 3 * points * FEATURES);
    if (fits) {
        const double *numbers = pose.buf, *shape = numbers + 12 + ANGLES;
        double frames[PARTS][3][3];
        float features[FEATURES];
        follow(&surface, numbers, &posed, frames, features);
        for (int j = 0; j < PARTS; j++) {
            double joint[3], *transform = posed.transforms + 12 * j;
            const double *at = j ? posed.positions + 3 * (CHAIN * ((j - 1) / LEVELS) + (j - 1) % LEVELS) : numbers + 9;
            for (int i = 0; i < 3; i++) {
                joint[i] = surface.joints[3 * j + i];
                for (int b = 0; b < betas; b++) joint[i] += surface.joint_dirs[(3 * j + i) * betas + b] * shape[b];
            }
            for (int i = 0; i < 3; i++) {
                memcpy(transform + 4 * i, frames[j][i], 3 * sizeof(double));
                transform[4 * i + 3] = at[i] - dot(frames[j][i], joint);
            }
        }
        const float *blend = blends.buf;
        for (int p = 0; p < points; p++) {
            double *rest = posed.rest + 3 * p, *normal = posed.normals + 3 * p, blended[12] = {0};
            for (int i = 0; i < 3; i++) {
                int row = 3 * p + i;
                rest[i] = surface.template[row];
                for (int b = 0; b < betas; b++) rest[i] += surface.dirs[row * betas + b] * shape[b];
                if (blends.len) {
                    float sum = 0;
                    for (int f = 0; f < FEATURES; f++) sum += blend[row * FEATURES + f] * features[f];
                    rest[i] += sum;
                }
            }
            for (int j = 0; j < PARTS; j++) {
                double weight = surface.weights[PARTS * p + j];
                if (weight != 0)
                    for (int i = 0; i < 12; i++) blended[i] += weight * posed.transforms[12 * j + i];
            }
            for (int i = 0; i < 3; i++) {
                posed.points[3 * p + i] = dot(blended + 4 * i, rest) + blended[4 * i + 3];
                normal[i] = dot(blended + 4 * i, surface.normals + 3 * p);
            }
            double length = sqrt(dot(normal, normal));
            for (int i = 0; i < 3; i++) normal[i] /= length;
        }
        for (int s = 0; s < spheres; s++) {
            const double *bone = surface.bones + JOINTS * s;
            for (int i = 0; i < 3; i++) {
                double sum = bone[0] * numbers[9 + i];
                for (int j = 1; j < JOINTS; j++) sum += bone[j] * posed.positions[3 * (j - 1) + i];
                posed.spheres[3 * s + i] = sum;
            }
        }
    }
    PyBuffer_Release(&model);
    PyBuffer_Release(&blends);
    PyBuffer_Release(&pose);
    PyBuffer_Release(&result);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the surface do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Derivatives of one point along its normal by all unknowns: HandSurface.along_normals. */
static void surface_row(const Surface *surface, const Posed *posed, const double *position, const double *origins, int p,
                        double *row) {
    const double *normal = posed->normals + 3 * p, *rest = posed->rest + 3 * p, *weights = surface->weights + PARTS * p;
    int betas = surface->betas;
    double arm[3], at_rest[3] = {0}, *shapes = row + RIGID + ANGLES;
    for (int i = 0; i < 3; i++) arm[i] = posed->points[3 * p + i] - position[i];
    cross(arm, normal, row);
    memcpy(row + 3, normal, 3 * sizeof(double));
    memset(row + RIGID, 0, (ANGLES + betas) * sizeof(double));
    for (int finger = 0; finger < FINGERS; finger++) {
        double moved[3] = {0}, weight = 0;
        for (int k = LEVELS - 1; k >= 0; k--) {
            int part = LEVELS * finger + k;
            double own = weights[1 + part], lever[3];
            const double *transform = posed->transforms + 12 * (1 + part), *axes = posed->axes + 9 * part;
            const double *joint = posed->positions + 3 * (CHAIN * finger + k);
            weight += own;
            for (int i = 0; i < 3 && own != 0; i++) moved[i] += own * (dot(transform + 4 * i, rest) + transform[4 * i + 3]);
            if (weight == 0) continue;
            for (int i = 0; i < 3; i++) arm[i] = moved[i] - weight * joint[i];
            cross(arm, normal, lever);
            for (int a = 0; a < 3; a++)
                row[RIGID + 3 * part + a] = lever[0] * axes[a] + lever[1] * axes[3 + a] + lever[2] * axes[6 + a];
        }
    }
    for (int j = 0; j < PARTS; j++) {
        const double *transform = posed->transforms + 12 * j, *origin = origins + 3 * j * betas;
        if (weights[j] == 0) continue;
        for (int c = 0; c < 3; c++)
            at_rest[c] += weights[j] * (normal[0] * transform[c] + normal[1] * transform[4 + c] + normal[2] * transform[8 + c]);
        for (int i = 0; i < 3; i++)
            for (int b = 0; b < betas; b++) shapes[b] += weights[j] * normal[i] * origin[i * betas + b];
    }
    for (int c = 0; c < 3; c++)
        for (int b = 0; b < betas; b++) shapes[b] += at_rest[c] * surface->dirs[(3 * p + c) * betas + b];
}

PyObject *surface_rows(PyObject *module, PyObject *arguments) {
    Py_buffer model, posed_numbers, pose, chosen, rows;
    int points, spheres, betas;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*iiiw*:surface_rows", &model, &posed_numbers, &pose, &chosen, &points, &spheres,
                          &betas, &rows))
        return NULL;
    Surface surface;
    Posed posed;
    Py_ssize_t count = chosen.len / (Py_ssize_t)sizeof(long long);
    const long long *which = chosen.buf;
    int unknowns = RIGID + ANGLES + betas;
    int fits = read_surface(&model, points, spheres, betas, &surface) && split_posed(&posed_numbers, &surface, &posed) &&
               pose.len == (Py_ssize_t)sizeof(double) * (12 + ANGLES + betas) &&
               rows.len == count * unknowns * (Py_ssize_t)sizeof(double);
    for (Py_ssize_t i = 0; fits && i < count; i++) fits = which[i] >= 0 && which[i] < points;
    if (fits) {
        /* The origins about which the joints turn a point move with the shape. */
        double origins[PARTS * 3 * MOST_BETAS];
        for (int j = 0; j < PARTS; j++) {
            const double *dirs = surface.joint_dirs + 3 * j * betas;
            int joint = j ? CHAIN * ((j - 1) / LEVELS) + (j - 1) % LEVELS : 0;
            for (int i = 0; i < 3; i++) {
                const double *turn = posed.transforms + 12 * j + 4 * i;
                for (int b = 0; b < betas; b++)
                    origins[(3 * j + i) * betas + b] =
                        (j ? posed.shape_dirs[(3 * joint + i) * betas + b] : 0) -
                        (turn[0] * dirs[b] + turn[1] * dirs[betas + b] + turn[2] * dirs[2 * betas + b]);
            }
        }
        for (Py_ssize_t i = 0; i < count; i++)
            surface_row(&surface, &posed, (const double *)pose.buf + 9, origins, (int)which[i],
                        (double *)rows.buf + i * unknowns);
    }
    PyBuffer_Release(&model);
    PyBuffer_Release(&posed_numbers);
    PyBuffer_Release(&pose);
    PyBuffer_Release(&chosen);
    PyBuffer_Release(&rows);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the surface do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}
