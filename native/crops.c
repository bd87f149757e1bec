/* Cuts crops from an image without aliasing, and normalises them: `warp_antialiased` and `normalize`
 * (wildhands_ros/network/crop_pixels.py). The steps and their rounding are OpenCV's, but one row after the other, so that
 * only the rows in work have to be in the cache, and only for those pixels that the crop shows.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "native.h"

enum { CHANNELS = 3, MOST_TAPS = 4, LANES = 4, MORE = 16, MOST_PIXELS = 256 };

typedef struct {
    const uint8_t *pixels;
    int width, height;
} Image;

/* Part of an image, averaged over blocks and smoothed. */
typedef struct {
    int x, y; /* of its first pixel, in the image */
    int width, height, block;
    int radius, taps[MOST_TAPS]; /* of the smoothing: of the middle pixel, its neighbours, ...; in units of 1 / 256 */
    double corners[4][2];        /* of the crop, in pixels of this part */
} Region;

static int clamp(int value, int low, int high) { return value < low ? low : value > high ? high : value; }

/* Taps of a Gaussian that add up to 256. Rounding errors are passed on from the outermost to the middle. */
static void gaussian_taps(double sigma, Region *region) {
    double weights[MOST_TAPS], sum = 0, error = 0;
    int total = 0;
    region->radius = sigma > 0.2 ? ((int)rint(6 * sigma + 1) | 1) / 2 : 0;
    for (int i = 0; i <= region->radius; i++) {
        weights[i] = i ? exp(-i * i / (2 * sigma * sigma)) : 1;
        sum += i ? 2 * weights[i] : weights[i];
    }
    for (int i = region->radius; i > 0; i--) {
        double exact = 256 * weights[i] / sum + error;
        region->taps[i] = (int)rint(exact);
        error = exact - region->taps[i];
        total += 2 * region->taps[i];
    }
    region->taps[0] = 256 - total;
    if (!total) region->radius = 0;
}

/* Finds the part of the image that a crop shows; returns whether there is one. `inverse` maps pixels of the crop to
 * those of the image, and then to those of the region. */
static int find_region(const Image *image, const double *affine, int size, Region *region, double inverse[2][3]) {
    double determinant = affine[0] * affine[4] - affine[1] * affine[3], step = 1 / sqrt(fabs(determinant));
    inverse[0][0] = affine[4] / determinant, inverse[0][1] = -affine[1] / determinant;
    inverse[1][0] = -affine[3] / determinant, inverse[1][1] = affine[0] / determinant;
    int limits[2] = {image->width, image->height}, low[2], high[2];
    for (int axis = 0; axis < 2; axis++) {
        double least = Py_HUGE_VAL, greatest = -Py_HUGE_VAL;
        inverse[axis][2] = -(inverse[axis][0] * affine[2] + inverse[axis][1] * affine[5]);
        for (int i = 0; i < 4; i++) {
            double end = inverse[axis][0] * (i % 2 ? size : -1) + inverse[axis][1] * (i / 2 ? size : -1) + inverse[axis][2];
            least = fmin(least, end), greatest = fmax(greatest, end);
        }
        low[axis] = (int)fmax(0, fmin(limits[axis], floor(least - step - 1)));
        high[axis] = (int)fmax(0, fmin(limits[axis], ceil(greatest + step + 2)));
        if (low[axis] >= high[axis]) return 0;
    }
    int block = step < 1 ? 1 : (int)floor(step);
    region->x = low[0], region->y = low[1], region->block = block;
    region->width = (high[0] - low[0] + block - 1) / block, region->height = (high[1] - low[1] + block - 1) / block;
    gaussian_taps(0.5 * sqrt(fmax(0, step / block * (step / block) - 1)), region);
    for (int axis = 0; axis < 2; axis++) {
        inverse[axis][2] -= low[axis] + (block - 1) / 2.;
        for (int i = 0; i < 3; i++) inverse[axis][i] /= block;
        for (int i = 0; i < 4; i++) { /* in the order of a walk around the crop */
            double x = i == 1 || i == 2 ? size - 1 : 0, y = i / 2 ? size - 1 : 0;
            region->corners[i][axis] = inverse[axis][0] * x + inverse[axis][1] * y + inverse[axis][2];
        }
    }
    return 1;
}

/* First column, and the one after the last, that the crop shows of the rows at most `reach` away from one. Places
 * outside the region show the region's outermost pixels. */
