/* The solver of the keypoint fit: Levenberg-Marquardt on one hand, as one or several cameras see it.
 *
 * This is `NumPySolver` (wildhands_ros/fitting/solver.py) with the terms of residuals.py and multiview_residuals.py and
 * the derivatives of kinematics.py, and `NumPySummariser` (summary.py), for speed: NumPy takes 20 times as long on such
 * small arrays. test/test_fit.py and test/test_multiview_fit.py compare the two. Names and order of the unknowns are
 * those of kinematics.py.
 *
 * A keypoint between two joints needs both in one finger, or one of them to be the wrist.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hand_math.h"
#include "native.h"

enum { BONES = 20 };
enum { MOST_UNKNOWNS = RIGID + ANGLES + MOST_BETAS, LOCAL = RIGID + 9, MOST_LOCAL = LOCAL + MOST_BETAS, MOST_ANCHORS = 2 };
enum { MOST_VIEWS = 16 };

#define LEAST_SLOPE 1e-9 /* metres per unit of the shape; it keeps the division finite for a model of one shape */

/* Residuals of a finger: two for each joint's keypoint in each view, three for each bone's direction. */
enum { MOST_ROWS = CHAIN * (2 * MOST_VIEWS + 3) };

typedef struct {
    double huber, direction_stddev, limit_stddev, min_depth, converged;
    double mean[ANGLES], low[ANGLES], high[ANGLES], precision[ANGLES];
    double axes[FINGERS * LEVELS][3][3];
    double offsets[FINGERS][CHAIN][3];
    double reach[3];
} Model;
/* Followed by offset_dirs[FINGERS][CHAIN][3][betas] and reach_dirs[3][betas]. */

typedef struct {
    double rotation[3][3], position[3], angles[ANGLES], betas[MOST_BETAS];
} Pose;

typedef struct {
    double has_directions, anchors, lasting_anchors, views, length, length_stddev;
    double mean_ray[3];
    double directions[BONES][3];
    double toward[JOINTS], share[JOINTS]; /* a keypoint lies on the line from its joint to another joint, at this share */
} Evidence;
/* Followed by the views. */

typedef struct {
    double sigma, origin[3];
    double rays[JOINTS][3];
    double weights[JOINTS];
} View;

typedef struct {
    double rotation, lateral, depth, angles, betas; /* standard deviations */
    Pose pose;
} Anchor;

typedef struct {
    double cost, gradient[MOST_UNKNOWNS], matrix[MOST_UNKNOWNS][MOST_UNKNOWNS]; /* of the matrix the lower triangle */
} Normal;

typedef struct {
    double joints[JOINTS][3];
    double turns[JOINTS][3][3];                   /* derivatives by the wrist's rotation */
    double bends[JOINTS][3][9];                   /* by the angles of the joint's own finger */
    double shapes[JOINTS][3][MOST_BETAS];
    Pose pose;
    Normal normal; /* without the anchors that do not last */
    Normal whole;
} Evaluated;

typedef struct {
    const Model *model;
    const double *offset_dirs, *reach_dirs;
    int betas, unknowns;
    Evidence evidence;
    const View *views;
    double bases[MOST_VIEWS][JOINTS][2][3]; /* two unit vectors perpendicular to each ray */
    Anchor anchors[MOST_ANCHORS];
} Problem;

