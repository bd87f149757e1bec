/* What the fits need of a hand's kinematics; names and order of the unknowns are those of kinematics.py. */
#ifndef WILDHANDS_HAND_MATH_H
#define WILDHANDS_HAND_MATH_H

#include <math.h>

enum { FINGERS = 5, LEVELS = 3, CHAIN = 4, JOINTS = 21, ANGLES = 45, RIGID = 6, MOST_BETAS = 16 };

static inline double dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

static inline void cross(const double *a, const double *b, double *result) {
    result[0] = a[1] * b[2] - a[2] * b[1];
    result[1] = a[2] * b[0] - a[0] * b[2];
    result[2] = a[0] * b[1] - a[1] * b[0];
}

static inline void multiply(const double a[3][3], const double b[3][3], double result[3][3]) {
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) result[i][j] = a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j];
}

/* Rotation by the length of a vector about its direction: geometry.so3.matrices_from_vectors. */
static inline void rotation_matrix(const double vector[3], double m[3][3]) {
    double half = sqrt(dot(vector, vector)) / 2, w = cos(half), factor = half > 0 ? sin(half) / (2 * half) : 0.5;
    double x = factor * vector[0], y = factor * vector[1], z = factor * vector[2];
    m[0][0] = w * w + x * x - y * y - z * z, m[0][1] = 2 * (x * y - w * z), m[0][2] = 2 * (x * z + w * y);
    m[1][0] = 2 * (x * y + w * z), m[1][1] = w * w - x * x + y * y - z * z, m[1][2] = 2 * (y * z - w * x);
    m[2][0] = 2 * (x * z - w * y), m[2][1] = 2 * (y * z + w * x), m[2][2] = w * w - x * x - y * y + z * z;
}

/* Rotation vector of at most half a turn: geometry.so3.vectors_from_matrices. */
static inline void rotation_vector(const double m[3][3], double vector[3]) {
    double trace = m[0][0] + m[1][1] + m[2][2], products[4][4];
    int best = 3;
    for (int i = 0; i < 3; i++) {
        int next = (i + 1) % 3, last = (i + 2) % 3;
        for (int j = 0; j < 3; j++) products[i][j] = m[i][j] + m[j][i];
        products[i][i] += 1 - trace;
        products[i][3] = products[3][i] = m[last][next] - m[next][last];
    }
    products[3][3] = 1 + trace;
    for (int i = 0; i < 3; i++)
        if (products[i][i] > products[best][best]) best = i;
    const double *row = products[best];
    double sine = sqrt(dot(row, row)), factor = sine > 0 ? 2 * atan2(sine, fabs(row[3])) / sine : 0;
    for (int i = 0; i < 3; i++) vector[i] = (row[3] < 0 ? -factor : factor) * row[i];
}

/* Rotation of a joint in the rest frame, and the axes of its angles as columns: HandKinematics._local_rotations. */
static inline void bend(const double axes[3][3], const double *angles, double turn[3][3], double bent_axes[3][3]) {
    double sf = sin(angles[0]), cf = cos(angles[0]), sa = sin(angles[1]), ca = cos(angles[1]);
    double st = sin(angles[2]), ct = cos(angles[2]);
    double turned[3][3], inverse[3][3];
    for (int i = 0; i < 3; i++) {
        double x = axes[i][0], y = axes[i][1], z = axes[i][2];
        double flexed_x = cf * x - sf * z, flexed_z = sf * x + cf * z;
        double abducted_x = ca * flexed_x + sa * y, abducted_y = ca * y - sa * flexed_x;
        turned[i][0] = abducted_x;
        turned[i][1] = ct * abducted_y + st * flexed_z;
        turned[i][2] = ct * flexed_z - st * abducted_y;
        bent_axes[i][0] = y, bent_axes[i][1] = flexed_z, bent_axes[i][2] = abducted_x;
        for (int j = 0; j < 3; j++) inverse[j][i] = axes[i][j];
    }
    multiply(turned, inverse, turn);
}

#endif