static void shown_columns(const Region *region, int row, int reach, int columns[2]) {
    double top = row - reach, bottom = row + reach, least = Py_HUGE_VAL, greatest = -Py_HUGE_VAL;
    if (top <= 0) top = -Py_HUGE_VAL;
    if (bottom >= region->height - 1) bottom = Py_HUGE_VAL;
    for (int i = 0; i < 4; i++) {
        const double *from = region->corners[i], *to = region->corners[(i + 1) % 4];
        if (from[1] > to[1]) {
            const double *other = from;
            from = to, to = other;
        }
        if (to[1] < top || from[1] > bottom) continue;
        double slope = to[1] > from[1] ? (to[0] - from[0]) / (to[1] - from[1]) : 0;
        double first = from[1] < top ? from[0] + slope * (top - from[1]) : from[0];
        double last = to[1] > bottom ? from[0] + slope * (bottom - from[1]) : to[0];
        least = fmin(least, fmin(first, last)), greatest = fmax(greatest, fmax(first, last));
    }
    if (least > greatest) {
        columns[0] = columns[1] = 0;
        return;
    }
    columns[0] = (int)fmax(0, fmin(region->width - 1, floor(least) - 1));
    columns[1] = (int)fmax(1, fmin(region->width, ceil(greatest) + 2));
}

/* One row of the region, averaged over blocks: pixels from `from` to `to`. `sums` has room for a row of the image. */
FOR_AVX2 static void average_row(const Image *image, const Region *region, int row, int from, int to, uint16_t *sums,
                                 uint8_t *averaged) {
    int block = region->block, left = region->x + block * from, right = region->x + block * to;
    int columns = right < image->width ? right - left : image->width - left;
    if (block == 1) {
        memcpy(averaged, image->pixels + CHANNELS * ((size_t)image->width * (region->y + row) + left),
               CHANNELS * (size_t)columns);
        return;
    }
    memset(sums, 0, sizeof *sums * CHANNELS * (size_t)columns);
    for (int i = 0; i < block; i++) {
        /* Beyond the image its outermost pixels are repeated. */
        int y = clamp(region->y + block * row + i, 0, image->height - 1);
        const uint8_t *pixels = image->pixels + CHANNELS * ((size_t)image->width * y + left);
        for (Py_ssize_t k = 0; k < CHANNELS * columns; k++) sums[k] = (uint16_t)(sums[k] + pixels[k]);
    }
    float share = 1.f / (float)(block * block);
    int whole = columns / block;
    for (int x = 0; x < to - from; x++)
        for (int channel = 0; channel < CHANNELS; channel++) {
            unsigned sum = 0;
            for (int i = 0; i < block; i++) {
                int column = x < whole ? block * x + i : clamp(block * x + i, 0, columns - 1);
                sum += sums[CHANNELS * column + channel];
            }
            /* OpenCV rounds halves up in blocks of two pixels and to even numbers in others. */
            averaged[CHANNELS * x + channel] =
                block == 2 ? (uint8_t)((sum + 2) >> 2) : (uint8_t)(int)rintf((float)sum * share);
        }
}

/* Smooths along a row: `count` values, from pixels that begin `radius` pixels before the first. */
static inline void smooth_row(const uint8_t *restrict pixels, int count, const int *taps, const int radius,
                              uint16_t *restrict smoothed) {
    uint16_t weights[MOST_TAPS];
    for (int i = 0; i <= radius; i++) weights[i] = (uint16_t)taps[i];
    pixels += CHANNELS * radius;
    for (Py_ssize_t k = 0; k < count; k++) {
        uint16_t sum = (uint16_t)(weights[0] * pixels[k]);
        for (int i = 1; i <= radius; i++)
            sum = (uint16_t)(sum + weights[i] * (uint16_t)(pixels[k - CHANNELS * i] + pixels[k + CHANNELS * i]));
        smoothed[k] = sum;
    }
}

static inline uint16_t high_half(uint16_t a, uint16_t b) { return (uint16_t)(((uint32_t)a * b) >> 16); }

/* Smooths across rows: `count` values from rows[-radius] to rows[radius]. Products are cut to 16 bits, whose mean error
 * of half a unit is added again: at most `radius + 1` units of 1 / 256, and twice as fast as exact products. */
static inline void smooth_column(const uint16_t *const *rows, int from, int count, const int *taps, const int radius,
                                 uint8_t *restrict smoothed) {
    uint16_t weights[MOST_TAPS];
    for (int i = 0; i <= radius; i++) weights[i] = (uint16_t)(taps[i] << 8);
    for (Py_ssize_t k = from; k < from + count; k++) {
        uint16_t sum = high_half(weights[0], rows[0][k]);
        for (int i = 1; i <= radius; i++)
            sum = (uint16_t)(sum + high_half(weights[i], rows[-i][k]) + high_half(weights[i], rows[i][k]));
        smoothed[k] = (uint8_t)((uint16_t)(sum + 128 + radius) >> 8);
    }
}