/* Joints with their derivatives: HandKinematics.joints_with_jacobian. */
static void follow_chains(const Problem *problem, Evaluated *at) {
    const Model *model = problem->model;
    const Pose *pose = &at->pose;
    int betas = problem->betas;
    memset(at->turns[0], 0, sizeof at->turns[0]);
    memset(at->bends, 0, sizeof at->bends);
    memset(at->shapes[0], 0, sizeof at->shapes[0]);
    memcpy(at->joints[0], pose->position, sizeof at->joints[0]);
    for (int finger = 0; finger < FINGERS; finger++) {
        double frame[3][3], axes[LEVELS][3][3], position[3], shape[3][MOST_BETAS] = {{0}};
        memcpy(frame, pose->rotation, sizeof frame);
        memcpy(position, pose->position, sizeof position);
        for (int k = 0; k < CHAIN; k++) {
            int joint = 1 + CHAIN * finger + k;
            const double *dirs = problem->offset_dirs + (CHAIN * finger + k) * 3 * betas;
            double offset[3];
            for (int i = 0; i < 3; i++) {
                offset[i] = model->offsets[finger][k][i];
                for (int b = 0; b < betas; b++) offset[i] += dirs[i * betas + b] * pose->betas[b];
            }
            for (int i = 0; i < 3; i++) {
                position[i] += dot(frame[i], offset);
                for (int b = 0; b < betas; b++)
                    shape[i][b] += frame[i][0] * dirs[b] + frame[i][1] * dirs[betas + b] + frame[i][2] * dirs[2 * betas + b];
            }
            memcpy(at->joints[joint], position, sizeof position);
            memcpy(at->shapes[joint], shape, sizeof shape);
            double arm[3];
            for (int i = 0; i < 3; i++) arm[i] = position[i] - pose->position[i];
            double turns[3][3] = {{0, arm[2], -arm[1]}, {-arm[2], 0, arm[0]}, {arm[1], -arm[0], 0}};
            memcpy(at->turns[joint], turns, sizeof turns);
            for (int level = 0; level < k; level++) {
                for (int i = 0; i < 3; i++) arm[i] = position[i] - at->joints[1 + CHAIN * finger + level][i];
                for (int a = 0; a < 3; a++) {
                    double axis[3] = {axes[level][0][a], axes[level][1][a], axes[level][2][a]}, move[3];
                    cross(axis, arm, move);
                    for (int i = 0; i < 3; i++) at->bends[joint][i][3 * level + a] = move[i];
                }
            }
            if (k < LEVELS) {
                double turn[3][3], bent_axes[3][3], next[3][3];
                int row = LEVELS * finger + k;
                bend(model->axes[row], pose->angles + 3 * row, turn, bent_axes);
                multiply(frame, bent_axes, axes[k]);
                multiply(frame, turn, next);
                memcpy(frame, next, sizeof frame);
            }
        }
    }
}

/* Derivative of a joint's position by the local unknowns, three rows: rigid, own finger's angles, shape. */
static void local_jacobian(const Evaluated *at, int joint, int betas, double rows[3][MOST_LOCAL]) {
    for (int i = 0; i < 3; i++) {
        memcpy(rows[i], at->turns[joint][i], 3 * sizeof(double));
        for (int j = 0; j < 3; j++) rows[i][3 + j] = i == j;
        memcpy(rows[i] + RIGID, at->bends[joint][i], 9 * sizeof(double));
        memcpy(rows[i] + LOCAL, at->shapes[joint][i], betas * sizeof(double));
    }
}

/* Huber's loss: returns the cost, and the factor by which the rows become a least-squares problem. */
static double robust(double squared, double huber, double *scale) {
    double length = sqrt(squared), capped = length < huber ? length : huber;
    *scale = length > huber ? sqrt(huber / length) : 1;
    return capped * (2 * length - capped);
}

