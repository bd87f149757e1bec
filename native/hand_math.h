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