/* With a constant radius the loops over neighbours are unrolled. */
FOR_AVX2 static void smooth_along(const uint8_t *pixels, int count, const Region *region, uint16_t *smoothed) {
    const int *taps = region->taps;
    if (region->radius == 0)
        smooth_row(pixels, count, taps, 0, smoothed);
    else if (region->radius == 1)
        smooth_row(pixels, count, taps, 1, smoothed);
    else if (region->radius == 2)
        smooth_row(pixels, count, taps, 2, smoothed);
    else
        smooth_row(pixels, count, taps, 3, smoothed);
}

FOR_AVX2 static void smooth_across(const uint16_t *const *rows, int from, int count, const Region *region,
                                   uint8_t *smoothed) {
    const int *taps = region->taps;
    if (region->radius == 1)
        smooth_column(rows, from, count, taps, 1, smoothed);
    else if (region->radius == 2)
        smooth_column(rows, from, count, taps, 2, smoothed);
    else
        smooth_column(rows, from, count, taps, 3, smoothed);
}

typedef float Pixel __attribute__((vector_size(16)));
typedef int32_t Whole __attribute__((vector_size(16)));
typedef uint8_t Bytes __attribute__((vector_size(16)));

/* Four bytes of `bytes`, from `first` on, as numbers. GCC converts shorter vectors one element after the other. */
#ifdef __clang__
#define SPREAD(bytes, first)                                                                                           \
    (Bytes) __builtin_shufflevector(bytes, (Bytes){0}, first, 16, 16, 16, first + 1, 16, 16, 16, first + 2, 16, 16,    \
                                    16, first + 3, 16, 16, 16)
#else
#define SPREAD(bytes, first)                                                                                           \
    __builtin_shuffle(bytes, (Bytes){0},                                                                               \
                      (Bytes){first, 16, 16, 16, first + 1, 16, 16, 16, first + 2, 16, 16, 16, first + 3, 16, 16, 16})
#endif

/* Interpolates between a pixel and its right neighbour. */
static inline Pixel between(const uint8_t *pixel, float right) {
    Bytes bytes;
    memcpy(&bytes, pixel, sizeof bytes);
    Pixel here = __builtin_convertvector((Whole)SPREAD(bytes, 0), Pixel);
    Pixel next = __builtin_convertvector((Whole)SPREAD(bytes, CHANNELS), Pixel);
    return here + right * (next - here);
}

/* Room for a row of a crop in work: of each pixel, its place in the region and its colours. */
typedef struct {
    int32_t place[MOST_PIXELS];
    float right[MOST_PIXELS], below[MOST_PIXELS];
    float colours[MOST_PIXELS][LANES];
} Row;

/* Interpolates a row of the crop from the smoothed region, whose rows are `stride` bytes apart, and normalises it.
 * Reads one row and `MORE` bytes beyond the region. */
FOR_AVX2 static void sample_row(const uint8_t *pixels, int stride, const Region *region, const double inverse[2][3],
                                int y, int size, const float *scale, const float *offset, Row *row, float *crop) {
    float last_x = (float)(region->width - 1), last_y = (float)(region->height - 1);
    float from_x = (float)(inverse[0][1] * y + inverse[0][2]), from_y = (float)(inverse[1][1] * y + inverse[1][2]);
    float step_x = (float)inverse[0][0], step_y = (float)inverse[1][0];
    for (int x = 0; x < size; x++) {
        /* Beyond the region its outermost pixels are repeated. */
        float at_x = from_x + step_x * (float)x, at_y = from_y + step_y * (float)x;
        at_x = at_x > 0 ? at_x : 0, at_y = at_y > 0 ? at_y : 0;
        at_x = at_x < last_x ? at_x : last_x, at_y = at_y < last_y ? at_y : last_y;
        int left = (int)at_x, top = (int)at_y;
        row->right[x] = at_x - (float)left, row->below[x] = at_y - (float)top;
        row->place[x] = top * stride + CHANNELS * left;
    }
    Pixel scales = {scale[0], scale[1], scale[2]}, offsets = {offset[0], offset[1], offset[2]};
    for (int x = 0; x < size; x++) {
        const uint8_t *upper = pixels + row->place[x];
        Pixel above = between(upper, row->right[x]), under = between(upper + stride, row->right[x]);
        /* Rounded as in an image of bytes. */
        Whole rounded = __builtin_convertvector(above + row->below[x] * (under - above) + 0.5f, Whole);
        Pixel value = scales * __builtin_convertvector(rounded, Pixel) + offsets;
        memcpy(row->colours[x], &value, sizeof value);
    }
    for (int channel = 0; channel < CHANNELS; channel++) {
        float *plane = crop + (size_t)size * (size_t)(size * channel + y);
        for (int x = 0; x < size; x++) plane[x] = row->colours[x][channel];
    }
}