/* Adds the rows of a keypoint's residuals in all views: residuals.reprojection. Returns the number of rows. */
static int add_keypoint(const Problem *problem, const Evaluated *at, int joint, const double jacobian[3][MOST_LOCAL],
                        double rows[][MOST_LOCAL], double *values, double *cost) {
    const Evidence *evidence = &problem->evidence;
    int columns = LOCAL + problem->betas, count = 0, toward = (int)evidence->toward[joint];
    double share = evidence->share[joint], keypoint[3], moved[3][MOST_LOCAL];
    for (int i = 0; i < 3; i++) keypoint[i] = at->joints[joint][i];
    if (share != 0) {
        local_jacobian(at, toward, problem->betas, moved);
        for (int i = 0; i < 3; i++) {
            keypoint[i] += share * (at->joints[toward][i] - keypoint[i]);
            for (int c = 0; c < columns; c++) moved[i][c] = jacobian[i][c] + share * (moved[i][c] - jacobian[i][c]);
        }
        jacobian = (const double(*)[MOST_LOCAL])moved;
    }
    for (int v = 0; v < (int)evidence->views; v++) {
        const View *view = &problem->views[v];
        if (view->weights[joint] == 0) continue;
        const double *ray = view->rays[joint];
        double point[3] = {keypoint[0] - view->origin[0], keypoint[1] - view->origin[1], keypoint[2] - view->origin[2]};
        double depth = fmax(dot(ray, point), problem->model->min_depth);
        double whitening = sqrt(view->weights[joint]) / view->sigma, across[2], scale;
        for (int r = 0; r < 2; r++) {
            across[r] = dot(problem->bases[v][joint][r], point) / depth;
            values[count + r] = across[r] * whitening;
        }
        double squared = values[count] * values[count] + values[count + 1] * values[count + 1];
        *cost += robust(squared, problem->model->huber, &scale);
        for (int r = 0; r < 2; r++, count++) {
            double direction[3];
            for (int i = 0; i < 3; i++)
                direction[i] = (problem->bases[v][joint][r][i] - across[r] * ray[i]) * (whitening / depth) * scale;
            for (int c = 0; c < columns; c++)
                rows[count][c] =
                    direction[0] * jacobian[0][c] + direction[1] * jacobian[1][c] + direction[2] * jacobian[2][c];
            values[count] *= scale;
        }
    }
    return count;
}

/* Adds the rows of a bone's direction: residuals.bone_directions. */
static int add_bone(const Problem *problem, const Evaluated *at, int joint, const double jacobian[3][MOST_LOCAL],
                    const double parent[3][MOST_LOCAL], double rows[][MOST_LOCAL], double *values, double *cost) {
    int from = joint % CHAIN == 1 ? 0 : joint - 1, columns = LOCAL + problem->betas;
    const double stddev = problem->model->direction_stddev, *direction = problem->evidence.directions[joint - 1];
    double bone[3], unit[3], scale;
    for (int i = 0; i < 3; i++) bone[i] = at->joints[joint][i] - at->joints[from][i];
    double length = sqrt(dot(bone, bone));
    for (int i = 0; i < 3; i++) {
        unit[i] = bone[i] / length;
        values[i] = (unit[i] - direction[i]) / stddev;
    }
    *cost += robust(dot(values, values), problem->model->huber, &scale);
    double factor = scale / (length * stddev);
    for (int c = 0; c < columns; c++) {
        double move[3], along = 0;
        for (int i = 0; i < 3; i++) {
            move[i] = jacobian[i][c] - parent[i][c];
            along += unit[i] * move[i];
        }
        for (int i = 0; i < 3; i++) rows[i][c] = factor * (move[i] - unit[i] * along);
    }
    for (int i = 0; i < 3; i++) values[i] *= scale;
    return 3;
}

/* Sums the rows, of which only local unknowns are not zero, in the normal equations. */
static void add_rows(const Problem *problem, Normal *normal, int finger, const double rows[][MOST_LOCAL],
                     const double *values, int count) {
    int columns = LOCAL + problem->betas, place[MOST_LOCAL];
    for (int c = 0; c < columns; c++)
        place[c] = c < RIGID ? c : c < LOCAL ? c + 9 * finger : c - LOCAL + RIGID + ANGLES;
    for (int c = 0; c < columns; c++) {
        double sums[MOST_LOCAL] = {0}, gradient = 0;
        for (int r = 0; r < count; r++) {
            double value = rows[r][c];
            gradient += value * values[r];
            for (int d = 0; d <= c; d++) sums[d] += value * rows[r][d];
        }
        normal->gradient[place[c]] += gradient;
        for (int d = 0; d <= c; d++) normal->matrix[place[c]][place[d]] += sums[d];
    }
}

/* Ranges of motion, shape and length: the end of residuals.evaluate. */
static void add_priors(const Problem *problem, const Pose *pose, Normal *normal) {
    const Model *model = problem->model;
    const Evidence *evidence = &problem->evidence;
    double stiffness = 1 / (model->limit_stddev * model->limit_stddev), cost = 0;
    for (int i = 0; i < ANGLES; i++) {
        double angle = pose->angles[i], unusual = angle - model->mean[i];
        double beyond = angle - fmin(fmax(angle, model->low[i]), model->high[i]);
        cost += unusual * unusual * model->precision[i] + beyond * beyond * stiffness;
        normal->gradient[RIGID + i] += unusual * model->precision[i] + beyond * stiffness;
        normal->matrix[RIGID + i][RIGID + i] += model->precision[i] + (beyond != 0 ? stiffness : 0);
    }
    int betas = problem->betas, first = RIGID + ANGLES;
    double reach[3], gradient[MOST_BETAS] = {0};
    for (int i = 0; i < 3; i++) {
        reach[i] = model->reach[i];
        for (int b = 0; b < betas; b++) reach[i] += problem->reach_dirs[i * betas + b] * pose->betas[b];
    }
    double length = sqrt(dot(reach, reach)), residual = (length - evidence->length) / evidence->length_stddev;
    double slope = 0, along = 0; /* of the length, and the shape in its direction, which has no prior but the length's */
    for (int b = 0; b < betas; b++) {
        for (int i = 0; i < 3; i++) gradient[b] += reach[i] * problem->reach_dirs[i * betas + b] / length;
        slope += gradient[b] * gradient[b];
        along += gradient[b] * pose->betas[b];
    }
    slope = fmax(sqrt(slope), LEAST_SLOPE);
    along /= slope;
    double pull = slope / evidence->length_stddev;
    for (int b = 0; b < betas; b++) {
        double longer = gradient[b] / slope;
        cost += pose->betas[b] * pose->betas[b];
        normal->gradient[first + b] += pose->betas[b] + longer * (pull * residual - along);
        normal->matrix[first + b][first + b] += 1;
        for (int c = 0; c <= b; c++)
            normal->matrix[first + b][first + c] += (pull * pull - 1) * longer * gradient[c] / slope;
    }
    normal->cost += cost - along * along + residual * residual;
}

/* Rotation vector from one rotation to another: kinematics.turn_between. */
static void turn_between(const double from[3][3], const double to[3][3], double turn[3]) {
    double r[3][3];
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) r[i][j] = dot(to[i], from[j]);
    double axis[3] = {(r[2][1] - r[1][2]) / 2, (r[0][2] - r[2][0]) / 2, (r[1][0] - r[0][1]) / 2};
    double sine = sqrt(dot(axis, axis)), cosine = (r[0][0] + r[1][1] + r[2][2] - 1) / 2;
    double factor = atan2(sine, cosine) / fmax(sine, 1e-9) + (sine <= 1e-9);
    for (int i = 0; i < 3; i++) turn[i] = axis[i] * factor;
}