/* Averages and smooths a region: into rows of `stride` bytes. Returns whether there was enough memory. */
static int smooth_region(const Image *image, const Region *region, size_t stride, uint8_t *smoothed) {
    int radius = region->radius, rows = 2 * radius + 1, columns[2];
    size_t room = CHANNELS * (size_t)(region->width + 2 * radius);
    uint8_t *pixels = malloc(room);
    uint16_t *sums = malloc(sizeof *sums * CHANNELS * (size_t)image->width);
    uint16_t *ring = malloc(sizeof *ring * room * (size_t)rows);
    int done = pixels && sums && ring, next = 0;
    for (int row = 0; done && row < region->height; row++) {
        if (!radius) {
            shown_columns(region, row, 1, columns);
            if (columns[0] < columns[1])
                average_row(image, region, row, columns[0], columns[1], sums,
                            smoothed + stride * (size_t)row + CHANNELS * columns[0]);
            continue;
        }
        for (; next < region->height && next <= row + radius; next++) {
            shown_columns(region, next, 1 + radius, columns);
            if (columns[0] >= columns[1]) continue;
            /* Beyond the region its outermost pixels are repeated. */
            int from = columns[0] - radius > 0 ? columns[0] - radius : 0;
            int to = columns[1] + radius < region->width ? columns[1] + radius : region->width;
            uint8_t *first = pixels + CHANNELS * (from + radius), *last = pixels + CHANNELS * (to - 1 + radius);
            average_row(image, region, next, from, to, sums, first);
            for (int i = 1; from == 0 && i <= radius; i++) memcpy(first - CHANNELS * i, first, CHANNELS);
            for (int i = 1; to == region->width && i <= radius; i++) memcpy(last + CHANNELS * i, last, CHANNELS);
            smooth_along(pixels + CHANNELS * columns[0], CHANNELS * (columns[1] - columns[0]), region,
                         ring + room * (size_t)(next % rows) + CHANNELS * columns[0]);
        }
        shown_columns(region, row, 1, columns);
        if (columns[0] >= columns[1]) continue;
        const uint16_t *around[2 * MOST_TAPS];
        for (int i = 0; i < rows; i++)
            around[i] = ring + room * (size_t)(clamp(row - radius + i, 0, region->height - 1) % rows);
        smooth_across(around + radius, CHANNELS * columns[0], CHANNELS * (columns[1] - columns[0]), region,
                      smoothed + stride * (size_t)row);
    }
    free(pixels);
    free(sums);
    free(ring);
    return done;
}

/* Cuts one crop. Returns whether there was enough memory. */
static int cut_crop(const Image *image, const double *affine, int size, const float *scale, const float *offset,
                    float *crop) {
    Region region;
    double inverse[2][3];
    if (!find_region(image, affine, size, &region, inverse)) {
        for (int channel = 0; channel < CHANNELS; channel++)
            for (int i = 0; i < size * size; i++) crop[channel * size * size + i] = offset[channel];
        return 1;
    }
    /* One row more, which is read but counts nothing. */
    int stride = CHANNELS * region.width;
    uint8_t *smoothed = malloc((size_t)stride * ((size_t)region.height + 1) + MORE);
    Row row;
    int done = smoothed && smooth_region(image, &region, (size_t)stride, smoothed);
    for (int y = 0; done && y < size; y++)
        sample_row(smoothed, stride, &region, inverse, y, size, scale, offset, &row, crop);
    free(smoothed);
    return done;
}

PyObject *cut_crops(PyObject *module, PyObject *arguments) {
    Py_buffer image, affines, scale, offset, crops;
    int height, width, size, done = 1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*iiy*y*y*w*i:cut_crops", &image, &height, &width, &affines, &scale, &offset,
                          &crops, &size))
        return NULL;
    Py_ssize_t count = affines.len / (Py_ssize_t)(6 * sizeof(double));
    Py_ssize_t values = (Py_ssize_t)CHANNELS * size * size;
    int fits = height > 0 && width > 0 && size > 0 && size <= MOST_PIXELS && image.len == (Py_ssize_t)CHANNELS * height * width &&
               affines.len % (Py_ssize_t)(6 * sizeof(double)) == 0 && scale.len == CHANNELS * sizeof(float) &&
               offset.len == CHANNELS * sizeof(float) && crops.len == count * values * (Py_ssize_t)sizeof(float);
    if (fits) {
        Image whole = {image.buf, width, height};
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t i = 0; done && i < count; i++)
            done = cut_crop(&whole, (const double *)affines.buf + 6 * i, size, scale.buf, offset.buf,
                            (float *)crops.buf + values * i);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&image);
    PyBuffer_Release(&affines);
    PyBuffer_Release(&scale);
    PyBuffer_Release(&offset);
    PyBuffer_Release(&crops);
    if (!done) return PyErr_NoMemory();
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays of the crops do not have the expected sizes");
        return NULL;
    }
    Py_RETURN_NONE;
}