/* Residuals relative to an anchor: residuals.add_anchor. */
static void add_anchor(const Problem *problem, const Pose *pose, const Anchor *anchor, Normal *normal) {
    const double *ray = problem->evidence.mean_ray;
    double offset[MOST_UNKNOWNS], along = 0;
    double rotation = 1 / (anchor->rotation * anchor->rotation), lateral = 1 / (anchor->lateral * anchor->lateral);
    double depth = 1 / (anchor->depth * anchor->depth), angles = 1 / (anchor->angles * anchor->angles);
    double shape = 1 / (anchor->betas * anchor->betas);
    turn_between(anchor->pose.rotation, pose->rotation, offset);
    for (int i = 0; i < 3; i++) offset[3 + i] = pose->position[i] - anchor->pose.position[i];
    for (int i = 0; i < ANGLES; i++) offset[RIGID + i] = pose->angles[i] - anchor->pose.angles[i];
    for (int b = 0; b < problem->betas; b++) offset[RIGID + ANGLES + b] = pose->betas[b] - anchor->pose.betas[b];
    for (int i = 0; i < 3; i++) along += ray[i] * offset[3 + i];
    for (int i = 0; i < problem->unknowns; i++) {
        double precision = i < 3 ? rotation : i < RIGID ? lateral : i < RIGID + ANGLES ? angles : shape;
        double gradient = precision * offset[i];
        normal->matrix[i][i] += precision;
        if (i >= 3 && i < RIGID) {
            gradient += (depth - lateral) * along * ray[i - 3];
            for (int j = 3; j <= i; j++) normal->matrix[i][j] += (depth - lateral) * ray[i - 3] * ray[j - 3];
        }
        normal->gradient[i] += gradient;
        normal->cost += offset[i] * gradient;
    }
}

/* Sets everything that follows from `at->pose`. */
static void evaluate(const Problem *problem, Evaluated *at) {
    Normal *normal = &at->normal;
    double root[3][MOST_LOCAL], jacobians[2][3][MOST_LOCAL], rows[MOST_ROWS][MOST_LOCAL], values[MOST_ROWS];
    memset(normal, 0, sizeof *normal);
    follow_chains(problem, at);
    local_jacobian(at, 0, problem->betas, root);
    int count = add_keypoint(problem, at, 0, root, rows, values, &normal->cost);
    add_rows(problem, normal, 0, rows, values, count);
    for (int finger = 0; finger < FINGERS; finger++) {
        const double(*parent)[MOST_LOCAL] = root;
        count = 0;
        for (int k = 0; k < CHAIN; k++) {
            int joint = 1 + CHAIN * finger + k;
            double(*own)[MOST_LOCAL] = jacobians[k % 2];
            local_jacobian(at, joint, problem->betas, own);
            count += add_keypoint(problem, at, joint, own, rows + count, values + count, &normal->cost);
            if (problem->evidence.has_directions)
                count += add_bone(problem, at, joint, own, parent, rows + count, values + count, &normal->cost);
            parent = own;
        }
        add_rows(problem, normal, finger, rows, values, count);
    }
    add_priors(problem, &at->pose, normal);
    int lasting = (int)problem->evidence.lasting_anchors, anchors = (int)problem->evidence.anchors;
    for (int i = 0; i < lasting; i++) add_anchor(problem, &at->pose, &problem->anchors[i], normal);
    memcpy(&at->whole, normal, sizeof *normal);
    for (int i = lasting; i < anchors; i++) add_anchor(problem, &at->pose, &problem->anchors[i], &at->whole);
}

/* Cholesky's factor of the damped normal equations; returns whether they are positive definite. */
static int factorise(const Normal *normal, double damping, int unknowns, double factor[][MOST_UNKNOWNS]) {
    for (int i = 0; i < unknowns; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = normal->matrix[i][j];
            if (i == j) sum *= 1 + damping;
            for (int k = 0; k < j; k++) sum -= factor[i][k] * factor[j][k];
            if (i > j) {
                factor[i][j] = sum / factor[j][j];
            } else {
                if (!(sum > 0)) return 0;
                factor[i][i] = sqrt(sum);
            }
        }
    }
    return 1;
}

/* Solves the damped normal equations for the step; returns whether they are positive definite. */
static int solve(const Normal *normal, double damping, int unknowns, double *step) {
    double factor[MOST_UNKNOWNS][MOST_UNKNOWNS];
    if (!factorise(normal, damping, unknowns, factor)) return 0;
    for (int i = 0; i < unknowns; i++) {
        double sum = -normal->gradient[i];
        for (int k = 0; k < i; k++) sum -= factor[i][k] * step[k];
        step[i] = sum / factor[i][i];
    }
    for (int i = unknowns - 1; i >= 0; i--) {
        step[i] /= factor[i][i];
        for (int k = 0; k < i; k++) step[k] -= factor[i][k] * step[i];
    }
    return 1;
}

/* The pose after a step of the unknowns: HandPose.moved. */
static void move(const Pose *pose, const double *step, int betas, Pose *moved) {
    double angle = sqrt(dot(step, step)), half = angle / 2;
    double factor = angle > 1e-3 ? sin(half) / angle : 0.5 - angle * angle / 48 + angle * angle * angle * angle / 3840;
    double x = factor * step[0], y = factor * step[1], z = factor * step[2], w = cos(half);
    double turn[3][3] = {{1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)},
                         {2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)},
                         {2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)}};
    multiply(turn, pose->rotation, moved->rotation);
    for (int i = 0; i < 3; i++) moved->position[i] = pose->position[i] + step[3 + i];
    for (int i = 0; i < ANGLES; i++) moved->angles[i] = pose->angles[i] + step[RIGID + i];
    for (int b = 0; b < betas; b++) moved->betas[b] = pose->betas[b] + step[RIGID + ANGLES + b];
}

/* Levenberg-Marquardt from best->pose. Returns `best` or `trial`, whichever holds the result. */
static Evaluated *minimise(const Problem *problem, int iterations, Evaluated *best, Evaluated *trial) {
    double damping = 1e-3, step[MOST_UNKNOWNS];
    evaluate(problem, best);
    for (int i = 0; i < iterations; i++) {
        int better = solve(&best->whole, damping, problem->unknowns, step);
        double before = best->whole.cost;
        if (better) {
            move(&best->pose, step, problem->betas, &trial->pose);
            evaluate(problem, trial);
            better = trial->whole.cost < before;
        }
        if (better) {
            Evaluated *swapped = best;
            best = trial;
            trial = swapped;
            if (before - best->whole.cost < problem->model->converged * before) break;
        } else if (damping > 1e3) {
            break;
        }
        damping = better ? damping / 5 : damping * 10;
    }
    return best;
}

static const double *read_pose(const double *from, int betas, Pose *pose) {
    memcpy(pose, from, (12 + ANGLES) * sizeof(double));
    memcpy(pose->betas, from + 12 + ANGLES, betas * sizeof(double));
    return from + 12 + ANGLES + betas;
}

static void write_solution(const Evaluated *found, int betas, int unknowns, double *to) {
    memcpy(to, &found->pose, (12 + ANGLES) * sizeof(double));
    memcpy(to + 12 + ANGLES, found->pose.betas, betas * sizeof(double));
    to += 12 + ANGLES + betas;
    *to++ = found->normal.cost;
    memcpy(to, found->normal.gradient, unknowns * sizeof(double));
    to += unknowns;
    for (int i = 0; i < unknowns; i++)
        for (int j = 0; j <= i; j++) to[i * unknowns + j] = to[j * unknowns + i] = found->normal.matrix[i][j];
    to += unknowns * unknowns;
    memcpy(to, found->joints, sizeof found->joints);
    to += 3 * JOINTS;
    memset(to, 0, 3 * JOINTS * unknowns * sizeof(double));
    for (int joint = 0; joint < JOINTS; joint++) {
        for (int i = 0; i < 3; i++, to += unknowns) {
            memcpy(to, found->turns[joint][i], 3 * sizeof(double));
            to[3 + i] = 1;
            if (joint)
                memcpy(to + RIGID + 9 * ((joint - 1) / CHAIN), found->bends[joint][i], 9 * sizeof(double));
            memcpy(to + RIGID + ANGLES, found->shapes[joint][i], betas * sizeof(double));
        }
    }
}

/* Two unit vectors perpendicular to a ray: residuals.ray_bases. */
static void ray_basis(const double ray[3], double basis[2][3]) {
    int least = 0;
    double axis[3] = {0};
    for (int i = 1; i < 3; i++)
        if (fabs(ray[i]) < fabs(ray[least])) least = i;
    axis[least] = 1;
    cross(ray, axis, basis[0]);
    double length = sqrt(dot(basis[0], basis[0]));
    for (int i = 0; i < 3; i++) basis[0][i] /= length;
    cross(ray, basis[0], basis[1]);
}

static Py_ssize_t doubles(size_t size) { return (Py_ssize_t)(size / sizeof(double)); }

PyObject *solve_hand(PyObject *module, PyObject *arguments) {
    Py_buffer model, hand, solution;
    int betas, iterations;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*iiw*:solve_hand", &model, &hand, &betas, &iterations, &solution)) return NULL;
    Problem *problem = malloc(sizeof *problem);
    Evaluated *work = malloc(2 * sizeof *work);
    int unknowns = RIGID + ANGLES + betas, pose_size = 12 + ANGLES + betas;
    const double *from = hand.buf;
    int fits = betas >= 0 && betas <= MOST_BETAS && doubles(model.len) == doubles(sizeof(Model)) + 63 * betas &&
               doubles(hand.len) >= pose_size + doubles(sizeof(Evidence)) &&
               doubles(solution.len) == pose_size + 1 + unknowns * (unknowns + 1 + 3 * JOINTS) + 3 * JOINTS;
    if (fits && problem && work) {
        problem->model = model.buf;
        problem->offset_dirs = (const double *)(problem->model + 1);
        problem->reach_dirs = problem->offset_dirs + 60 * betas;
        problem->betas = betas;
        problem->unknowns = unknowns;
        from = read_pose(from, betas, &work[0].pose);
        memcpy(&problem->evidence, from, sizeof(Evidence));
        from += doubles(sizeof(Evidence));
        const Evidence *evidence = &problem->evidence;
        double anchors = evidence->anchors, lasting = evidence->lasting_anchors, views = evidence->views;
        fits = anchors >= 0 && anchors <= MOST_ANCHORS && lasting >= 0 && lasting <= anchors && views >= 1 &&
               views <= MOST_VIEWS &&
               doubles(hand.len) == pose_size + doubles(sizeof(Evidence)) + (int)views * doubles(sizeof(View)) +
                                        (int)anchors * (5 + pose_size);
        for (int i = 0; i < JOINTS; i++) fits = fits && evidence->toward[i] >= 0 && evidence->toward[i] < JOINTS;
        problem->views = (const View *)from;
        if (fits) from += (int)views * doubles(sizeof(View));
    }
    if (fits && problem && work) {
        for (int i = 0; i < (int)problem->evidence.anchors; i++) {
            memcpy(&problem->anchors[i], from, 5 * sizeof(double));
            from = read_pose(from + 5, betas, &problem->anchors[i].pose);
        }
        for (int v = 0; v < (int)problem->evidence.views; v++)
            for (int joint = 0; joint < JOINTS; joint++)
                ray_basis(problem->views[v].rays[joint], problem->bases[v][joint]);
        write_solution(minimise(problem, iterations, &work[0], &work[1]), betas, unknowns, solution.buf);
    }
    int allocated = problem && work;
    free(problem);
    free(work);
    PyBuffer_Release(&model);
    PyBuffer_Release(&hand);
    PyBuffer_Release(&solution);
    if (!allocated) return PyErr_NoMemory();
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the fit do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Variances of the joints and covariance of the wrist. */
static void uncertainty(const double *matrix, const double *jacobian, int unknowns, double variance[3 * JOINTS],
                        double covariance[RIGID][RIGID]) {
    enum { COLUMNS = 3 * JOINTS + RIGID };
    Normal normal = {0};
    double factor[MOST_UNKNOWNS][MOST_UNKNOWNS], rows[MOST_UNKNOWNS][COLUMNS] = {{0}};
    for (int i = 0; i < unknowns; i++) {
        memcpy(normal.matrix[i], matrix + i * unknowns, (i + 1) * sizeof(double));
        for (int c = 0; c < 3 * JOINTS; c++) rows[i][c] = jacobian[c * unknowns + i];
        if (i < RIGID) rows[i][3 * JOINTS + i] = 1;
    }
    int definite = factorise(&normal, 0, unknowns, factor);
    memset(variance, 0, 3 * JOINTS * sizeof *variance);
    memset(covariance, 0, RIGID * sizeof *covariance);
    for (int i = 0; i < unknowns; i++) {
        for (int k = 0; k < i; k++)
            for (int c = 0; c < COLUMNS; c++) rows[i][c] -= factor[i][k] * rows[k][c];
        double scale = definite ? 1 / factor[i][i] : NAN;
        for (int c = 0; c < COLUMNS; c++) rows[i][c] *= scale;
        for (int c = 0; c < 3 * JOINTS; c++) variance[c] += rows[i][c] * rows[i][c];
        for (int a = 0; a < RIGID; a++)
            for (int b = 0; b < RIGID; b++) covariance[a][b] += rows[i][3 * JOINTS + a] * rows[i][3 * JOINTS + b];
    }
}

/* Root mean square angle between joints and the rays of known keypoints. */
static double reprojection(const double joints[JOINTS][3], const double rays[JOINTS][3], const double *weights) {
    double sum = 0, count = 0;
    for (int joint = 0; joint < JOINTS; joint++) {
        const double *point = joints[joint];
        double angle = acos(fmax(-1, fmin(1, dot(point, rays[joint]) / sqrt(dot(point, point)))));
        if (weights[joint] > 0) sum += angle * angle, count++;
    }
    return sqrt(sum / count);
}

PyObject *summarise_hand(PyObject *module, PyObject *arguments) {
    enum { AXES, ROTATION, ANGLES_OF_JOINTS, JOINTS_AT, MATRIX, JACOBIAN, RAYS, WEIGHTS, SUMMARY, ARRAYS };
    Py_buffer arrays[ARRAYS];
    double *at[ARRAYS];
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*y*y*y*y*w*:summarise_hand", &arrays[0], &arrays[1], &arrays[2], &arrays[3],
                          &arrays[4], &arrays[5], &arrays[6], &arrays[7], &arrays[8]))
        return NULL;
    int unknowns = (int)(doubles(arrays[JACOBIAN].len) / (3 * JOINTS)), fits = unknowns <= MOST_UNKNOWNS;
    const Py_ssize_t sizes[ARRAYS] = {9 * FINGERS * LEVELS, 9, ANGLES, 3 * JOINTS, unknowns * unknowns,
                                      3 * JOINTS * unknowns, 3 * JOINTS, JOINTS,
                                      1 + 3 + ANGLES + 3 * JOINTS + RIGID * RIGID};
    for (int i = 0; i < ARRAYS; i++) {
        fits = fits && doubles(arrays[i].len) == sizes[i];
        at[i] = arrays[i].buf;
    }
    if (fits) {
        const double(*axes)[3][3] = (const double(*)[3][3])at[AXES];
        double *to = at[SUMMARY];
        *to++ = reprojection((const double(*)[3])at[JOINTS_AT], (const double(*)[3])at[RAYS], at[WEIGHTS]);
        rotation_vector((const double(*)[3])at[ROTATION], to);
        to += 3;
        for (int row = 0; row < FINGERS * LEVELS; row++, to += 3) {
            double turn[3][3], bent_axes[3][3];
            bend(axes[row], at[ANGLES_OF_JOINTS] + 3 * row, turn, bent_axes);
            rotation_vector((const double(*)[3])turn, to);
        }
        uncertainty(at[MATRIX], at[JACOBIAN], unknowns, to, (double(*)[RIGID])(to + 3 * JOINTS));
    }
    for (int i = 0; i < ARRAYS; i++) PyBuffer_Release(&arrays[i]);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the summary do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}
